//! What lasts on a machine: `/var`, filled once from the image's factory copy, and the seed it accepted last.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::agent::places::Places;
use crate::digest::Hasher;
use crate::error::{Result, Within};
use crate::host;
use crate::host::root::{Attributes, Change, Root, attributes};

/// The image's copy of `/var`, below the root.
const FACTORY: &str = "usr/share/factory/var";
/// Holds the digest of the factory copy that `/var` was filled from; written last.
const MARKER: &str = "var/lib/kiln/factory";

/// One entry of the factory copy.
struct Original {
    /// Where it is.
    source: PathBuf,
    /// Where it goes, relative to the root.
    target: String,
    kind: FileType,
    attributes: Attributes,
}

/// Fills `/var` from the factory copy: what is missing is added, what is there is left alone. A power cut at any point leaves no
/// marker, and the next boot goes on.
///
/// # Errors
///
/// [`crate::error::Kind::Io`] naming the path.
pub(crate) fn fill(places: &Places) -> Result<Change> {
    let factory = places.root.join(FACTORY);
    if !factory.is_dir() {
        return Ok(Change::None);
    }
    let mut originals = Vec::new();
    list(&factory, "var", &mut originals).within(|| "reading the factory copy of `/var`".into())?;
    let stamp = stamp(&originals);
    if host::fs::read_if_exists(&places.root.join(MARKER))?.as_deref() == Some(stamp.as_bytes()) {
        return Ok(Change::None);
    }
    let root = Root::open(&places.root)?;
    for original in &originals {
        copy(&root, original).within(|| "filling `/var`".into())?;
    }
    sync(places)?;
    own_directory(&root)?;
    root.durable_file(MARKER, stamp.as_bytes(), root_owned(0o644))?;
    sync(places)?;
    Ok(Change::Written)
}

/// Keeps the packed seed for boots without its carrier.
///
/// # Errors
///
/// [`crate::error::Kind::Io`] naming the path.
pub(crate) fn store(places: &Places, packed: &[u8]) -> Result<Change> {
    let root = Root::open(&places.root)?;
    own_directory(&root)?;
    let change = root.durable_file("var/lib/kiln/seed", packed, root_owned(host::fs::PRIVATE)).within(|| "keeping the seed".into())?;
    if change == Change::Written {
        sync(places)?;
    }
    Ok(change)
}

fn own_directory(root: &Root) -> Result<()> {
    root.directory("var/lib", root_owned(0o755), true)?;
    root.directory("var/lib/kiln", root_owned(0o700), true)?;
    Ok(())
}

fn root_owned(mode: u32) -> Attributes {
    let (uid, gid) = host::process::owner();
    Attributes { mode, uid, gid, mtime: host::clock::now() }
}

fn sync(places: &Places) -> Result<()> {
    Root::open(&places.root.join("var"))?.sync()
}

/// Lists a directory below `source`, parents first; sockets, pipes and devices are passed over.
fn list(source: &Path, target: &str, originals: &mut Vec<Original>) -> Result<()> {
    for source in host::fs::list(source)? {
        let target = format!("{target}/{}", source.file_name().unwrap_or_default().to_string_lossy());
        let (kind, attributes) = attributes(&source)?;
        let is_directory = kind == FileType::Directory;
        originals.push(Original { source: source.clone(), target: target.clone(), kind, attributes });
        if is_directory {
            list(&source, &target, originals)?;
        }
    }
    Ok(())
}

/// Digest of names, owners, modes and times: enough to tell one image's factory copy from another's without reading it.
fn stamp(originals: &[Original]) -> String {
    let mut hasher = Hasher::default();
    for original in originals {
        let Attributes { mode, uid, gid, mtime } = original.attributes;
        hasher.field(&original.target, format!("{:?} {mode:o} {uid} {gid} {mtime}", original.kind).as_bytes());
    }
    format!("{}\n", hasher.finish())
}

fn copy(root: &Root, original: &Original) -> Result<()> {
    let Original { source, target, kind, attributes } = original;
    let change = match kind {
        FileType::Directory => root.directory(target, *attributes, true),
        _ if root.has(target)? => Ok(Change::None),
        // What is there is left alone, so it must be whole.
        FileType::RegularFile => root.durable_file(target, &host::fs::read(source)?, *attributes),
        FileType::Symlink => root.symlink(target, &host::fs::read_link(source)?, *attributes),
        _ => Ok(Change::None),
    };
    change.map(|_| ())
}
