//! A fresh `/etc` at each boot: an in-memory overlay with the node's files on top of the image's files.

use std::path::Path;

use crate::agent::places::Places;
use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::host::root::{Attributes, Change, Root};
use crate::tree::{Entry, EntryKind, ImagePath, Tree};

/// Mounts a writable overlay on `/etc`; does nothing if one is already mounted.
///
/// # Errors
///
/// [`Kind::Io`] if the overlay can't be mounted.
pub(crate) fn mount(places: &Places) -> Result<Change> {
    let etc = places.root.join("etc");
    if host::mount::is_mount_point(&etc) {
        return Ok(Change::None);
    }
    let [upper, work] = ["upper", "work"].map(|name| places.runtime().join("etc").join(name));
    // Files are accessed through /etc; only root may access them here.
    host::fs::create_private_directory(&places.runtime().join("etc"))?;
    host::fs::create_directories(&work)?;
    host::fs::create_directories(&upper)?;
    // The upper directory's mode becomes the mode of /etc.
    host::fs::set_mode(&upper, 0o755)?;
    host::mount::overlay(&etc, &upper, &work, &etc)?;
    Ok(Change::Written)
}

/// Writes the node's files and returns the changed paths.
///
/// # Errors
///
/// [`Kind::Input`] for a path that is not below `/etc`; [`Kind::Io`] naming the file otherwise.
pub(crate) fn write(tree: &Tree, root: &Path) -> Result<Vec<ImagePath>> {
    let root = Root::open(root)?;
    let mut changed = Vec::new();
    for (path, entry) in tree.iter() {
        if !path.is_under("/etc") {
            return Err(Error::new(
                Kind::Input,
                format!("the seed contains `{path}`, which is not below `/etc`"),
            ));
        }
        if write_entry(&root, path, entry).within(|| "writing the node's files".into())? == Change::Written {
            changed.push(path.clone());
        }
    }
    Ok(changed)
}

fn write_entry(root: &Root, path: &ImagePath, entry: &Entry) -> Result<Change> {
    let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime };
    // As when layers are composed: a directory without explicit attributes keeps its current ones.
    let keep = entry.mode == 0o755 && entry.uid == 0;
    match &entry.kind {
        EntryKind::Directory => root.directory(path.relative(), attributes, keep),
        EntryKind::File(content) => {
            root.file(path.relative(), &zeroize::Zeroizing::new(content.read()?), attributes)
        }
        EntryKind::Symlink(target) => root.symlink(path.relative(), target, attributes),
    }
}
