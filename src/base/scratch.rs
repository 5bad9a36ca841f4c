//! The directory on the host in which packages are installed; gone when the value is.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::error::Result;
use crate::host;
use crate::host::scoped::Scoped;
use crate::store::Store;

/// A root directory in the making, and room beside it.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: TempDir,
    /// The root directory.
    pub(super) root: PathBuf,
    /// The root directory to write into.
    pub(super) scoped: Scoped,
}

impl Scratch {
    pub(super) fn new(store: &Store) -> Result<Self> {
        let directory = store.temporary()?;
        for name in ["root", "shells", "state"] {
            host::fs::create_directories(&directory.path().join(name))?;
        }
        let root = directory.path().join("root");
        host::fs::set_mode(&root, 0o755)?;
        Ok(Self { scoped: Scoped::open(&root)?, root, directory })
    }

    /// A directory that isn't in the root: `shells` or `state`.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
