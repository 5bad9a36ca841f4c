//! Session of one process in the store: its temporary directories, and a lock that shows that it is alive.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::host::lock::FileLock;

/// A session; while it exists, its directory is kept and the store is not collected.
#[derive(Debug)]
pub(super) struct Session {
    /// Parent of the temporary directories; removed on drop.
    directory: PathBuf,
    /// File locked exclusively: a process that acquires the lock knows that this one is dead.
    alive: PathBuf,
    _alive: FileLock,
    /// Lock that every session holds in shared mode and a collection acquires exclusively.
    pub(super) usage: FileLock,
}

impl Session {
    /// Removes leftovers of dead processes and begins a session.
    pub(super) fn begin(root: &Path) -> Result<Self> {
        let usage = FileLock::shared(&usage_path(root))?;
        // While this lock is held, no session exists that is not locked yet.
        let _guard = FileLock::exclusive(&root.join("locks/sessions"))?;
        reclaim(&root.join("tmp"))?;
        let made = tempfile::Builder::new().prefix("").tempdir_in(root.join("tmp"));
        let directory = made
            .doing(Kind::Io, || format!("creating a directory in `{}`", root.join("tmp").display()))?
            .keep();
        let alive = directory.with_extension("alive");
        Ok(Self { _alive: FileLock::exclusive(&alive)?, directory, alive, usage })
    }

    pub(super) fn temporary(&self) -> Result<TempDir> {
        tempfile::tempdir_in(&self.directory)
            .doing(Kind::Io, || format!("creating a directory in `{}`", self.directory.display()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // If the removal fails, the next process reclaims the directory, or reports the error.
        let _ = host::fs::remove(&self.directory);
        let _ = host::fs::remove(&self.alive);
    }
}

/// Returns the path of the lock that marks the store as in use.
pub(super) fn usage_path(root: &Path) -> PathBuf {
    root.join("locks/usage")
}

/// Removes the directories of processes that have ended.
fn reclaim(tmp: &Path) -> Result<()> {
    for path in host::fs::list(tmp)? {
        if path.extension().is_some_and(|extension| extension == "alive") {
            continue;
        }
        let alive = path.with_extension("alive");
        if FileLock::try_exclusive(&alive)?.is_some() {
            host::fs::remove(&path)?;
            host::fs::remove(&alive)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;

    #[test]
    fn what_a_dead_process_left_is_gone_and_what_a_living_one_uses_stays() {
        let dir = tempfile::tempdir().unwrap();
        let living = store(dir.path());
        let used = living.temporary().unwrap();
        let stale = dir.path().join("tmp/dead/half");
        crate::host::fs::create_directories(&stale).unwrap();
        let later = store(dir.path());
        assert!(used.path().exists());
        assert!(!stale.parent().unwrap().exists());
        drop((later, used, living));
        assert_eq!(crate::host::fs::list(&dir.path().join("tmp")).unwrap(), [] as [std::path::PathBuf; 0]);
    }
}
