//! The output directory: staged next to its target, filled, and published by one rename. A visible directory
//! is always complete.
//!
//! A file whose inputs have not changed is linked from the previous build and not written again; if no file
//! has changed, nothing is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::sparse;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::lock::FileLock;
use crate::output::manifest::{ArtifactRecord, Manifest};
use crate::words::artifacts::{MANIFEST, SUMS};

/// Users who are allowed to read an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    All,
    /// The owner only: the artifact contains a secret.
    Owner,
}

impl Readers {
    fn file_mode(self) -> u32 {
        if self == Self::All { host::fs::PUBLIC } else { host::fs::PRIVATE }
    }
}

/// An output directory under construction.
#[derive(Debug)]
pub(crate) struct Artifacts {
    target: PathBuf,
    staging: PathBuf,
    /// Lock that shows that this process is alive; a process that acquires it may remove the staging
    /// directory.
    _alive: FileLock,
    epoch: u64,
    previous: BTreeMap<String, ArtifactRecord>,
    made: BTreeMap<String, ArtifactRecord>,
    /// Number of files that were written, not linked.
    written: usize,
}

/// Effect of a build on its output directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// Number of new files; the others are unchanged.
    New(usize),
    /// Nothing changed.
    Unchanged,
}

impl Artifacts {
    /// Starts building `target`. Removes staging directories that dead builds have left next to it.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if `target` exists but is not an output directory; [`Kind::Io`] if a directory can't
    /// be created or removed.
    pub(crate) fn begin(target: &Path, epoch: u64) -> Result<Self> {
        refuse_foreign(target)?;
        let parent =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_new = !parent.exists();
        host::fs::create_directories(parent)?;
        if is_new {
            // Seeds are secret, and images are large.
            host::fs::write_atomic(&parent.join(".gitignore"), b"*\n", host::fs::PUBLIC)?;
        }
        let _guard = FileLock::directory(parent)?;
        reclaim(parent)?;
        let staging = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        let staging =
            staging.doing(Kind::Io, || format!("creating a directory in `{}`", parent.display()))?.keep();
        host::fs::set_mode(&staging, 0o755)?;
        let alive = FileLock::try_directory(&staging)?
            .ok_or_else(|| Error::new(Kind::Io, "a new directory is locked by another process"))?;
        let previous = Manifest::read(target).map(|manifest| manifest.artifacts).unwrap_or_default();
        let (target, made) = (target.to_owned(), BTreeMap::new());
        Ok(Self { target, staging, _alive: alive, epoch, previous, made, written: 0 })
    }

