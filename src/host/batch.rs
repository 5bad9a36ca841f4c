//! Batches of small files, written together.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempPath;

use crate::error::{Doing, Kind, Result};
use crate::host::fs;

/// Files on one filesystem that are written together, by several threads if needed. Each appears complete or
/// not at all, and none before [`Batch::commit`], which flushes the device once instead of once per file.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    written: Mutex<Vec<(TempPath, PathBuf)>>,
}

impl Batch {
    /// Writes a file next to its final path; `mode` applies regardless of the umask.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let file = fs::write_beside(path, mode, |out| out.write_all(bytes))?.into_temp_path();
        self.written.lock().expect("no writer panics").push((file, path.to_owned()));
        Ok(())
    }

    /// Renames every file to its final path, replacing existing ones.
    pub(crate) fn commit(self) -> Result<()> {
        let written = self.written.into_inner().expect("no writer panics");
        if let Some((file, _)) = written.first() {
            fs::sync_filesystem(file)?;
        }
        for (file, path) in written {
            file.persist(&path)
                .map_err(|err| err.error)
                .doing(Kind::Io, || format!("writing `{}`", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Batch;
    use crate::host::fs;

    #[test]
    fn files_of_a_batch_appear_when_all_are_written_and_an_abandoned_batch_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("m1/new.pem"), dir.path().join("old.pem"));
        fs::write_atomic(&old, b"before", fs::PRIVATE).unwrap();
        let fill = || {
            let batch = Batch::default();
            batch.write(&new, b"new", fs::PRIVATE).unwrap();
            batch.write(&old, b"after", fs::PRIVATE).unwrap();
            batch
        };
        drop(fill());
        assert!(!new.exists());
        assert_eq!(fs::list(dir.path()).unwrap().len(), 2, "the directory m1, and what was there before");
        let batch = fill();
        assert_eq!(fs::read(&old).unwrap(), b"before");
        batch.commit().unwrap();
        assert_eq!([&new, &old].map(|path| fs::read(path).unwrap()), [b"new".to_vec(), b"after".to_vec()]);
        assert_eq!([&new, &old].map(|path| fs::mode(path).unwrap()), [fs::PRIVATE, fs::PRIVATE]);
        assert_eq!(fs::list(new.parent().unwrap()).unwrap(), [new]);
    }
}
