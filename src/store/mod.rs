//! Content-addressed cache: downloads, finished stages, garbage collection.
//!
//! ```text
//! blobs/sha256/ab/<digest>     bytes by their SHA-256, read-only
//! stages/<name>/<key>/         out/ (a stage's directory) and record.json (digests of its files)
//! partial/<digest>             an unfinished download
//! tmp/<process>/               temporary directories, removed with their process
//! locks/                       locks of downloads and builds in progress
//! ```
//!
//! Every entry is checked against its digest when it is used. A mismatch is reported; the entry is removed
//! and recreated.

mod blob;
mod collect;
mod download;
mod fetch;
mod inventory;
mod session;
mod stage;

pub(crate) use collect::{Bounds, Collected};
pub(crate) use fetch::Download;
pub(crate) use inventory::{Entry, EntryKind};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::host::http::{Client, Patience};
use session::Session;

/// Free bytes below which a filesystem counts as full.
const NO_SPACE: u64 = 1 << 20;

/// The cache of one user. Any number of processes may use the same store at the same time.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    session: Session,
    client: Client,
    /// Stages that this process has already checked.
    checked: Mutex<BTreeSet<PathBuf>>,
    /// Warnings for the user, about corrupt entries.
    warnings: Mutex<Vec<String>>,
}

impl Store {
    /// Opens the store at `root` if set, otherwise at `$KILN_STORE` if set, otherwise at `kiln` in the user's
    /// cache directory; creates the store if it is missing.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if it can't be created or written, [`Kind::Input`] if no location is known.
    pub(crate) fn open(root: Option<&Path>) -> Result<Self> {
        Self::open_with(root, Patience::default())
    }

    pub(crate) fn open_with(root: Option<&Path>, patience: Patience) -> Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => default_root()?,
        };
        let root = std::path::absolute(&root)
            .map_err(|err| Error::new(Kind::Input, format!("resolving `{}`: {err}", root.display())))?;
        host::fs::create_private_directory(&root)?;
        for directory in ["blobs/sha256", "stages", "partial", "locks", "tmp"] {
            host::fs::create_directories(&root.join(directory))?;
        }
        mark_as_cache(&root)?;
        let session = Session::begin(&root)?;
        Ok(Self {
            session,
            client: Client::new(patience)?,
            root,
            checked: Mutex::default(),
            warnings: Mutex::default(),
        })
    }

    /// Returns the root directory of the store.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the HTTP client, shared so that connections are reused.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Creates an empty directory on the store's filesystem, removed on drop, or by a later process if this
    /// one died.
    pub(crate) fn temporary(&self) -> Result<tempfile::TempDir> {
        self.session.temporary()
    }

    /// Returns the warnings since the last call.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn(&self, message: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }
}

/// Adds hints to the error of a full disk; other errors are unchanged.
fn explain_full_disk(err: Error, root: &Path) -> Error {
    // A program that kiln ran reports a full disk in its own words.
    let full = || host::fs::free_space(root).is_ok_and(|bytes| bytes < NO_SPACE);
    if !err.is_full_disk() && !full() {
        return err;
    }
    err.hint(format!(
        "free up space on the filesystem of `{}`; `kiln store gc` removes unneeded entries",
        root.display()
    ))
    .hint("or move the store with `--store DIR` or KILN_STORE; existing entries are not lost")
}

fn default_root() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("KILN_STORE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("kiln")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/kiln")))
        .ok_or_else(|| {
            Error::new(Kind::Input, "the location of the store is unknown")
                .hint("set KILN_STORE to a directory, or pass `--store DIR`")
        })
}

/// Marks the store as a cache that backup programs skip (<https://bford.info/cachedir/>).
fn mark_as_cache(root: &Path) -> Result<()> {
    let tag = root.join("CACHEDIR.TAG");
    let text =
        b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by kiln; everything here can be recreated.\n";
    if tag.exists() { Ok(()) } else { host::fs::write_atomic(&tag, text, host::fs::PUBLIC) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Bounds, Download, Store};
    use crate::digest::Digest;
    use crate::error::Kind;
    use crate::host;
    use crate::host::http::Patience;
    use crate::host::test_server::{Manner, Server};
    use crate::judge::{accepts, judge};
    use crate::progress::Silent;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    /// Opens a store that gives up quickly.
    pub(crate) fn store(root: &Path) -> Store {
        let short = Duration::from_millis(400);
        let patience =
            Patience { connect: short, silence: short, pause: Duration::from_millis(5), attempts: 3 };
        Store::open_with(Some(root), patience).unwrap()
    }

    #[test]
    fn only_its_owner_may_enter_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir.path().join("new/store"));
        assert_eq!(store.root().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    /// Set in the process that sees the small filesystem.
    const SMALL: &str = "KILN_TEST_SMALL_DISK";

    #[test]
    fn a_full_disk_is_named_and_nothing_is_lost() {
        if let Some(small) = std::env::var_os(SMALL) {
            return fill(Path::new(&small));
        }
        let Some(mut unshare) = judge("unshare") else { return };
        let dir = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=4m tmpfs \"$0\" && exec \"$@\"";
        unshare.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(dir.path());
        let itself = host::process::own_program().unwrap();
        let said = accepts(
            unshare
                .arg(itself)
                .args(["--exact", "store::tests::a_full_disk_is_named_and_nothing_is_lost"])
                .env(SMALL, dir.path()),
        );
        assert!(said.contains("1 passed"), "{said}");
    }

    fn fill(disk: &Path) {
        let store = store(&disk.join("store"));
        let (kept, _) = store.put(&[1; 1 << 20][..]).unwrap();
        let large = vec![2; 6 << 20];
        let url = Server::start().file("/large", &large, Manner::Good);
        let download =
            Download { name: "large".into(), urls: vec![url], sha256: Digest::of(&large), size: None };
        let errors = [store.put(&large[..]).unwrap_err(), store.fetch(&[download], &Silent).unwrap_err()];
        for err in errors {
            assert!(err.kind() == Kind::Io && err.to_string().contains("No space left"), "{err}");
            assert!(err.to_string().contains(disk.to_str().unwrap()), "{err} names no path");
            assert!(err.hints()[0].contains("kiln store gc"), "{err:?}");
        }
        assert!(store.blob(&kept).unwrap().is_some());
        store.collect(Bounds::default(), 0, false).unwrap();
        store.put(&[3; 1 << 20][..]).unwrap();
    }
}