    /// Returns the latest time in any artifact, in seconds since 1970.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Checks whether an artifact with this path was added.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.made.contains_key(path)
    }

    /// Returns the path of an added artifact until it is published.
    pub(crate) fn staged(&self, path: &str) -> PathBuf {
        self.staging.join(path)
    }

    /// Checks whether a copy of a staged artifact shares its data on this filesystem.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the artifact can't be read or copied.
    pub(crate) fn shares_bytes(&self, path: &str) -> Result<bool> {
        let step = || format!("sharing the data of `{path}`");
        let probe = tempfile::tempfile_in(&self.staging).doing(Kind::Io, step)?;
        sparse::share(&host::fs::open(&self.staged(path))?, &probe).doing(Kind::Io, step)
    }

    /// Adds one artifact. `make` writes it to an empty file and returns its digest. `made_of` is a digest of
    /// all inputs that determine the bytes: if it equals the digest from the previous build, `make` is not
    /// called.
    ///
    /// # Errors
    ///
    /// Errors from `make`; [`Kind::Internal`] if the path was added before.
    pub(crate) fn put(
        &mut self,
        path: &str,
        readers: Readers,
        made_of: Digest,
        make: impl FnOnce(&File) -> Result<Digest>,
    ) -> Result<()> {
        if self.has(path) {
            return Err(Error::new(Kind::Internal, format!("two artifacts are named `{path}`")));
        }
        self.make_directories(path, readers)?;
        let record = match self.reuse(path, readers, made_of)? {
            Some(record) => record,
            None => self
                .write(path, readers, made_of, make)
                .within(|| format!("writing `{}`", self.target.join(path).display()))?,
        };
        self.made.insert(path.to_owned(), record);
        Ok(())
    }

    /// Adds an artifact with these bytes.
    ///
    /// # Errors
    ///
    /// Same as [`Artifacts::put`].
    pub(crate) fn put_bytes(&mut self, path: &str, readers: Readers, bytes: &[u8]) -> Result<()> {
        let digest = Digest::of(bytes);
        self.put(path, readers, digest, |file| {
            sparse::write(file, bytes).doing(Kind::Io, || "writing the contents".into())?;
            Ok(digest)
        })
    }

    fn make_directories(&self, path: &str, readers: Readers) -> Result<()> {
        let mut directory = self.staging.clone();
        let parents: Vec<&str> = path.split('/').collect();
        for part in &parents[..parents.len() - 1] {
            directory.push(part);
            if !directory.exists() {
                host::fs::create_directories(&directory)?;
                host::fs::set_mode(&directory, if readers == Readers::All { 0o755 } else { 0o700 })?;
            }
        }
        Ok(())
    }

    /// Links the file from the previous build if it was built from the same inputs and has not been modified
    /// since.
    fn reuse(&self, path: &str, readers: Readers, made_of: Digest) -> Result<Option<ArtifactRecord>> {
        let Some(record) = self.previous.get(path).filter(|record| record.made_of == made_of) else {
            return Ok(None);
        };
        let (old, new) = (self.target.join(path), self.staged(path));
        let intact = host::publish::is_sealed(&old, readers.file_mode(), self.epoch, record.size);
        Ok(if intact && host::publish::link(&old, &new)? { Some(record.clone()) } else { None })
    }

    fn write(
        &mut self,
        path: &str,
        readers: Readers,
        made_of: Digest,
        make: impl FnOnce(&File) -> Result<Digest>,
    ) -> Result<ArtifactRecord> {
        let staged = self.staged(path);
        let file = host::fs::create(&staged, readers.file_mode())?;
        let sha256 = make(&file)?;
        host::publish::seal(&file, readers.file_mode(), self.epoch, &staged)?;
        self.written += 1;
        Ok(ArtifactRecord {
            sha256,
            size: host::fs::size(&staged)?,
            secret: readers == Readers::Owner,
            made_of,
        })
    }

    /// Adds the manifest and replaces the previous directory with this one, or keeps the previous one if
    /// nothing has changed.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if a file can't be written or the directory can't be replaced; the previous output is
    /// then still in place.
    pub(crate) fn publish(self, mut manifest: Manifest) -> Result<Published> {
        manifest.artifacts.clone_from(&self.made);
        if self.written == 0
            && Manifest::read(&self.target).is_ok_and(|last| last.is_same_build(&manifest))
            && self.is_whole()
        {
            return Ok(Published::Unchanged);
        }
        let json = manifest.to_json()?;
        let sums = manifest.sums(&Digest::of(&json));
        for (name, bytes) in [(MANIFEST, json.as_slice()), (SUMS, sums.as_bytes())] {
            host::fs::write_atomic(&self.staging.join(name), bytes, host::fs::PUBLIC)?;
        }
        host::fs::sync_filesystem(&self.staging)?;
        host::publish::exchange(&self.staging, &self.target)?;
        host::fs::sync_directory(
            self.target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )?;
        Ok(Published::New(self.written))
    }

    /// Checks whether the published directory contains exactly the files in its manifest.
    fn is_whole(&self) -> bool {
        let expected = self
            .made
            .keys()
            .map(|path| self.target.join(path))
            .chain([MANIFEST, SUMS].map(|name| self.target.join(name)));
        files(&self.target).is_ok_and(|found| found == expected.collect())
    }
}

impl Drop for Artifacts {
    fn drop(&mut self) {
        // The next build removes what can't be removed now, or reports why it can't.
        let _ = host::fs::remove(&self.staging);
    }
}

/// Prefix of every staging directory.
const PREFIX: &str = ".kiln-";

/// Removes the staging directories of processes that have exited.
fn reclaim(parent: &Path) -> Result<()> {
    for path in host::fs::list(parent)? {
        let is_staging =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) && path.is_dir();
        if is_staging && FileLock::try_directory(&path)?.is_some() {
            host::fs::remove(&path)?;
        }
    }
    Ok(())
}

/// Lists every file below a directory.
pub(super) fn files(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for path in host::fs::list(directory)? {
        if path.is_dir() {
            found.append(&mut files(&path)?);
        } else {
            found.insert(path);
        }
    }
    Ok(found)
}

/// Rejects a target that is not an output directory, because a build replaces its target.
fn refuse_foreign(target: &Path) -> Result<()> {
    let is_empty = || host::fs::list(target).is_ok_and(|entries| entries.is_empty());
    if !target.exists() || target.join(MANIFEST).is_file() || is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Input,
        format!("`{}` exists but was not created by a build; it was left unchanged", target.display()),
    )
    .hint("move it, or build into another directory"))
}
