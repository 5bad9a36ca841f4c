//! Resolves package names to a lock: exact package versions and their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::base::debian::mirror;
use crate::base::lock::{Lock, PackagePin};
use crate::error::{Result, Within};
use crate::host;
use crate::progress::Progress;
use crate::store::{Download, Store};
use crate::words::Arch;

use super::index::{Field, Index, PackageId};
use super::mirror::Mirrors;
use super::repository::{self, Policy};
use super::signature::Keyring;
use super::solver;
use super::universe::Universe;

/// Input of [`resolve`].
#[derive(Clone, Debug, Default)]
pub(crate) struct LockRequest {
    /// Debian suite by code name: `trixie`.
    pub(crate) suite: String,
    pub(crate) architecture: Arch,
    /// Mirror set in the cluster file, if any.
    pub(crate) mirror: Option<String>,
    /// Package names of each set; dependencies and essential packages are added.
    pub(crate) sets: BTreeMap<String, Vec<String>>,
    pub(crate) trust: Trust,
}

/// Trust settings that differ from the defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Keyring file that replaces Debian's keys.
    pub(crate) keyring: Option<PathBuf>,
    /// If set, expired releases are accepted with a warning.
    pub(crate) allow_expired: bool,
}

impl Trust {
    /// Returns the settings from `$KILN_KEYRING` and `$KILN_ALLOW_EXPIRED`.
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            keyring: variable("KILN_KEYRING").map(Into::into),
            allow_expired: variable("KILN_ALLOW_EXPIRED").is_some_and(|value| value == "1"),
        }
    }
}

/// Resolves every set against the newest signed indexes, and pins the packages. Kubernetes programs are
/// pinned elsewhere.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if a set can't be installed, [`crate::error::Kind::Verify`] if a mirror
/// can't be trusted.
pub(crate) fn resolve(request: &LockRequest, store: &Store, progress: &dyn Progress) -> Result<Lock> {
    let mirrors = mirror::mirror(request.mirror.as_deref())?;
    resolve_from(&mirrors, request, store, progress)
}

