//! Parallel downloads: files in the store are checked, missing ones are fetched by a few threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::progress::{Progress, Step};

use super::{Store, explain_full_disk};

/// Number of threads: enough to hide a server's latency; more would strain mirrors.
const THREADS: usize = 6;

/// One file to fetch, from any of its URLs.
#[derive(Clone, Debug)]
pub(crate) struct Download {
    /// Display name: `haproxy 3.0.11-1`.
    pub(crate) name: String,
    /// URLs, tried in order.
    pub(crate) urls: Vec<String>,
    pub(crate) sha256: Digest,
    /// Size in bytes, if known.
    pub(crate) size: Option<u64>,
}

impl Store {
    /// Fetches missing files into the store, and returns the paths of all files in the order of `downloads`.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] or [`Kind::Verify`] from the first download that failed, containing its name, URL
    /// and digests. Finished downloads are kept.
    pub(crate) fn fetch(&self, downloads: &[Download], progress: &dyn Progress) -> Result<Vec<PathBuf>> {
        let held: Vec<bool> =
            downloads.par_iter().map(|download| self.holds(&download.sha256)).collect::<Result<_>>()?;
        self.take_warnings().iter().for_each(|warning| progress.warn(warning));
        let missing: Vec<&Download> =
            downloads.iter().zip(&held).filter_map(|(download, held)| (!held).then_some(download)).collect();
        if !missing.is_empty() {
            let title = format!("fetching {}", title(&missing));
            let total = missing.iter().map(|download| download.size).sum();
            let step = progress.begin(&title, total);
            let fetched = self.fetch_missing(&missing, step.as_ref());
            fetched.map_err(|err| explain_full_disk(err, &self.root))?;
        }
        Ok(downloads.iter().map(|download| self.blob_path(&download.sha256)).collect())
    }

    fn fetch_missing(&self, missing: &[&Download], step: &dyn Step) -> Result<()> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failures: Mutex<Vec<(usize, Error)>> = Mutex::default();
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(download) = missing.get(index) else { return };
                if let Err(err) = self.download(download, step, &stop) {
                    stop.store(true, Ordering::Relaxed);
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push((index, err));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS.min(missing.len()) {
                scope.spawn(work);
            }
        });
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Downloads that stopped because another one failed have no error of their own.
        let reported = |err: &Error| err.kind() == Kind::Interrupted && !host::signal::interrupted();
        match failures.into_iter().min_by_key(|(index, err)| (reported(err), *index)) {
            Some((_, err)) => Err(err),
            None => Ok(()),
        }
    }
}

