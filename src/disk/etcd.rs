//! etcd snapshots: a database, followed by the SHA-256 of its bytes
//! (server/etcdserver/api/v3rpc/maintenance.go).
//!
//! The digest only proves that these are the bytes that etcd sent. The database may already have been
//! damaged, so its pages are checked too (<https://github.com/etcd-io/etcd/issues/10108>).

use std::fs::File;
use std::io::Read;

use crate::digest::{Digest, Hasher};
use crate::disk::bolt;
use crate::error::{Doing, Error, Kind, Result, Within};

/// Length of the digest at the end.
const TRAILER: u64 = 32;
/// Buckets that every member has (server/storage/schema).
const KEYS: &[u8] = b"key";
const META: &[u8] = b"meta";

/// A valid snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Digest of the whole file, as printed by sha256sum(1).
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    /// Newest revision.
    pub(crate) revision: u64,
    /// Number of key revisions.
    pub(crate) entries: u64,
}

/// Checks a whole snapshot: the digest at its end, every page, every key. With `wanted`, the file must have
/// that digest.
///
/// # Errors
///
/// [`Kind::Verify`] naming the fault; [`Kind::Io`] if the file can't be read.
pub(crate) fn verify(file: &File, wanted: Option<Digest>) -> Result<Snapshot> {
    let step = || "reading the snapshot".to_owned();
    let size = file.metadata().doing(Kind::Io, step)?.len();
    let (sha256, sent, said) = digests(file, size)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != sha256) {
        return Err(Error::new(Kind::Verify, format!("the SHA-256 is {sha256}, expected {wanted}")));
    }
    if sent != said {
        let why = "it was truncated or changed, or is a copy of a running database";
        return Err(Error::new(
            Kind::Verify,
            format!("the snapshot does not end with the SHA-256 of its content: {why}"),
        ));
    }
    let (mut revision, mut entries, mut has_meta) = (0, 0, false);
    let sound = bolt::walk(file, size - TRAILER, &mut |bucket, key, value| {
        has_meta |= bucket == META;
        if bucket == KEYS {
            revision = revision.max(entry(key, value)?);
            entries += 1;
        }
        Ok(())
    });
    let sound = sound.within(step)?;
    if sound.size != size - TRAILER {
        return Err(Error::new(
            Kind::Verify,
            format!("the snapshot has {} bytes after its last page", size - TRAILER - sound.size),
        ));
    }
    if !has_meta {
        return Err(Error::new(Kind::Verify, "this is not an etcd snapshot: it contains no bucket `meta`"));
    }
    Ok(Snapshot { sha256, size, revision, entries })
}

/// Returns the digest of a file, the digest of all but its trailer, and the trailer.
fn digests(file: &File, size: u64) -> Result<(Digest, Digest, Digest)> {
    let Some(length) = size.checked_sub(TRAILER) else {
        return Err(Error::new(
            Kind::Verify,
            format!("the snapshot is truncated: it is only {size} bytes long"),
        ));
    };
    let step = || "reading the snapshot".to_owned();
    let mut reader = file;
    std::io::Seek::rewind(&mut reader).doing(Kind::Io, step)?;
    let mut hasher = Hasher::default();
    std::io::copy(&mut reader.take(length), &mut hasher).doing(Kind::Io, step)?;
    let sent = hasher.clone().finish();
    let mut end = [0; 32];
    reader.read_exact(&mut end).doing(Kind::Io, step)?;
    hasher.update(&end);
    Ok((hasher.finish(), sent, Digest::from_bytes(end)))
}

/// Checks one revision of a key, and returns its number: eight bytes, `_`, eight bytes of the position in its
/// transaction, `t` if it is a deletion (server/storage/mvcc/revision.go).
fn entry(key: &[u8], value: &[u8]) -> Result<u64> {
    let wrong = |what: &str| Error::new(Kind::Verify, format!("the snapshot has a key that {what}"));
    let deletes = match key.len() {
        17 => false,
        18 if key[17] == b't' => true,
        _ => return Err(wrong("is not a revision")),
    };
    if key[8] != b'_' {
        return Err(wrong("is not a revision"));
    }
    let revision = u64::from_be_bytes(key[..8].try_into().expect("eight bytes"));
    // Raising the revision, as a restore does, leaves an empty entry.
    if value.is_empty() {
        return Ok(revision);
    }
    let modified =
        modified(value).ok_or_else(|| wrong(&format!("has an unreadable value at revision {revision}")))?;
    if !deletes && modified != revision {
        return Err(wrong(&format!("has the revision {revision} in its name but {modified} in its value")));
    }
    Ok(revision)
}

/// Decodes `mod_revision` of an `mvccpb.KeyValue`, field 3 in protocol buffers; `None` if it is invalid.
fn modified(mut bytes: &[u8]) -> Option<u64> {
    let mut modified = 0;
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match (tag >> 3, tag & 7) {
            (3, 0) => modified = varint(&mut bytes)?,
            (1..=6, 0) => drop(varint(&mut bytes)?),
            (1..=6, 2) => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                bytes = bytes.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(modified)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
