//! Snapshots of the cluster, kept by a member: the newest few, each verified before it is added.
//!
//! They are stored on the state partition, not in etcd's data directory: if etcd has its own disk, snapshots
//! survive the loss of that disk and can't fill it. A snapshot's file name contains all of its metadata, so
//! that a single rename adds it completely or not at all. Snapshots are ordered by number, not by time: a
//! machine's clock may be wrong.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::control::Endpoint;
use super::settings::Settings;
use crate::digest::Digest;
use crate::disk::etcd::{self, Snapshot};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::lock::FileLock;
use crate::host::tls::Found;

/// Number of snapshots kept: two days' worth, at one every six hours.
pub(super) const KEPT: usize = 8;
/// File name of a snapshot being saved; etcdctl appends `.part` to it.
const SAVING: &str = ".saving";
/// File name prefix of a snapshot that came with a seed.
const ORDERED: &str = "ordered";
/// Space that must remain for etcd, in addition to the size of its data, which is copied during
/// defragmentation.
const RESERVE: u64 = 64 << 20;

/// A kept snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Kept {
    /// Sequence number; later ones are greater.
    pub(crate) number: u64,
    /// Newest revision in the snapshot.
    pub(crate) revision: u64,
    pub(crate) sha256: Digest,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Time at which it was saved, according to the machine's clock.
    pub(crate) saved: String,
    /// File name.
    pub(crate) file: String,
}

/// The snapshot directory.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(PathBuf);

impl Shelf {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn of(settings: &Settings) -> Self {
        Self::new(&settings.snapshots)
    }

    pub(crate) fn path(&self, kept: &Kept) -> PathBuf {
        self.0.join(&kept.file)
    }

    /// Returns all kept snapshots, newest first.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the directory can't be read.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>> {
        if !self.0.is_dir() {
            return Ok(Vec::new());
        }
        let mut kept: Vec<Kept> =
            host::fs::list(&self.0)?.iter().filter_map(|path| Kept::read(path)).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.number));
        Ok(kept)
    }

    /// Returns what is served to an authorized client at `path`: the list, or the snapshot whose number is in
    /// the path.
    pub(super) fn at(&self, path: &str) -> Option<Found> {
        let kept = self.kept().ok()?;
        match path.strip_prefix("/snapshots")? {
            "" => serde_json::to_vec(&kept).ok().map(Found::Text),
            number => {
                let number: u64 = number.strip_prefix('/')?.parse().ok()?;
                let kept = kept.iter().find(|kept| kept.number == number)?;
                host::fs::open(&self.path(kept)).ok().map(Found::File)
            }
        }
    }

    /// Returns the snapshot file with this digest in its name, whether it was saved here or came with a seed.
    pub(super) fn find(&self, sha256: Digest) -> Result<Option<PathBuf>> {
        let end = format!("-{sha256}.db");
        let is_it =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&end));
        Ok(if self.0.is_dir() { host::fs::list(&self.0)?.into_iter().find(is_it) } else { None })
    }

    /// Saves a snapshot of this machine's member, and removes the oldest ones beyond [`KEPT`]. On error,
    /// existing snapshots are kept.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if there is no quorum, because an isolated member's data is not the cluster's data;
    /// [`Kind::Io`] if there is not enough space; [`Kind::Verify`] if the snapshot from etcd is damaged.
    pub(super) fn save(&self, settings: &Settings) -> Result<Kept> {
        let step = || "saving a snapshot".to_owned();
        self.prepare(&settings.data).within(step)?;
        let _lock = FileLock::directory(&self.0)?;
        let saving = self.0.join(SAVING);
        self.clear(SAVING)?;
        let saved = self.fill(settings, &saving).within(step);
        if saved.is_err() {
            self.clear(SAVING)?;
        }
        let snapshot = saved?;
        let number = self.kept()?.first().map_or(1, |newest| newest.number + 1);
        let path = self.0.join(name(&number.to_string(), &snapshot));
        host::fs::rename(&saving, &path)?;
        host::fs::sync_directory(&self.0)?;
        for old in self.kept()?.iter().skip(KEPT) {
            host::fs::remove(&self.path(old))?;
        }
        Kept::read(&path).ok_or_else(|| {
            Error::new(Kind::Internal, format!("`{}` is not a snapshot file name", path.display()))
        })
    }

    /// Removes snapshots that came with a seed, which are not needed once the order has been carried out.
    pub(super) fn forget_ordered(&self) -> Result<()> {
        self.clear(&format!("{ORDERED}-"))
    }

    /// Requests a snapshot from this machine's member, verifies all of it, and syncs it to disk.
    fn fill(&self, settings: &Settings, saving: &Path) -> Result<Snapshot> {
        let endpoint = Endpoint::new(settings, &settings.own().client_url);
        endpoint.quorum().within(|| "checking for a quorum".into())?;
        let size = endpoint.status()?.size;
        let (needed, free) = (2 * size + RESERVE, host::fs::free_space(&self.0)?);
        if free < needed {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let place = self.0.display();
            let message = format!(
                "`{place}` has {} MiB free, but a snapshot and etcd itself need {} MiB",
                mib(free),
                mib(needed)
            );
            return Err(Error::new(Kind::Io, message));
        }
        endpoint.save(saving)?;
        host::fs::set_mode(saving, host::fs::PRIVATE)?;
        let file = host::fs::open(saving)?;
        let snapshot = etcd::verify(&file, None).within(|| "reading the snapshot from etcd".into())?;
        file.sync_all().doing(Kind::Io, || format!("syncing `{}`", saving.display()))?;
        host::fs::give(saving, &self.0)?;
        Ok(snapshot)
    }

    /// Creates the directory with the owner of etcd's data directory, because the first snapshot may be saved
    /// by an administrator.
    fn prepare(&self, model: &Path) -> Result<()> {
        if !self.0.is_dir() {
            host::fs::create_private_directory(&self.0)?;
            host::fs::give(&self.0, model)?;
        }
        Ok(())
    }

    fn clear(&self, beginning: &str) -> Result<()> {
        let has_it = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning))
        };
        host::fs::list(&self.0)?.iter().filter(has_it).try_for_each(|path| host::fs::remove(path))
    }
}

