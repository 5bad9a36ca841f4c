//! Members of a package's data archive: place in the image, link target, owner and mode.

use std::io::Read;

use crate::error::{Doing, Error, Kind, Result};
use crate::tree::ImagePath;

/// Root directories that are links into `/usr` on every Debian system since bookworm.
pub(super) const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Converts an archive member's name to its path in the image; `None` for the root and for the links of the
/// merged `/usr`, which already exist.
pub(super) fn place(name: &[u8]) -> Result<Option<ImagePath>> {
    let text = std::str::from_utf8(name).map_err(|_| Error::new(Kind::Verify, "a path is not UTF-8"))?;
    let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
    if matches!(text, "" | ".") || MERGED.contains(&text) {
        return Ok(None);
    }
    let merged = text.split('/').next().is_some_and(|first| MERGED.contains(&first));
    let prefix = if merged { "/usr/" } else { "/" };
    let path = ImagePath::new(&format!("{prefix}{text}"));
    path.map(Some).map_err(|_| {
        Error::new(Kind::Verify, format!("the path `{}` would escape the image", text.escape_debug()))
    })
}

pub(super) fn link_name(entry: &tar::Entry<impl Read>, path: &ImagePath) -> Result<String> {
    let name = entry.link_name_bytes().ok_or_else(|| refused(path, "is a link without a target"))?;
    String::from_utf8(name.into_owned()).map_err(|_| refused(path, "is a link to a path that is not UTF-8"))
}

pub(super) fn attributes(header: &tar::Header) -> Result<Attributes> {
    let id = |id: std::io::Result<u64>| id.and_then(|id| u32::try_from(id).map_err(std::io::Error::other));
    let step = || "reading the mode and owner".to_owned();
    let mode = header.mode().doing(Kind::Verify, step)? & 0o7777;
    Ok(Attributes {
        mode,
        uid: id(header.uid()).doing(Kind::Verify, step)?,
        gid: id(header.gid()).doing(Kind::Verify, step)?,
    })
}

pub(super) fn refused(path: &ImagePath, why: &str) -> Error {
    Error::new(Kind::Verify, format!("`{path}` {why}"))
}
