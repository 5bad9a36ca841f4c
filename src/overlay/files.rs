//! Files of an overlay's `rootfs`, from the binary or a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::Dir;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::tree::ImagePath;

/// Suffix of files that are rendered for each node.
const TEMPLATE: &str = ".tera";

/// One file of an overlay.
#[derive(Clone, Debug)]
pub(crate) struct OverlayFile {
    pub(crate) bytes: Arc<[u8]>,
    /// True if the file is rendered for each node; its path in the image does not end in `.tera`.
    pub(crate) template: bool,
    /// Path shown to users: `overlays/etcd/rootfs/etc/...`.
    pub(crate) source: PathBuf,
}

pub(super) type Files = BTreeMap<ImagePath, OverlayFile>;

/// Collects the files below an embedded `rootfs`; `root` is its path as shown to users.
pub(super) fn embedded(directory: &Dir<'_>, rootfs: &Path, root: &Path, files: &mut Files) -> Result<()> {
    for file in directory.files() {
        let relative = file.path().strip_prefix(rootfs).expect("the walk stays under the root");
        add(files, relative, file.contents(), root.join(file.path()))?;
    }
    directory.dirs().try_for_each(|below| embedded(below, rootfs, root, files))
}

/// Collects the files below a directory of the host.
pub(super) fn on_disk(directory: &Path, rootfs: &Path, files: &mut Files) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for path in host::fs::list(directory)? {
        if path.is_symlink() {
            return Err(Error::new(Kind::Input, format!("`{}` is a symbolic link", path.display()))
                .hint("declare links under `[links]` in overlay.toml"));
        } else if path.is_dir() {
            on_disk(&path, rootfs, files)?;
        } else {
            let relative = path.strip_prefix(rootfs).expect("the walk stays under the root");
            add(files, relative, &host::fs::read(&path)?, path.clone())?;
        }
    }
    Ok(())
}

fn add(files: &mut Files, relative: &Path, bytes: &[u8], source: PathBuf) -> Result<()> {
    let name = relative
        .to_str()
        .ok_or_else(|| Error::new(Kind::Input, format!("`{}` is not UTF-8", source.display())))?;
    let template = name.ends_with(TEMPLATE);
    let path = ImagePath::new(&format!("/{}", name.strip_suffix(TEMPLATE).unwrap_or(name)))?;
    if template && !path.is_under("/etc") {
        return Err(Error::new(Kind::Input, format!("`{}` is a template outside /etc", source.display()))
            .hint("move it to rootfs/etc, or remove `.tera`: role images contain nothing node-specific"));
    }
    if let Some(other) =
        files.insert(path, OverlayFile { bytes: bytes.into(), template, source: source.clone() })
    {
        return Err(Error::new(
            Kind::Input,
            format!("`{}` and `{}` map to the same path", other.source.display(), source.display()),
        ));
    }
    Ok(())
}
