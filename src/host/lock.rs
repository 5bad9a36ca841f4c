//! Advisory locks on files and directories (flock(2)): held until dropped, and released by the kernel when a
//! process dies.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Doing, Kind, Result};
use crate::host::fs;

/// A lock held by this process.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Acquires the lock; waits until it is free.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock().doing(Kind::Io, || format!("locking `{}`", path.display()))?;
        Ok(Self(file))
    }

    /// Acquires the lock if it is free.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let lock = Self(open(path)?);
        Ok(lock.try_upgrade(path)?.then_some(lock))
    }

    /// Acquires the lock of an existing directory if it is free. Leaves no lock file.
    pub(crate) fn try_directory(path: &Path) -> Result<Option<Self>> {
        let lock = Self(fs::open(path)?);
        Ok(lock.try_upgrade(path)?.then_some(lock))
    }

    /// Acquires the lock of an existing directory; waits until it is free. Leaves no lock file.
    pub(crate) fn directory(path: &Path) -> Result<Self> {
        let directory = fs::open(path)?;
        directory.lock().doing(Kind::Io, || format!("locking `{}`", path.display()))?;
        Ok(Self(directory))
    }

    /// Acquires the lock in shared mode; waits while it is held exclusively.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock_shared().doing(Kind::Io, || format!("locking `{}`", path.display()))?;
        Ok(Self(file))
    }

    /// Upgrades a shared lock to an exclusive one. Returns false if others share it; the lock is then
    /// released.
    pub(crate) fn try_upgrade(&self, path: &Path) -> Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(err)) => {
                Err(err).doing(Kind::Io, || format!("locking `{}`", path.display()))
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    fs::open_to_append(path, fs::PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::FileLock;

    #[test]
    fn a_lock_is_free_again_when_its_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = FileLock::shared(&path).unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        assert!(first.try_upgrade(&path).unwrap());
        drop(first);
        assert!(FileLock::try_exclusive(&path).unwrap().is_some());
    }
}