pub(super) fn resolve_from(
    mirrors: &Mirrors,
    request: &LockRequest,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Lock> {
    let policy = Policy {
        keyring: Keyring::open(request.trust.keyring.as_deref())?,
        architecture: request.architecture,
        now: host::clock::now(),
        expired_allowed: request.trust.allow_expired || mirrors.expired_allowed,
    };
    let suite = repository::read(&request.suite, mirrors, &policy, store, progress)?;
    let universe = Universe::new(&suite.index);
    let mut lock = Lock::new(&request.suite, request.architecture);
    lock.epoch = suite.releases.iter().map(|release| release.date).max().unwrap_or_default();
    lock.releases = suite.releases;
    let mut all = BTreeSet::new();
    for (set, wanted) in &request.sets {
        let chosen =
            solver::solve(&universe, wanted).within(|| format!("resolving the package set `{set}`"))?;
        lock.sets.insert(set.clone(), chosen.iter().map(|id| suite.index.name(*id).to_owned()).collect());
        all.extend(chosen);
    }
    lock.packages = all.into_iter().map(|id| pin(&suite.index, id)).collect();
    lock.packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(lock)
}

fn pin(index: &Index, id: PackageId) -> PackagePin {
    let package = index.package(id);
    PackagePin {
        name: index.name(id).to_owned(),
        version: index.version(id).to_owned(),
        architecture: index.field(id, Field::Architecture).to_owned(),
        archive: package.archive,
        file: index.field(id, Field::File).to_owned(),
        size: package.size,
        sha256: package.sha256,
    }
}

/// Fetches every package of `sets` into the store. Without mirrors, a missing package is an error.
///
/// # Errors
///
/// Same as [`Store::fetch`].
pub(crate) fn fetch(
    lock: &Lock,
    sets: &[&str],
    mirrors: Option<&Mirrors>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<()> {
    let mut pins: BTreeMap<&str, &PackagePin> = BTreeMap::new();
    for set in sets {
        pins.extend(lock.packages(set)?.into_iter().map(|pin| (pin.name.as_str(), pin)));
    }
    let downloads: Vec<Download> = pins.into_values().map(|pin| download(pin, mirrors)).collect();
    store.fetch(&downloads, progress).map(drop)
}

/// Returns the packages of one set with their files in the store, sorted by name. They must have been
/// fetched.
///
/// # Errors
///
/// [`crate::error::Kind::Network`] if a package is missing; the hint says how to fetch it.
pub(crate) fn packages<'l>(
    lock: &'l Lock,
    set: &str,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<(&'l PackagePin, PathBuf)>> {
    let pins = lock.packages(set)?;
    let downloads: Vec<Download> = pins.iter().map(|pin| download(pin, None)).collect();
    let paths = store.fetch(&downloads, progress)?;
    Ok(pins.into_iter().zip(paths).collect())
}

fn download(pin: &PackagePin, mirrors: Option<&Mirrors>) -> Download {
    let urls = mirrors.map(|mirrors| mirrors.urls(pin.archive, &pin.file)).unwrap_or_default();
    Download { name: pin.title(), urls, sha256: pin.sha256, size: Some(pin.size) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LockRequest, Mirrors, Trust, fetch, packages, resolve_from};
    use crate::base::lock::{Archive, Lock};
    use crate::error::{Error, Kind, Result};
    use crate::host;
    use crate::host::test_server::{Manner, Server};
    use crate::progress::Silent;
    use crate::store::tests::store;
    use crate::words::Arch;

    /// Repository, next to the script that created it.
    const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/debian/testdata/repository");
    const KEYRING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/debian/testdata/keyring.asc");

    fn file(path: &str) -> Vec<u8> {
        host::fs::read(&Path::new(REPOSITORY).join(path)).unwrap()
    }

    /// Serves the suite `from` under the name `to`.
    fn serve(server: &Server, from: &str, to: &str) {
        for path in ["InRelease", "main/binary-amd64/Packages.xz"] {
            server.file(
                &format!("/debian/dists/{to}/{path}"),
                &file(&format!("dists/{from}/{path}")),
                Manner::Good,
            );
        }
    }

    fn request(suite: &str, wanted: &[&str]) -> LockRequest {
        let sets = [
            ("lb".to_owned(), wanted.iter().map(|name| (*name).to_owned()).collect()),
            ("tools".to_owned(), Vec::new()),
        ];
        let trust = Trust { keyring: Some(KEYRING.into()), allow_expired: false };
        LockRequest {
            suite: suite.to_owned(),
            architecture: Arch::Amd64,
            mirror: None,
            sets: sets.into(),
            trust,
        }
    }

    fn lock(server: &Server, dir: &Path, request: &LockRequest) -> Result<Lock> {
        resolve_from(&Mirrors::named(&server.url("/debian")), request, &store(dir), &Silent)
    }

    fn refused(server: &Server, request: &LockRequest) -> Error {
        lock(server, tempfile::tempdir().unwrap().path(), request).unwrap_err()
    }

    #[test]
    fn a_lock_pins_what_a_signed_repository_serves() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        serve(&server, "trixie", "trixie");
        let lock = lock(&server, dir.path(), &request("trixie", &["tool"])).unwrap();
        assert_eq!(lock.epoch, 1_789_199_741);
        assert_eq!(lock.sets["lb"], ["base", "libc", "tool"]);
        assert_eq!(lock.sets["tools"], ["base", "libc"]);
        let tool = lock.package("tool").unwrap();
        assert_eq!(
            (tool.title().as_str(), tool.architecture.as_str(), tool.archive),
            ("tool 1:3-1", "all", Archive::Debian)
        );
        assert!(!lock.to_text().contains("127.0.0.1"), "a lock names no host");
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
    }

    #[test]
    fn packages_are_fetched_once_and_then_needed_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        serve(&server, "trixie", "trixie");
        let lock = lock(&server, dir.path(), &request("trixie", &["tool"])).unwrap();
        let store = store(dir.path());
        let err = packages(&lock, "lb", &store, &Silent).unwrap_err();
        assert!(
            err.to_string().contains("not in the store") && err.hints()[0].contains("kiln fetch"),
            "{err}"
        );
        for name in ["base", "libc", "tool"] {
            server.file(&format!("/debian/pool/{name}.deb"), name.as_bytes(), Manner::Good);
        }
        fetch(&lock, &["lb", "tools"], Some(&Mirrors::named(&server.url("/debian"))), &store, &Silent)
            .unwrap();
        let found = packages(&lock, "lb", &store, &Silent).unwrap();
        let contents: Vec<(&str, Vec<u8>)> =
            found.iter().map(|(pin, path)| (pin.name.as_str(), host::fs::read(path).unwrap())).collect();
        assert_eq!(
            contents,
            [("base", b"base".to_vec()), ("libc", b"libc".to_vec()), ("tool", b"tool".to_vec())]
        );
    }

    #[test]
    fn a_repository_that_was_tampered_with_is_refused() {
        let request = request("trixie", &["tool"]);
        let server = Server::start();
        serve(&server, "trixie", "trixie");
        let release = String::from_utf8(file("dists/trixie/InRelease")).unwrap();
        let path = "/debian/dists/trixie/InRelease";
        server.file(path, release.replace("Components: main", "Components: evil").as_bytes(), Manner::Good);
        let err = refused(&server, &request);
        assert!(err.kind() == Kind::Verify && err.to_string().contains("does not match the text"), "{err}");
        server.file(path, release.as_bytes(), Manner::Good);
        server.file(
            "/debian/dists/trixie/main/binary-amd64/Packages.xz",
            &file("dists/forky/main/binary-amd64/Packages.xz")[1..],
            Manner::Good,
        );
        assert!(matches!(refused(&server, &request).kind(), Kind::Verify | Kind::Network));
        let stranger = LockRequest { trust: Trust::default(), ..request };
        let err = refused(&server, &stranger);
        assert!(err.to_string().contains("no trusted signature (Debian's archive keys)"), "{err}");
    }

    #[test]
    fn another_suite_under_the_name_that_was_asked_for_is_refused() {
        let server = Server::start();
        serve(&server, "trixie", "sid");
        assert!(
            refused(&server, &request("sid", &[]))
                .to_string()
                .contains("the mirror serves `trixie` under the name `sid`")
        );
        assert!(
            refused(&server, &request("bookworm", &[]))
                .to_string()
                .contains("no mirror serves the suite `bookworm`")
        );
    }

    #[test]
    fn an_expired_release_needs_a_permission() {
        let server = Server::start();
        serve(&server, "forky", "forky");
        let mut request = request("forky", &[]);
        let err = refused(&server, &request);
        assert!(
            err.to_string().contains("the release `forky` expired")
                && err.hints().iter().any(|hint| hint.contains("--allow-expired")),
            "{err}"
        );
        request.trust.allow_expired = true;
        lock(&server, tempfile::tempdir().unwrap().path(), &request).unwrap();
    }
}
