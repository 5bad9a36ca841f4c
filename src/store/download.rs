//! A single download: resumed where it stopped, checked before it is stored.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::{Digest, Hasher};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::http::{Answer, Body};
use crate::host::lock::FileLock;
use crate::progress::Step;

use super::Store;
use super::blob::Found;
use super::fetch::Download;

/// Size of one read from the network; small enough for cancellation to be noticed soon.
const CHUNK: usize = 128 << 10;

/// Progress and cancellation of one download.
struct Watch<'a> {
    step: &'a dyn Step,
    stop: &'a AtomicBool,
    /// Bytes already reported to the step, so that a second attempt does not report them again.
    reported: u64,
}

/// Bytes received so far, on disk and in the hasher.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Store {
    /// Fetches one file from the first of its URLs that provides it.
    pub(super) fn download(&self, download: &Download, step: &dyn Step, stop: &AtomicBool) -> Result<()> {
        let path = self.root.join("partial").join(download.sha256.to_string());
        let lock_path = path.with_extension("lock");
        let _lock = FileLock::exclusive(&lock_path)?;
        let mut watch = Watch { step, stop, reported: 0 };
        // Another process may have fetched it while this one waited for the lock.
        if !matches!(self.find(&download.sha256)?, Found::Good(_)) {
            self.try_urls(download, &path, &mut watch)
                .within(|| format!("fetching `{}` (sha256 {})", download.name, download.sha256))?;
            self.adopt(&path, &download.sha256)?;
        }
        // Removed only now: after a failure, current and later waiters must use the same lock file.
        host::fs::remove(&lock_path)
    }

    fn try_urls(&self, download: &Download, path: &Path, watch: &mut Watch<'_>) -> Result<()> {
        let mut failures = Vec::new();
        for url in &download.urls {
            match self.client.persist(|| self.attempt(download, url, Partial::open(path.to_owned())?, watch))
            {
                Err(err) if matches!(err.kind(), Kind::Network | Kind::Verify) => failures.push(err),
                other => return other,
            }
        }
        Err(all_failed(failures, &download.sha256))
    }

    fn attempt(
        &self,
        download: &Download,
        url: &str,
        mut partial: Partial,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        if download.size.is_some_and(|size| partial.size >= size) {
            if partial.matches(download) {
                return Ok(());
            }
            partial.restart()?;
        }
        let resumed_at = partial.size;
        match self.client.get(url, partial.size)? {
            Answer::Refused(status) => Err(refused(url, status)),
            Answer::Body(body) => {
                check_size(url, body.size, download)?;
                if body.offset == 0 {
                    partial.restart()?;
                }
                partial.receive(body, url, download, watch)?;
                partial.finish(url, download, resumed_at)
            }
        }
    }
}

impl Partial {
    /// Opens the partial file of an earlier attempt, or a new one.
    fn open(path: PathBuf) -> Result<Self> {
        let mut file = host::fs::open_to_append(&path, host::fs::PRIVATE)?;
        let mut hasher = Hasher::default();
        let size = host::fs::copy(&mut file, &mut hasher, || format!("reading `{}`", path.display()))?;
        Ok(Self { path, file, hasher, size })
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).doing(Kind::Io, || format!("truncating `{}`", self.path.display()))?;
        self.hasher = Hasher::default();
        self.size = 0;
        Ok(())
    }

    fn matches(&self, download: &Download) -> bool {
        download.size.is_none_or(|size| size == self.size) && self.hasher.clone().finish() == download.sha256
    }

    fn receive(
        &mut self,
        mut body: Body,
        url: &str,
        download: &Download,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            watch.check()?;
            let read = body.read(&mut buffer).doing(Kind::Network, || {
                let total = download
                    .size
                    .or(body.size)
                    .map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string());
                format!("reading `{url}` after {} of {total} bytes", self.size)
            })?;
            if read == 0 {
                return Ok(());
            }
            self.file
                .write_all(&buffer[..read])
                .doing(Kind::Io, || format!("writing `{}`", self.path.display()))?;
            self.hasher.update(&buffer[..read]);
            self.size += read as u64;
            watch.arrived(self.size);
            if download.size.is_some_and(|size| self.size > size) {
                return Ok(());
            }
        }
    }

    /// Verifies the downloaded file. A file that is too short is kept, so that the download can be resumed; a
    /// file with the wrong content is removed.
    fn finish(mut self, url: &str, download: &Download, resumed_at: u64) -> Result<()> {
        if self.matches(download) {
            return Ok(());
        }
        if let Some(size) = download.size.filter(|size| self.size < *size) {
            return Err(Error::new(
                Kind::Network,
                format!("`{url}` ended after {} of {size} bytes", self.size),
            ));
        }
        let (actual, size) = (self.hasher.clone().finish(), self.size);
        self.restart()?;
        host::fs::remove(&self.path)?;
        // The first part may be damaged or from another server, so the whole file is downloaded once more.
        let kind = if resumed_at > 0 { Kind::Network } else { Kind::Verify };
        Err(Error::new(
            kind,
            format!("`{url}` has sha256 {actual} ({size} bytes), expected {}", download.sha256),
        )
        .hint(
            "another mirror may have the right file: set KILN_MIRROR, or run `kiln lock` to pin the file on \
            this one",
        ))
    }
}

impl Watch<'_> {
    fn check(&self) -> Result<()> {
        if host::signal::interrupted() || self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(
                Kind::Interrupted,
                "interrupted; the partial download is kept and resumed next time",
            ));
        }
        Ok(())
    }

    fn arrived(&mut self, size: u64) {
        self.step.advance(size.saturating_sub(self.reported));
        self.reported = self.reported.max(size);
    }
}

fn refused(url: &str, status: u16) -> Error {
    let err = Error::new(Kind::Network, format!("the server returned status {status} for `{url}`"));
    if status == 404 {
        err.hint("mirrors remove superseded packages: run `kiln lock` to pin the current ones")
    } else {
        err
    }
}

/// Checks the announced size: a file with another size is a different file, which need not be read.
fn check_size(url: &str, announced: Option<u64>, download: &Download) -> Result<()> {
    match (announced, download.size) {
        (Some(announced), Some(size)) if announced > size => Err(Error::new(
            Kind::Verify,
            format!(
                "`{url}` is {announced} bytes long, expected {size} bytes with \
                sha256 {}",
                download.sha256
            ),
        )
        .hint(
            "another mirror may have the right file: set KILN_MIRROR, or run `kiln lock` to pin the file on \
            this one",
        )),
        _ => Ok(()),
    }
}

/// Combines the failures of all URLs into one error.
fn all_failed(mut failures: Vec<Error>, digest: &Digest) -> Error {
    match failures.len() {
        0 => Error::new(
            Kind::Network,
            format!("not in the store (sha256 {digest}), and no download URL is known"),
        )
        .hint("run `kiln fetch` on a machine with network access")
        .hint(
            "if no mirror is known, set KILN_MIRROR, or `mirror` in the `[base]` section of the cluster file",
        ),
        1 => failures.remove(0),
        _ => {
            let kind = if failures.iter().any(|err| err.kind() == Kind::Verify) {
                Kind::Verify
            } else {
                Kind::Network
            };
            let reported: Vec<String> = failures.iter().map(|err| format!("\n  {err}")).collect();
            let mut hints: Vec<&String> = failures.iter().flat_map(|err| err.hints()).collect();
            hints.dedup();
            hints.into_iter().fold(
                Error::new(kind, format!("no server has the file (sha256 {digest}):{}", reported.concat())),
                Error::hint,
            )
        }
    }
}
