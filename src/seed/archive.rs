//! A seed's payload: `identity.json`, then the node's files below `tree/`, as one canonical tar, compressed.
//!
//! The payload is read into a [`Tree`], never extracted to a disk: the tree checks the paths.

use std::io::Read;
use std::sync::Arc;

use tar::{Archive, EntryType};
use zeroize::Zeroizing;

use crate::disk;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::seed::{Identity, Seed};
use crate::tree::{Entry, ImagePath, Tree};

/// Zstandard level: higher levels make the seed 1 % smaller and take three times as long.
const LEVEL: i32 = 9;
/// Maximum archive size in bytes, so that a malicious seed can't exhaust memory.
const LARGEST: u64 = 64 << 20;
/// Names inside the archive.
const IDENTITY: &str = "/identity.json";
const FILES: &str = "/tree";

pub(super) fn write(seed: &Seed, epoch: u64) -> Result<Zeroizing<Vec<u8>>> {
    let origin: Arc<str> = Arc::from("seed");
    let mut wrapped = Tree::new();
    let identity =
        serde_json::to_vec(&seed.identity).doing(Kind::Internal, || "writing the identity".into())?;
    wrapped.insert(ImagePath::new(IDENTITY)?, Entry::file(identity, 0o600, &origin));
    for (path, entry) in seed.tree.iter() {
        refuse_outside(path, entry)?;
        wrapped.insert(ImagePath::new(&format!("{FILES}{path}"))?, entry.clone());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    disk::tar::write(&wrapped, epoch, &mut *bytes)?;
    Ok(bytes)
}

fn refuse_outside(path: &ImagePath, entry: &Entry) -> Result<()> {
    if path.is_under("/etc") {
        return Ok(());
    }
    let origin = &entry.origin;
    Err(Error::new(
        Kind::Internal,
        format!("`{path}` from `{origin}` can't be in a seed: a node's own files are below `/etc`"),
    ))
}

pub(super) fn compress(archive: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::compress(archive, LEVEL).doing(Kind::Internal, || "compressing the seed".into())
}

pub(super) fn decompress(payload: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let step = || "unpacking the seed".to_owned();
    let mut archive = Zeroizing::new(Vec::new());
    let mut reader = zstd::Decoder::new(payload).doing(Kind::Verify, step)?.take(LARGEST + 1);
    reader.read_to_end(&mut archive).doing(Kind::Verify, step)?;
    if archive.len() as u64 > LARGEST {
        return Err(Error::new(Kind::Verify, format!("the unpacked seed is larger than {LARGEST} bytes")));
    }
    Ok(archive)
}

pub(super) fn read(archive: &[u8]) -> Result<Seed> {
    let step = || "reading the seed's archive".to_owned();
    let mut identity = None;
    let mut tree = Tree::new();
    for entry in Archive::new(archive).entries().doing(Kind::Verify, step)? {
        let mut entry = entry.doing(Kind::Verify, step)?;
        let name = entry_name(&entry)?;
        if name == IDENTITY {
            identity = Some(
                serde_json::from_slice::<Identity>(&content(&mut entry)?)
                    .doing(Kind::Verify, || "reading the identity".into())?,
            );
        } else if let Some(path) = name.strip_prefix(FILES).filter(|path| !path.is_empty()) {
            let path = ImagePath::new(path)?;
            let value = read_entry(&mut entry).within(|| format!("reading `{path}` in the seed"))?;
            refuse_outside(&path, &value)?;
            tree.insert(path, value);
        }
    }
    let identity = identity.ok_or_else(|| Error::new(Kind::Verify, "the seed contains no identity"))?;
    Ok(Seed { identity, tree })
}

/// Returns the entry's name with one leading slash and no trailing one; `./` becomes the empty string.
fn entry_name(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    let bytes = entry.path_bytes();
    let name =
        std::str::from_utf8(&bytes).doing(Kind::Verify, || "reading an entry name in the seed".into())?;
    Ok(name.strip_prefix('.').unwrap_or(name).trim_end_matches('/').to_owned())
}

fn read_entry(entry: &mut tar::Entry<'_, impl Read>) -> Result<Entry> {
    let origin: Arc<str> = Arc::from("seed");
    let header = entry.header();
    let number = |value: std::io::Result<u64>| {
        let value = value.doing(Kind::Verify, || "reading the owner".into())?;
        u32::try_from(value).doing(Kind::Verify, || "reading the owner".into())
    };
    let mode = header.mode().doing(Kind::Verify, || "reading the mode".into())?;
    let (uid, gid) = (number(header.uid())?, number(header.gid())?);
    let mtime = header.mtime().doing(Kind::Verify, || "reading the modification time".into())?;
    let value = match header.entry_type() {
        EntryType::Directory => Entry::directory(mode, &origin),
        EntryType::Symlink => Entry::symlink(link_target(entry)?, &origin),
        EntryType::Regular => file(content(entry)?, mode, &origin),
        other => {
            return Err(Error::new(
                Kind::Verify,
                format!("a seed can't contain an entry of type `{}`", char::from(other.as_byte())),
            ));
        }
    };
    Ok(Entry { mtime, ..value.owned_by(uid, gid) })
}

/// Creates a file entry; a file that is not world-readable contains a secret.
fn file(bytes: Vec<u8>, mode: u32, origin: &Arc<str>) -> Entry {
    let entry = Entry::file(bytes, mode, origin);
    if mode & 0o004 == 0 { entry.secret() } else { entry }
}

fn link_target(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    let target =
        entry.link_name_bytes().ok_or_else(|| Error::new(Kind::Verify, "a symbolic link has no target"))?;
    String::from_utf8(target.into_owned())
        .doing(Kind::Verify, || "reading the target of a symbolic link".into())
}

fn content(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).doing(Kind::Verify, || "reading the content".into())?;
    Ok(bytes)
}
