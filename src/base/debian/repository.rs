//! A Debian repository over HTTP: signed releases and the package indexes whose digests they list.

use std::io::BufReader;

use liblzma::read::XzDecoder;

use crate::base::lock::{Archive, ReleasePin};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::progress::Progress;
use crate::store::{Download, Store};
use crate::words::Arch;

use super::index::Index;
use super::mirror::Mirrors;
use super::release::{IndexFile, Release};
use super::signature::Keyring;

/// Maximum size of `InRelease`; Debian's file is 140 KiB.
const LARGEST_RELEASE: u64 = 8 << 20;

/// Suites that a system uses; true if the suite is required: a snapshot may lack the updates, and a company
/// mirror may lack the security archive.
const POCKETS: [(&str, Archive, bool); 3] = [
    ("", Archive::Debian, true),
    ("-updates", Archive::Debian, false),
    ("-security", Archive::DebianSecurity, false),
];

/// Trusted keys, the permitted age of a release, and the wanted part of it.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) keyring: Keyring,
    /// Architecture of the wanted packages.
    pub(super) architecture: Arch,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) expired_allowed: bool,
}

/// Releases and packages of a suite.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) releases: Vec<ReleasePin>,
    pub(super) index: Index,
}

/// A release and its location.
struct Found {
    pin: ReleasePin,
    archive: Archive,
    /// URL of the directory of its files.
    base: String,
    indexes: Vec<IndexFile>,
}

/// Reads `suite`, and its pockets as far as the mirrors serve them.
///
/// # Errors
///
/// [`Kind::Network`] if no mirror serves the suite, [`Kind::Verify`] if a signature or digest is wrong or a
/// release has expired.
pub(super) fn read(
    suite: &str,
    mirrors: &Mirrors,
    policy: &Policy,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Suite> {
    let mut found = Vec::new();
    for (pocket, archive, required) in POCKETS {
        let name = format!("{suite}{pocket}");
        match release(&name, archive, mirrors, policy, store, progress)
            .within(|| format!("reading the suite `{name}`"))?
        {
            Some(release) => found.push(release),
            None if required => return Err(nobody_serves(&name, mirrors)),
            None => progress
                .warn(&format!("no mirror serves the suite `{name}`; continuing without its packages")),
        }
    }
    let files: Vec<(Archive, Download)> = found.iter().flat_map(downloads).collect();
    let paths =
        store.fetch(&files.iter().map(|(_, download)| download.clone()).collect::<Vec<_>>(), progress)?;
    let mut index = Index::default();
    for (path, (archive, download)) in paths.iter().zip(&files) {
        let reader = BufReader::with_capacity(
            1 << 18,
            XzDecoder::new_parallel(BufReader::with_capacity(1 << 18, host::fs::open(path)?)),
        );
        index.read(reader, *archive).doing(Kind::Verify, || format!("reading the {}", download.name))?;
    }
    Ok(Suite { releases: found.into_iter().map(|found| found.pin).collect(), index })
}

/// Finds a suite on the first mirror that serves it, and checks its code name, signature and age.
fn release(
    suite: &str,
    archive: Archive,
    mirrors: &Mirrors,
    policy: &Policy,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Option<Found>> {
    let mut failure = None;
    for base in mirrors.urls(archive, &format!("dists/{suite}")) {
        let _step = progress.begin(&format!("reading the release `{suite}`"), None);
        match store.client().read(&format!("{base}/InRelease"), LARGEST_RELEASE) {
            Ok(None) => {}
            Ok(Some(bytes)) => match check(&bytes, suite, policy, progress)
                .within(|| format!("checking `{base}/InRelease`"))
            {
                Ok(release) => {
                    return found(&bytes, &release, suite, archive, base, policy.architecture).map(Some);
                }
                Err(err) => failure = failure.or(Some(err)),
            },
            Err(err) => failure = failure.or(Some(err)),
        }
    }
    failure.map_or(Ok(None), Err)
}

fn check(bytes: &[u8], suite: &str, policy: &Policy, progress: &dyn Progress) -> Result<Release> {
    let text = policy.keyring.verify(&String::from_utf8_lossy(bytes), policy.now)?;
    let release = Release::parse(&text)?;
    if release.codename != suite {
        return Err(Error::new(
            Kind::Verify,
            format!("the mirror serves `{}` under the name `{suite}`", release.codename),
        )
        .hint("use the code name of a suite, such as `trixie`; if you already do, the mirror is broken"));
    }
    if let Some(until) = release.valid_until.filter(|until| *until < policy.now) {
        let message = format!(
            "the release `{suite}` expired {} days ago: the mirror is out of date",
            (policy.now - until).div_ceil(86_400)
        );
        if !policy.expired_allowed {
            return Err(Error::new(Kind::Verify, message)
                .hint(
                    "set KILN_MIRROR, or `mirror` in the cluster file, to an up-to-date mirror; check the \
                    clock with `date`",
                )
                .hint(
                    "for an intentionally old snapshot, pass `--allow-expired` or set \
                    KILN_ALLOW_EXPIRED=1",
                ));
        }
        progress.warn(&format!("{message}; accepted because expired releases are allowed"));
    }
    Ok(release)
}

fn found(
    bytes: &[u8],
    release: &Release,
    suite: &str,
    archive: Archive,
    base: String,
    architecture: Arch,
) -> Result<Found> {
    let pin = ReleasePin { suite: suite.to_owned(), date: release.date, sha256: Digest::of(bytes) };
    Ok(Found { pin, archive, base, indexes: release.indexes(architecture)? })
}

fn downloads(found: &Found) -> Vec<(Archive, Download)> {
    let download = |file: &IndexFile| Download {
        name: format!("package index of `{}`", found.pin.suite),
        urls: file.paths.iter().map(|path| format!("{}/{path}", found.base)).collect(),
        sha256: file.sha256,
        size: Some(file.size),
    };
    found.indexes.iter().map(|file| (found.archive, download(file))).collect()
}

fn nobody_serves(suite: &str, mirrors: &Mirrors) -> Error {
    let tried = mirrors.of(Archive::Debian).join("`, `");
    Error::new(Kind::Network, format!("no mirror serves the suite `{suite}`: tried `{tried}`")).hint(
        "set KILN_MIRROR, or `mirror` in `[base]` in the cluster file, to a mirror that serves this suite",
    )
}
