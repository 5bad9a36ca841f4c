//! Persistent state of a machine: `/var`, populated once from the image's factory copy, and the last accepted
//! seed.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::agent::discover::Found;
use crate::agent::etcd;
use crate::agent::places::Places;
use crate::digest::{Digest, Hasher};
use crate::error::{Doing, Kind, Result, Within};
use crate::host;
use crate::host::root::{Attributes, Change, Root, attributes};
use crate::seed::{ORDER, Order, attached};
use crate::tree::{EntryKind, ImagePath};

/// Path of the image's copy of `/var`, relative to the root.
const FACTORY: &str = "usr/share/factory/var";
/// File with the digest of the factory copy that `/var` was populated from; written last.
const MARKER: &str = "var/lib/kiln/factory";
/// Directory in which the etcd agent keeps snapshots (`etcd` overlay).
pub(super) const SNAPSHOTS: &str = "/var/lib/etcd-snapshots";
/// File owned by the user that runs etcd.
const KEY: &str = "/etc/kubernetes/pki/etcd/peer.key";

/// One entry of the factory copy.
struct Original {
    /// Path of the entry.
    source: PathBuf,
    /// Target path, relative to the root.
    target: String,
    kind: FileType,
    attributes: Attributes,
}

/// Populates `/var` from the factory copy: adds missing files and keeps existing ones. A power cut at any
/// point leaves no marker, so the next boot resumes.
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
        copy(&root, original).within(|| "populating `/var`".into())?;
    }
    sync(places)?;
    own_directory(&root)?;
    root.durable_file(MARKER, stamp.as_bytes(), root_owned(0o644))?;
    sync(places)?;
    Ok(Change::Written)
}

/// Copies the etcd snapshot attached to a seed, if the seed contains an order for this machine to restore it.
///
/// # Errors
///
/// [`crate::error::Kind::Io`] if the snapshot is incomplete or there is not enough space; otherwise naming
/// the path.
pub(crate) fn take_snapshot(places: &Places, found: &Found) -> Result<Change> {
    let step = || format!("copying the snapshot attached to the seed on {}", found.candidate.place);
    let mut carrier = host::fs::open(&found.carrier)?;
    let Some(attachment) = attached(&mut carrier, found.packed.len() as u64).within(step)? else {
        return Ok(Change::None);
    };
    // A carrier overwritten with an ordinary seed may still contain the attached file.
    if !is_ordered(found, attachment.sha256)? {
        return Ok(Change::None);
    }
    let directory = SNAPSHOTS.trim_start_matches('/');
    let path = places.root.join(directory).join(etcd::ordered_name(attachment.sha256));
    if path.exists() {
        return Ok(Change::None);
    }
    let root = Root::open(&places.root)?;
    root.directory("var/lib", root_owned(0o755), true)?;
    // The owner of etcd's key also owns etcd's data.
    let key = found.seed.tree.get(&ImagePath::new(KEY)?).map(|entry| (entry.uid, entry.gid));
    let (uid, gid) = key.unwrap_or_else(host::process::owner);
    root.directory(directory, Attributes { uid, gid, ..root_owned(0o700) }, true)?;
    let copied =
        host::fs::write_atomic_with(&path, host::fs::PRIVATE, |out| attachment.copy(&mut carrier, out));
    copied.within(step)?;
    host::fs::give(&path, &places.root.join(directory))?;
    host::fs::sync_directory(&places.root.join(directory))?;
    Ok(Change::Written)
}

/// Checks whether the seed contains an order for this machine to restore the snapshot with this digest.
fn is_ordered(found: &Found, sha256: Digest) -> Result<bool> {
    let Some(entry) = found.seed.tree.get(&ImagePath::new(ORDER)?) else { return Ok(false) };
    let EntryKind::File(content) = &entry.kind else { return Ok(false) };
    let order: Order =
        toml::from_slice(&content.read()?).doing(Kind::Input, || format!("reading `{ORDER}` in the seed"))?;
    Ok(order
        .restore
        .is_some_and(|restore| restore.on == found.seed.identity.node && restore.sha256 == sha256))
}

/// Stores the packed seed for boots without its carrier.
///
/// # Errors
///
/// [`crate::error::Kind::Io`] naming the path.
pub(crate) fn store(places: &Places, packed: &[u8]) -> Result<Change> {
    let root = Root::open(&places.root)?;
    own_directory(&root)?;
    let change = root
        .durable_file("var/lib/kiln/seed", packed, root_owned(host::fs::PRIVATE))
        .within(|| "storing the seed".into())?;
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

/// Lists the entries below `source`, parents first.
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

/// Returns a digest of names, owners, modes and times, which distinguishes factory copies without reading
/// their content.
fn stamp(originals: &[Original]) -> String {
    let mut hasher = Hasher::default();
    for original in originals {
        let Attributes { mode, uid, gid, mtime } = original.attributes;
        hasher
            .field(&original.target, format!("{:?} {mode:o} {uid} {gid} {mtime}", original.kind).as_bytes());
    }
    format!("{}\n", hasher.finish())
}

fn copy(root: &Root, original: &Original) -> Result<()> {
    let Original { source, target, kind, attributes } = original;
    let change = match kind {
        FileType::Directory => root.directory(target, *attributes, true),
        _ if root.has(target)? => Ok(Change::None),
        // Existing files are kept, so they must be complete.
        FileType::RegularFile => root.durable_file(target, &host::fs::read(source)?, *attributes),
        FileType::Symlink => root.symlink(target, &host::fs::read_link(source)?, *attributes),
        _ => Ok(Change::None),
    };
    change.map(|_| ())
}