/// Returns the snapshots on this machine, newest first.
pub(crate) fn kept(settings: &Settings) -> Result<Vec<Kept>> {
    Shelf::of(settings).kept()
}

/// Saves a snapshot now.
///
/// # Errors
///
/// As [`Shelf::save`].
pub(crate) fn save(settings: &Settings) -> Result<Kept> {
    Shelf::of(settings).save(settings)
}

/// Reads a snapshot file and checks that it has this digest.
///
/// # Errors
///
/// [`Kind::Verify`] describing the damage.
pub(crate) fn check(path: &Path, sha256: Digest) -> Result<Snapshot> {
    etcd::verify(&host::fs::open(path)?, Some(sha256)).within(|| format!("checking `{}`", path.display()))
}

/// Returns the file name of a snapshot that comes with a seed.
pub(crate) fn ordered_name(sha256: Digest) -> String {
    format!("{ORDERED}-{sha256}.db")
}

/// Returns a file name: `12-r8123-SHA256.db`.
fn name(number: &str, snapshot: &Snapshot) -> String {
    format!("{number}-r{}-{}.db", snapshot.revision, snapshot.sha256)
}

impl Kept {
    fn read(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?.to_owned();
        let mut words = file.strip_suffix(".db")?.splitn(3, '-');
        let (number, revision, sha256) = (
            words.next()?.parse().ok()?,
            words.next()?.strip_prefix('r')?.parse().ok()?,
            words.next()?.parse().ok()?,
        );
        let (size, saved) =
            (host::fs::size(path).ok()?, host::clock::rfc3339(host::fs::modified(path).ok()?));
        Some(Self { number, revision, sha256, size, saved, file })
    }
}

#[cfg(test)]
mod tests {
    use super::Shelf;
    use crate::digest::Digest;
    use crate::host::fs::{PRIVATE, write_atomic};

    #[test]
    fn only_whole_names_are_snapshots_and_numbers_order_them() {
        let root = tempfile::tempdir().unwrap();
        let sha = Digest::of(b"").to_string();
        let names = [
            format!("9-r12-{sha}.db"),
            format!("10-r7-{sha}.db"),
            format!("ordered-{sha}.db"),
            ".saving".into(),
            ".saving.part".into(),
        ];
        let names =
            names.into_iter().chain([format!("11-r7-{sha}"), "12-r7-00.db".into(), format!("13-7-{sha}.db")]);
        names.for_each(|name| write_atomic(&root.path().join(name), b"", PRIVATE).unwrap());
        let shelf = Shelf::new(root.path());
        let kept: Vec<(u64, u64)> =
            shelf.kept().unwrap().iter().map(|kept| (kept.number, kept.revision)).collect();
        assert_eq!(kept, [(10, 7), (9, 12)]);
        assert_eq!(Shelf::new(&root.path().join("none")).kept().unwrap(), []);
        shelf.clear(".saving").unwrap();
        shelf.forget_ordered().unwrap();
        assert_eq!(crate::host::fs::list(root.path()).unwrap().len(), 5);
    }
}
