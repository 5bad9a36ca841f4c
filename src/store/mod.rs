//! The content-addressed cache: downloads, finished stages, garbage collection.
//!
//! ```text
//! blobs/sha256/ab/<digest>     bytes by their SHA-256, read-only
//! stages/<name>/<key>/         out/ (a stage's directory) and record.json (digests of its files)
//! partial/<digest>             a download that has not ended yet
//! tmp/<process>/               temporary directories, removed with their process
//! locks/                       who fetches or builds what, just now
//! ```
//!
//! Every entry is checked against its digest when it is used. What does not match is named, removed and made again.

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

/// The cache of one user. Any number of processes may use one store at a time.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    session: Session,
    client: Client,
    /// Stages that this process has already checked.
    checked: Mutex<BTreeSet<PathBuf>>,
    /// What a person should know and nothing stopped for: entries that were corrupt.
    warnings: Mutex<Vec<String>>,
}

impl Store {
    /// Opens the store at `root`, else `$KILN_STORE`, else `kiln` in the user's cache directory; makes it where there is none.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if it can't be created or written, [`Kind::Input`] if nothing says where it is.
    pub(crate) fn open(root: Option<&Path>) -> Result<Self> {
        Self::open_with(root, Patience::default())
    }

    pub(crate) fn open_with(root: Option<&Path>, patience: Patience) -> Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => default_root()?,
        };
        let root = std::path::absolute(&root).map_err(|err| Error::new(Kind::Input, format!("finding `{}`: {err}", root.display())))?;
        host::fs::create_private_directory(&root)?;
        for directory in ["blobs/sha256", "stages", "partial", "locks", "tmp"] {
            host::fs::create_directories(&root.join(directory))?;
        }
        mark_as_cache(&root)?;
        let session = Session::begin(&root)?;
        Ok(Self { session, client: Client::new(patience)?, root, checked: Mutex::default(), warnings: Mutex::default() })
    }

    /// Directory that everything lies under.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The HTTP client; one for all, so that connections are shared.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes an empty directory on the store's filesystem, removed when the value is dropped, or when a later process finds this one dead.
    pub(crate) fn temporary(&self) -> Result<tempfile::TempDir> {
        self.session.temporary()
    }

    /// Takes what happened since the last call that a person should know.
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

/// Says what the user can do about a full disk; other errors stay as they are.
fn explain_full_disk(err: Error, root: &Path) -> Error {
    let full = ["No space left on device", "Disk quota exceeded"].iter().any(|text| err.to_string().contains(text));
    if !full {
        return err;
    }
    err.hint(format!("free space on the filesystem of `{}`; `kiln store gc` removes what is not needed", root.display()))
        .hint("or move the store with `--store DIR` or KILN_STORE; nothing that was already there is lost")
}

fn default_root() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("KILN_STORE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("kiln")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/kiln")))
        .ok_or_else(|| {
            Error::new(Kind::Input, "nothing says where the store is").hint("set KILN_STORE to a directory, or pass `--store DIR`")
        })
}

/// Tells backup programs to leave the store out (<https://bford.info/cachedir/>).
fn mark_as_cache(root: &Path) -> Result<()> {
    let tag = root.join("CACHEDIR.TAG");
    let text = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by kiln; everything here can be made again.\n";
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
        let patience = Patience { connect: short, silence: short, pause: Duration::from_millis(5), attempts: 3 };
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
        let said =
            accepts(unshare.arg(itself).args(["--exact", "store::tests::a_full_disk_is_named_and_nothing_is_lost"]).env(SMALL, dir.path()));
        assert!(said.contains("1 passed"), "{said}");
    }

    fn fill(disk: &Path) {
        let store = store(&disk.join("store"));
        let (kept, _) = store.put(&[1; 1 << 20][..]).unwrap();
        let large = vec![2; 6 << 20];
        let url = Server::start().file("/large", &large, Manner::Good);
        let download = Download { name: "large".into(), urls: vec![url], sha256: Digest::of(&large), size: None };
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
