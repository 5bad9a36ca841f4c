//! Snapshots that a member keeps of its cluster: the newest few, each read and found sound before it counts as one.
//!
//! They are on the state partition, beside etcd's directory and not in it: where etcd has a disk of its own they outlive that disk, and
//! they can't fill it. A file's name says all that is known of it, so that one rename makes it a snapshot or leaves none. Numbers order
//! them, not times: a machine's clock may be wrong.

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

/// How many are kept: two days of one each six hours.
pub(super) const KEPT: usize = 8;
/// What is being saved; etcdctl appends `.part` to it.
const SAVING: &str = ".saving";
/// Beginning of the name of a snapshot that came with a seed.
const ORDERED: &str = "ordered";
/// Room that must be left for etcd, which needs a copy of its data to defragment them, besides their size.
const RESERVE: u64 = 64 << 20;

/// A snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Kept {
    /// Later ones have greater numbers.
    pub(crate) number: u64,
    /// Newest revision in it.
    pub(crate) revision: u64,
    pub(crate) sha256: Digest,
    /// In bytes.
    pub(crate) size: u64,
    /// When it was saved, by the clock of the machine at that time.
    pub(crate) saved: String,
    /// Name of the file.
    pub(crate) file: String,
}

/// The directory of the snapshots.
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

    /// All that are kept, newest first.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the directory can't be read.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>> {
        if !self.0.is_dir() {
            return Ok(Vec::new());
        }
        let mut kept: Vec<Kept> = host::fs::list(&self.0)?.iter().filter_map(|path| Kept::read(path)).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.number));
        Ok(kept)
    }

    /// What whoever may fetch snapshots finds at a path: the list, or a file by its number.
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

    /// The file with this digest in its name, kept here or brought by a seed.
    pub(super) fn find(&self, sha256: Digest) -> Result<Option<PathBuf>> {
        let end = format!("-{sha256}.db");
        let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&end));
        Ok(if self.0.is_dir() { host::fs::list(&self.0)?.into_iter().find(is_it) } else { None })
    }

    /// Saves a snapshot of what this machine's member has, and removes the oldest ones beyond [`KEPT`]. Whatever goes wrong, those that
    /// are here stay.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] without a quorum: what a member that is cut off has is not the cluster's; [`Kind::Io`] if there is no room;
    /// [`Kind::Verify`] if what etcd sent is damaged.
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
        Kept::read(&path).ok_or_else(|| Error::new(Kind::Internal, format!("`{}` is not the name of a snapshot", path.display())))
    }

    /// Removes what came with a seed: once the order is carried out nothing needs it.
    pub(super) fn forget_ordered(&self) -> Result<()> {
        self.clear(&format!("{ORDERED}-"))
    }

    /// Asks this machine's member for a snapshot, reads all of it, and makes it last.
    fn fill(&self, settings: &Settings, saving: &Path) -> Result<Snapshot> {
        let endpoint = Endpoint::new(settings, &settings.own().client_url);
        endpoint.quorum().within(|| "asking for a quorum".into())?;
        let size = endpoint.status()?.size;
        let (needed, free) = (2 * size + RESERVE, host::fs::free_space(&self.0)?);
        if free < needed {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let place = self.0.display();
            let message = format!("`{place}` has {} MiB free; a snapshot, and what etcd needs itself, takes {}", mib(free), mib(needed));
            return Err(Error::new(Kind::Io, message));
        }
        endpoint.save(saving)?;
        host::fs::set_mode(saving, host::fs::PRIVATE)?;
        let file = host::fs::open(saving)?;
        let snapshot = etcd::verify(&file, None).within(|| "reading what etcd sent".into())?;
        file.sync_all().doing(Kind::Io, || format!("syncing `{}`", saving.display()))?;
        host::fs::give(saving, &self.0)?;
        Ok(snapshot)
    }

    /// Makes the directory for the owner of etcd's: an administrator may be the first to save one.
    fn prepare(&self, model: &Path) -> Result<()> {
        if !self.0.is_dir() {
            host::fs::create_private_directory(&self.0)?;
            host::fs::give(&self.0, model)?;
        }
        Ok(())
    }

    fn clear(&self, beginning: &str) -> Result<()> {
        let has_it = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
        host::fs::list(&self.0)?.iter().filter(has_it).try_for_each(|path| host::fs::remove(path))
    }
}

/// What this machine keeps, newest first.
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

/// Reads a snapshot's file and insists that it is the one with this digest.
///
/// # Errors
///
/// [`Kind::Verify`] with what is wrong.
pub(crate) fn check(path: &Path, sha256: Digest) -> Result<Snapshot> {
    etcd::verify(&host::fs::open(path)?, Some(sha256)).within(|| format!("checking `{}`", path.display()))
}

/// Name of the file of a snapshot that comes with a seed.
pub(crate) fn ordered_name(sha256: Digest) -> String {
    format!("{ORDERED}-{sha256}.db")
}

/// `12-r8123-SHA256.db`.
fn name(number: &str, snapshot: &Snapshot) -> String {
    format!("{number}-r{}-{}.db", snapshot.revision, snapshot.sha256)
}

impl Kept {
    fn read(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?.to_owned();
        let mut words = file.strip_suffix(".db")?.splitn(3, '-');
        let (number, revision, sha256) =
            (words.next()?.parse().ok()?, words.next()?.strip_prefix('r')?.parse().ok()?, words.next()?.parse().ok()?);
        let (size, saved) = (host::fs::size(path).ok()?, host::clock::rfc3339(host::fs::modified(path).ok()?));
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
        let names =
            [format!("9-r12-{sha}.db"), format!("10-r7-{sha}.db"), format!("ordered-{sha}.db"), ".saving".into(), ".saving.part".into()];
        let names = names.into_iter().chain([format!("11-r7-{sha}"), "12-r7-00.db".into(), format!("13-7-{sha}.db")]);
        names.for_each(|name| write_atomic(&root.path().join(name), b"", PRIVATE).unwrap());
        let shelf = Shelf::new(root.path());
        let kept: Vec<(u64, u64)> = shelf.kept().unwrap().iter().map(|kept| (kept.number, kept.revision)).collect();
        assert_eq!(kept, [(10, 7), (9, 12)]);
        assert_eq!(Shelf::new(&root.path().join("none")).kept().unwrap(), []);
        shelf.clear(".saving").unwrap();
        shelf.forget_ordered().unwrap();
        assert_eq!(crate::host::fs::list(root.path()).unwrap().len(), 5);
    }
}
