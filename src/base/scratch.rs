//! The directory on the host in which packages are installed; gone when the value is.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::base::ownership::Ownership;
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
    /// What the files below the root don't show.
    pub(super) ownership: Ownership,
}

impl Scratch {
    pub(super) fn new(store: &Store) -> Result<Self> {
        let directory = store.temporary()?;
        for name in ["root", "shells", "state"] {
            host::fs::create_directories(&directory.path().join(name))?;
        }
        let root = directory.path().join("root");
        host::fs::set_mode(&root, 0o755)?;
        Ok(Self { scoped: Scoped::open(&root)?, root, ownership: Ownership::default(), directory })
    }

    /// Writes a file of root's with permission bits `mode` in the place of whatever was there.
    pub(super) fn replace(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.remove(path)?;
        let identity = self.scoped.file(path, mode, &mut &*bytes)?;
        self.ownership.forget(&identity);
        Ok(())
    }

    /// Removes a file or link. The next file may get its identity, but not its owner.
    pub(super) fn remove(&mut self, path: &str) -> Result<()> {
        if let Some(gone) = self.scoped.remove(path)? {
            self.ownership.forget(&gone);
        }
        Ok(())
    }

    /// A directory that isn't in the root: `shells` or `state`.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