fn title(missing: &[&Download]) -> String {
    match missing {
        [one] => format!("`{}`", one.name),
        many => format!("{} files", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::tests::store;
    use super::Download;
    use crate::digest::Digest;
    use crate::error::{Error, Kind};
    use crate::host;
    use crate::host::test_server::{Manner, Server};
    use crate::progress::Silent;

    /// Some bytes that no two files share.
    fn content(seed: u8) -> Vec<u8> {
        (0..300_000_u32).map(|i| i.to_le_bytes()[usize::from(seed) % 3] ^ seed).collect()
    }

    fn download(url: &str, bytes: &[u8]) -> Download {
        Download {
            name: "haproxy 3.0".into(),
            urls: vec![url.to_owned()],
            sha256: Digest::of(bytes),
            size: Some(bytes.len() as u64),
        }
    }

    fn fails(store: &Store, download: Download) -> Error {
        let sha256 = download.sha256;
        let err = store.fetch(&[download], &Silent).unwrap_err();
        assert!(matches!(store.blob(&sha256), Ok(None)), "a failed download has no blob");
        err
    }

    #[test]
    fn many_files_arrive_at_once_and_in_the_order_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let files: Vec<Vec<u8>> = (0..20).map(content).collect();
        let url = |i: usize| server.file(&format!("/{i}"), &files[i], Manner::Good);
        let downloads: Vec<Download> =
            files.iter().enumerate().map(|(i, bytes)| download(&url(i), bytes)).collect();
        let store = store(dir.path());
        let paths = store.fetch(&downloads, &Silent).unwrap();
        for (path, bytes) in paths.iter().zip(&files) {
            assert_eq!(&host::fs::read(path).unwrap(), bytes);
        }
        assert_eq!(server.requests().len(), 20);
        store.fetch(&downloads, &Silent).unwrap();
        assert_eq!(server.requests().len(), 20, "what the store has is not asked for again");
        assert_eq!(host::fs::list(&dir.path().join("partial")).unwrap(), [] as [std::path::PathBuf; 0]);
    }

    #[test]
    fn every_fault_that_a_later_attempt_can_mend_is_mended() {
        let bytes = content(1);
        let cases = [
            ("truncated", Manner::TruncatesOnce(100_000), vec![0, 100_000]),
            ("overloaded", Manner::Fails(503, 2), vec![0, 0, 0]),
            ("slow", Manner::Drips, vec![0]),
        ];
        for (what, manner, offsets) in cases {
            let dir = tempfile::tempdir().unwrap();
            let server = Server::start();
            let url = server.file("/f", &bytes, manner);
            let path = store(dir.path()).fetch(&[download(&url, &bytes)], &Silent).unwrap().remove(0);
            assert_eq!(host::fs::read(&path).unwrap(), bytes, "{what}");
            assert_eq!(
                server.requests().into_iter().map(|request| request.1).collect::<Vec<_>>(),
                offsets,
                "{what}"
            );
        }
    }

    #[test]
    fn a_download_goes_on_where_a_killed_process_left_it() {
        let bytes = content(2);
        for manner in [Manner::Good, Manner::NoRanges] {
            let dir = tempfile::tempdir().unwrap();
            let server = Server::start();
            let download = download(&server.file("/f", &bytes, manner), &bytes);
            let store = store(dir.path());
            let partial = dir.path().join("partial").join(download.sha256.to_string());
            host::fs::write_atomic(&partial, &bytes[..123_456], host::fs::PRIVATE).unwrap();
            let path = store.fetch(&[download], &Silent).unwrap().remove(0);
            assert_eq!(host::fs::read(&path).unwrap(), bytes);
            assert_eq!(server.requests(), [("/f".to_owned(), 123_456)]);
        }
    }

    #[test]
    fn a_damaged_beginning_is_thrown_away_and_fetched_again() {
        let bytes = content(3);
        for damaged in [vec![0; 1000], vec![0; bytes.len()], vec![0; bytes.len() + 1]] {
            let dir = tempfile::tempdir().unwrap();
            let server = Server::start();
            let download = download(&server.file("/f", &bytes, Manner::Good), &bytes);
            let partial = dir.path().join("partial").join(download.sha256.to_string());
            let store = store(dir.path());
            host::fs::write_atomic(&partial, &damaged, host::fs::PRIVATE).unwrap();
            let path = store.fetch(&[download], &Silent).unwrap().remove(0);
            assert_eq!(host::fs::read(&path).unwrap(), bytes, "{} bytes", damaged.len());
        }
    }

    #[test]
    fn a_truncated_file_is_named_with_its_digest_and_its_beginning_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let bytes = content(4);
        let url = server.file("/f", &bytes, Manner::Truncates(1000));
        let store = store(dir.path());
        let err = fails(&store, download(&url, &bytes));
        assert_eq!(err.kind(), Kind::Network);
        let reported = err.to_string();
        assert!(
            reported.starts_with("fetching `haproxy 3.0` (sha256 ")
                && reported.contains(&Digest::of(&bytes).to_string()),
            "{reported}"
        );
        assert!(reported.contains(&format!("reading `{url}` after 3000 of 300000 bytes")), "{reported}");
    }

    #[test]
    fn a_wrong_file_is_named_with_its_url_and_both_digests_and_nothing_of_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let (right, wrong) = (content(5), content(6));
        let url = server.file("/f", &wrong, Manner::Good);
        let store = store(dir.path());
        let err = fails(&store, download(&url, &right));
        assert_eq!(err.kind(), Kind::Verify);
        let expected = format!(
            "`{url}` has sha256 {} (300000 bytes), expected {}",
            Digest::of(&wrong),
            Digest::of(&right)
        );
        assert!(err.to_string().contains(&expected), "{err}");
        assert!(!dir.path().join("partial").join(Digest::of(&right).to_string()).exists());
        let longer = server.file("/longer", &[right.clone(), wrong].concat(), Manner::Good);
        assert!(
            fails(&store, download(&longer, &right))
                .to_string()
                .contains("is 600000 bytes long, expected 300000")
        );
        let shorter = server.file("/shorter", &right[..10], Manner::Good);
        assert!(fails(&store, download(&shorter, &right)).to_string().contains("10 of 300000 bytes"));
    }

    #[test]
    fn a_server_that_falls_silent_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let bytes = content(7);
        let url = server.file("/f", &bytes, Manner::Stalls(1000));
        let err = fails(&store(dir.path()), download(&url, &bytes));
        assert!(err.kind() == Kind::Network && err.to_string().contains("timeout"), "{err}");
    }

    #[test]
    fn the_next_mirror_is_asked_and_redirects_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let bytes = content(8);
        let wrong = server.file("/wrong", b"not it", Manner::Good);
        let right = server.file("/right", &bytes, Manner::Good);
        let moved = server.file("/moved", b"", Manner::RedirectsTo(right));
        let urls = vec![server.url("/missing"), "http://127.0.0.1:1/refused".into(), wrong, moved];
        let path =
            store(dir.path()).fetch(&[Download { urls, ..download("", &bytes) }], &Silent).unwrap().remove(0);
        assert_eq!(host::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn when_all_mirrors_fail_each_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let bytes = content(9);
        let (missing, gone) = (server.url("/missing"), server.file("/gone", b"", Manner::Fails(410, 9)));
        let urls = vec![missing.clone(), gone.clone()];
        let err = fails(&store(dir.path()), Download { urls, ..download("", &bytes) });
        let reported = err.to_string();
        assert!(
            reported.contains(&format!("status 404 for `{missing}`"))
                && reported.contains(&format!("status 410 for `{gone}`")),
            "{reported}"
        );
        assert!(err.hints()[0].contains("kiln lock"));
        let offline = fails(&store(dir.path()), Download { urls: vec![], ..download("", &bytes) });
        assert!(offline.to_string().contains("not in the store"), "{offline}");
    }

    #[test]
    fn a_corrupt_entry_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let bytes = content(10);
        let download = download(&server.file("/f", &bytes, Manner::Good), &bytes);
        let store = store(dir.path());
        let path = store.fetch(std::slice::from_ref(&download), &Silent).unwrap().remove(0);
        host::fs::write_atomic(&path, &bytes[1..], host::fs::PUBLIC).unwrap();
        assert_eq!(store.fetch(&[download], &Silent).unwrap().remove(0), path);
        assert_eq!(host::fs::read(&path).unwrap(), bytes);
        assert_eq!(server.requests().len(), 2);
    }
}
