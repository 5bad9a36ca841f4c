//! Inventory of the store, and verification of its entries.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::Serialize;

use crate::digest::Digest;
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::progress::Progress;

use super::{Store, stage};

/// One entry of the store; any entry can be recreated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// Digest of a blob, or `name/key` of a stage.
    pub(crate) name: String,
    /// Size in bytes, excluding directories.
    pub(crate) size: u64,
    /// Time of the last use in seconds since 1970.
    pub(crate) used: u64,
    pub(crate) path: PathBuf,
}

/// Type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EntryKind {
    Blob,
    Stage,
    /// An unfinished download.
    Partial,
}

impl Store {
    /// Lists every entry, sorted by kind and name.
    pub(crate) fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for prefix in host::fs::list(&self.root.join("blobs/sha256"))? {
            for path in host::fs::list(&prefix)? {
                entries.push(entry(EntryKind::Blob, file_name(&path), path)?);
            }
        }
        for name in host::fs::list(&self.root.join("stages"))? {
            for path in host::fs::list(&name)? {
                entries.push(entry(
                    EntryKind::Stage,
                    format!("{}/{}", file_name(&name), file_name(&path)),
                    path,
                )?);
            }
        }
        for path in host::fs::list(&self.root.join("partial"))? {
            entries.push(entry(EntryKind::Partial, file_name(&path), path)?);
        }
        Ok(entries)
    }

    /// Checks every entry, removes damaged ones and returns a message for each of them.
    pub(crate) fn verify(&self, progress: &dyn Progress) -> Result<Vec<String>> {
        let entries = self.list()?;
        let step = progress.begin("checking the store", Some(entries.iter().map(|entry| entry.size).sum()));
        let check = |entry: &Entry| -> Result<Option<String>> {
            let damage = damage(entry)?;
            step.advance(entry.size);
            let Some(damage) = damage else { return Ok(None) };
            host::fs::remove(&entry.path)?;
            Ok(Some(format!("removed corrupt entry `{}`: {damage}", entry.path.display())))
        };
        let found: Vec<Option<String>> = entries.par_iter().map(check).collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}

fn damage(entry: &Entry) -> Result<Option<String>> {
    match entry.kind {
        // A download is checked when it is complete.
        EntryKind::Partial => Ok(None),
        EntryKind::Stage => stage::damage(&entry.path),
        EntryKind::Blob => {
            let (actual, size) = host::fs::digest(&entry.path)?;
            let good = entry.name.parse::<Digest>().is_ok_and(|expected| expected == actual);
            Ok((!good).then(|| format!("the sha256 of its {size} bytes is {actual}")))
        }
    }
}

fn entry(kind: EntryKind, name: String, path: PathBuf) -> Result<Entry> {
    let step = || format!("inspecting `{}`", path.display());
    let used = path.metadata().and_then(|metadata| metadata.modified()).doing(Kind::Io, step)?;
    let used = used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut size = 0;
    for below in walkdir::WalkDir::new(&path) {
        let metadata = below.and_then(|below| below.metadata()).doing(Kind::Io, step)?;
        if !metadata.is_dir() {
            size += metadata.len();
        }
    }
    Ok(Entry { kind, name, size, used, path })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::EntryKind;
    use crate::digest::Digest;
    use crate::host;
    use crate::progress::Silent;

    #[test]
    fn verify_names_what_is_corrupt_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let (_, good) = store.put(&b"good"[..]).unwrap();
        let (_, bad) = store.put(&b"bad"[..]).unwrap();
        let fill = |out: &std::path::Path| host::fs::write_atomic(&out.join("file"), b"x", 0o644);
        let stage = store.stage("image", &Digest::of(b"key"), fill).unwrap();
        host::fs::write_atomic(&bad, b"worse", 0o644).unwrap();
        host::fs::write_atomic(&stage.join("file"), b"y", 0o644).unwrap();
        let said = store.verify(&Silent).unwrap();
        assert_eq!(said.len(), 2);
        assert!(
            said[0].contains(bad.to_str().unwrap()) && said[1].contains("`out/file` has unexpected sha256"),
            "{said:?}"
        );
        let left = store.list().unwrap();
        assert_eq!(
            left.iter().map(|entry| (entry.kind, &entry.path, entry.size)).collect::<Vec<_>>(),
            [(EntryKind::Blob, &good, 4)]
        );
    }
}
