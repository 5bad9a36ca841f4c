//! The output directory: staged beside its target, filled, and published by one rename. What is visible is always whole.
//!
//! A file whose inputs have not changed is linked from the last build and not written again; if all are, nothing is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::sparse;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::lock::FileLock;
use crate::output::manifest::{ArtifactRecord, MANIFEST, Manifest, SUMS};

/// Who may read an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    All,
    /// Its owner: it holds a secret.
    Owner,
}

impl Readers {
    fn file_mode(self) -> u32 {
        if self == Self::All { host::fs::PUBLIC } else { host::fs::PRIVATE }
    }
}

/// An output directory that is being made.
#[derive(Debug)]
pub(crate) struct Artifacts {
    target: PathBuf,
    staging: PathBuf,
    /// Says that this process is alive; whoever gets it may remove the staging directory.
    _alive: FileLock,
    epoch: u64,
    previous: BTreeMap<String, ArtifactRecord>,
    made: BTreeMap<String, ArtifactRecord>,
    /// How many files were written and not linked.
    written: usize,
}

/// What a build left in its output directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// This many files are new; the rest is as it was.
    New(usize),
    /// Everything was as it should be.
    Unchanged,
}

impl Artifacts {
    /// Begins to make `target`. Removes what builds that died have left beside it.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if something else than an output directory is there; [`Kind::Io`].
    pub(crate) fn begin(target: &Path, epoch: u64) -> Result<Self> {
        refuse_foreign(target)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        host::fs::create_directories(parent)?;
        let _guard = FileLock::directory(parent)?;
        reclaim(parent)?;
        let staging = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        let staging = staging.doing(Kind::Io, || format!("creating a directory in `{}`", parent.display()))?.keep();
        host::fs::set_mode(&staging, 0o755)?;
        let alive = FileLock::try_directory(&staging)?.ok_or_else(|| Error::new(Kind::Io, "a new directory is locked by somebody else"))?;
        let previous = Manifest::read(target).map(|manifest| manifest.artifacts).unwrap_or_default();
        let (target, made) = (target.to_owned(), BTreeMap::new());
        Ok(Self { target, staging, _alive: alive, epoch, previous, made, written: 0 })
    }

    /// Seconds since 1970; no time in an artifact is later.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether an artifact of this path was put.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.made.contains_key(path)
    }

    /// Where an artifact that was put lies until it is published.
    pub(crate) fn staged(&self, path: &str) -> PathBuf {
        self.staging.join(path)
    }

    /// Whether a copy of a staged artifact shares its bytes on this filesystem.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`].
    pub(crate) fn shares_bytes(&self, path: &str) -> Result<bool> {
        let step = || format!("sharing the bytes of `{path}`");
        let probe = tempfile::tempfile_in(&self.staging).doing(Kind::Io, step)?;
        sparse::share(&host::fs::open(&self.staged(path))?, &probe).doing(Kind::Io, step)
    }

    /// Puts one artifact. `make` writes it into an empty file and returns its digest, or knows it. `made_of` is a digest over all
    /// that decides its bytes: when it is that of the last build, `make` is not called.
    ///
    /// # Errors
    ///
    /// Those of `make`; [`Kind::Internal`] if the path was put before.
    pub(crate) fn put(&mut self, path: &str, readers: Readers, made_of: Digest, make: impl FnOnce(&File) -> Result<Digest>) -> Result<()> {
        if self.has(path) {
            return Err(Error::new(Kind::Internal, format!("two artifacts are named `{path}`")));
        }
        self.make_directories(path, readers)?;
        let record = match self.reuse(path, readers, made_of)? {
            Some(record) => record,
            None => self.write(path, readers, made_of, make).within(|| format!("writing `{}`", self.target.join(path).display()))?,
        };
        self.made.insert(path.to_owned(), record);
        Ok(())
    }

    /// Puts an artifact of these bytes.
    ///
    /// # Errors
    ///
    /// As [`Artifacts::put`].
    pub(crate) fn put_bytes(&mut self, path: &str, readers: Readers, bytes: &[u8]) -> Result<()> {
        let digest = Digest::of(bytes);
        self.put(path, readers, digest, |file| {
            sparse::write(file, bytes).doing(Kind::Io, || "writing".into())?;
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

    /// Links the file of the last build when it was made of the same things and nobody has written to it since.
    fn reuse(&self, path: &str, readers: Readers, made_of: Digest) -> Result<Option<ArtifactRecord>> {
        let Some(record) = self.previous.get(path).filter(|record| record.made_of == made_of) else { return Ok(None) };
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
        Ok(ArtifactRecord { sha256, size: host::fs::size(&staged)?, secret: readers == Readers::Owner, made_of })
    }

    /// Ends the directory with its manifest and puts it in the place of the last one, or leaves that when nothing has changed.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`]; the last output is then still in its place.
    pub(crate) fn publish(self, mut manifest: Manifest) -> Result<Published> {
        manifest.artifacts.clone_from(&self.made);
        if self.written == 0 && Manifest::read(&self.target).is_ok_and(|last| last.is_same_build(&manifest)) && self.is_whole() {
            return Ok(Published::Unchanged);
        }
        let json = manifest.to_json()?;
        let sums = manifest.sums(&Digest::of(&json));
        for (name, bytes) in [(MANIFEST, json.as_slice()), (SUMS, sums.as_bytes())] {
            host::fs::write_atomic(&self.staging.join(name), bytes, host::fs::PUBLIC)?;
        }
        host::fs::sync_filesystem(&self.staging)?;
        host::publish::exchange(&self.staging, &self.target)?;
        host::fs::sync_directory(self.target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(Published::New(self.written))
    }

    /// Whether the published directory holds what its manifest says and nothing else.
    fn is_whole(&self) -> bool {
        let expected = self.made.keys().map(|path| self.target.join(path)).chain([MANIFEST, SUMS].map(|name| self.target.join(name)));
        files(&self.target).is_ok_and(|found| found == expected.collect())
    }
}

impl Drop for Artifacts {
    fn drop(&mut self) {
        // What can't be removed now is reclaimed by the next build, which also says why when it can't.
        let _ = host::fs::remove(&self.staging);
    }
}

/// Begins the name of every staging directory.
const PREFIX: &str = ".kiln-";

/// Removes the staging directories of processes that are no more.
fn reclaim(parent: &Path) -> Result<()> {
    for path in host::fs::list(parent)? {
        let is_staging = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) && path.is_dir();
        if is_staging && FileLock::try_directory(&path)?.is_some() {
            host::fs::remove(&path)?;
        }
    }
    Ok(())
}

/// Every file below a directory.
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

/// An output directory replaces an output directory, and never somebody's home.
fn refuse_foreign(target: &Path) -> Result<()> {
    let is_empty = || host::fs::list(target).is_ok_and(|entries| entries.is_empty());
    if !target.exists() || target.join(MANIFEST).is_file() || is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Input, format!("`{}` is there and was not made by a build: it is not replaced", target.display()))
        .hint("move it away, or build into another directory"))
}
