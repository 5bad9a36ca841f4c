//! Blobs: bytes named by their digest.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

use super::{Store, explain_full_disk};

/// Mode of blobs. They are never rewritten, because equal names mean equal bytes.
const MODE: u32 = 0o444;

/// State of a blob in the store.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Good(PathBuf),
    /// The digest did not match; the blob was removed.
    Corrupt(String),
}

impl Store {
    /// Finds a blob and checks its bytes; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if its bytes do not match its name; it is removed, so that the next fetch replaces
    /// it.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<PathBuf>> {
        match self.find(digest)? {
            Found::Nothing => Ok(None),
            Found::Good(path) => Ok(Some(path)),
            Found::Corrupt(message) => {
                Err(Error::new(Kind::Verify, message).hint("run `kiln fetch` to download it again"))
            }
        }
    }

    /// Checks whether a blob exists and is intact; a corrupt one is removed with a warning.
    pub(crate) fn holds(&self, digest: &Digest) -> Result<bool> {
        Ok(match self.find(digest)? {
            Found::Good(_) => true,
            Found::Nothing => false,
            Found::Corrupt(message) => {
                self.warn(message);
                false
            }
        })
    }

    /// Stores everything that `reader` yields.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if reading fails or there is no space; nothing is stored then.
    pub(crate) fn put(&self, mut reader: impl Read) -> Result<(Digest, PathBuf)> {
        let directory = self.temporary()?;
        let path = directory.path().join("blob");
        let step = || format!("writing `{}`", path.display());
        let mut hasher = Hasher::default();
        let mut file = host::fs::create(&path, host::fs::PRIVATE)?;
        let copied = std::io::copy(&mut Tee { reader: &mut reader, hasher: &mut hasher }, &mut file)
            .doing(Kind::Io, step);
        copied.map_err(|err| explain_full_disk(err, &self.root))?;
        let digest = hasher.finish();
        Ok((digest, self.adopt(&path, &digest)?))
    }

    /// Moves a complete file on the store's filesystem to the blob `digest`, which the caller has checked.
    pub(super) fn adopt(&self, file: &Path, digest: &Digest) -> Result<PathBuf> {
        let path = self.blob_path(digest);
        host::fs::create_directories(path.parent().expect("a blob has a parent directory"))?;
        host::fs::set_mode(file, MODE)?;
        // No fsync: a power cut may lose a blob, but can't make a wrong one pass, because readers check the
        // digest.
        host::fs::rename(file, &path)?;
        Ok(path)
    }

    /// Looks up and checks a blob; a corrupt one is removed and reported.
    pub(super) fn find(&self, digest: &Digest) -> Result<Found> {
        let path = self.blob_path(digest);
        if !path.exists() {
            return Ok(Found::Nothing);
        }
        let (actual, size) = host::fs::digest(&path)?;
        if actual == *digest {
            host::fs::touch(&path)?;
            return Ok(Found::Good(path));
        }
        host::fs::remove(&path)?;
        let shown = path.display();
        Ok(Found::Corrupt(format!(
            "removed corrupt store entry `{shown}`: the sha256 of its {size} bytes is {actual}"
        )))
    }

    /// Returns the path of a blob, which need not exist.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs/sha256").join(&name[..2]).join(name)
    }
}

/// Reader that computes the digest of its input.
struct Tee<'a, R> {
    reader: R,
    hasher: &'a mut Hasher,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use crate::digest::Digest;
    use crate::error::Kind;
    use crate::host;

    #[test]
    fn what_is_put_is_found_under_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let (digest, path) = store.put(&b"abc"[..]).unwrap();
        assert_eq!(digest, Digest::of(b"abc"));
        assert_eq!(store.blob(&digest).unwrap().unwrap(), path);
        assert_eq!(store.put(&b"abc"[..]).unwrap(), (digest, path));
        assert_eq!(store.blob(&Digest::of(b"other")).unwrap(), None);
    }

    #[test]
    fn a_corrupt_blob_is_named_and_removed_and_never_returned() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let (digest, path) = store.put(&b"abc"[..]).unwrap();
        host::fs::write_atomic(&path, b"abd", host::fs::PUBLIC).unwrap();
        let err = store.blob(&digest).unwrap_err();
        assert_eq!(err.kind(), Kind::Verify);
        assert!(err.to_string().contains(path.to_str().unwrap()), "{err}");
        assert_eq!(store.blob(&digest).unwrap(), None);
    }
}
