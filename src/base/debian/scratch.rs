//! Directory on the host in which packages are installed; removed on drop.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::base::debian::ownership::Ownership;
use crate::error::Result;
use crate::host;
use crate::host::scoped::Scoped;
use crate::store::Store;

/// A root directory under construction, with auxiliary directories beside it.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: TempDir,
    /// Path of the root directory.
    pub(super) root: PathBuf,
    /// Root directory, opened for writes that can't leave it.
    pub(super) scoped: Scoped,
    /// Owners and modes that the files below the root can't have.
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

    /// Writes a file owned by root with permission bits `mode`, replacing any existing entry.
    pub(super) fn replace(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.remove(path)?;
        let identity = self.scoped.file(path, mode, &mut &*bytes)?;
        self.ownership.forget(&identity);
        Ok(())
    }

    /// Removes a file or link. The next file may receive its identity, but must not receive its owner.
    pub(super) fn remove(&mut self, path: &str) -> Result<()> {
        if let Some(gone) = self.scoped.remove(path)? {
            self.ownership.forget(&gone);
        }
        Ok(())
    }

    /// Returns a directory outside the root: `shells` or `state`.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
