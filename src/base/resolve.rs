//! From package names to a lock: which packages exactly, and the bytes that they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::base::lock::{Lock, PackagePin};
use crate::base::{ARCHITECTURE, mirror};
use crate::error::{Result, Within};
use crate::host;
use crate::progress::Progress;
use crate::store::{Download, Store};

use super::index::{Field, Index, PackageId};
use super::mirror::Mirrors;
use super::repository::{self, Policy};
use super::signature::Keyring;
use super::solver;
use super::universe::Universe;

/// What to lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockRequest {
    /// Debian suite by code name: `trixie`.
    pub(crate) suite: String,
    /// The cluster file's mirror, if it names one.
    pub(crate) mirror: Option<String>,
    /// Package names of each set; dependencies and essential packages are added.
    pub(crate) sets: BTreeMap<String, Vec<String>>,
    pub(crate) trust: Trust,
}

/// Whom to trust, where the user deviates from the defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// OpenPGP keys instead of Debian's.
    pub(crate) keyring: Option<PathBuf>,
    /// Take releases that have expired, with a warning.
    pub(crate) allow_expired: bool,
}

impl Trust {
    /// What the user set: `$KILN_KEYRING` and `$KILN_ALLOW_EXPIRED`.
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            keyring: variable("KILN_KEYRING").map(Into::into),
            allow_expired: variable("KILN_ALLOW_EXPIRED").is_some_and(|value| value == "1"),
        }
    }
}

/// Resolves every set against the newest signed indexes, and pins what was found. Kubernetes programs are not its business.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if a set can't be installed, [`crate::error::Kind::Verify`] if a mirror can't be trusted.
pub(crate) fn resolve(request: &LockRequest, store: &Store, progress: &dyn Progress) -> Result<Lock> {
    let mirrors = mirror::mirror(request.mirror.as_deref())?;
    resolve_from(&mirrors, request, store, progress)
}

pub(super) fn resolve_from(mirrors: &Mirrors, request: &LockRequest, store: &Store, progress: &dyn Progress) -> Result<Lock> {
    let policy = Policy {
        keyring: Keyring::open(request.trust.keyring.as_deref())?,
        now: host::clock::now(),
        expired_allowed: request.trust.allow_expired || mirrors.expired_allowed,
    };
    let suite = repository::read(&request.suite, mirrors, &policy, store, progress)?;
    let universe = Universe::new(&suite.index);
    let mut lock = Lock::new(&request.suite, ARCHITECTURE);
    lock.epoch = suite.releases.iter().map(|release| release.date).max().unwrap_or_default();
    lock.releases = suite.releases;
    let mut all = BTreeSet::new();
    for (set, wanted) in &request.sets {
        let chosen = solver::solve(&universe, wanted).within(|| format!("resolving the package set `{set}`"))?;
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

/// Has every package of `sets` in the store. Without mirrors, what is missing is an error that says so.
///
/// # Errors
///
/// Those of [`Store::fetch`].
pub(crate) fn fetch(lock: &Lock, sets: &[&str], mirrors: Option<&Mirrors>, store: &Store, progress: &dyn Progress) -> Result<()> {
    let mut pins: BTreeMap<&str, &PackagePin> = BTreeMap::new();
    for set in sets {
        pins.extend(lock.packages(set)?.into_iter().map(|pin| (pin.name.as_str(), pin)));
    }
    let downloads: Vec<Download> = pins.into_values().map(|pin| download(pin, mirrors)).collect();
    store.fetch(&downloads, progress).map(drop)
}

/// The packages of one set with their files in the store, sorted by name. They must have been fetched.
///
/// # Errors
///
/// [`crate::error::Kind::Network`] if one is missing; the hint says how to fetch it.
pub(crate) fn packages<'l>(lock: &'l Lock, set: &str, store: &Store, progress: &dyn Progress) -> Result<Vec<(&'l PackagePin, PathBuf)>> {
    let pins = lock.packages(set)?;
    let downloads: Vec<Download> = pins.iter().map(|pin| download(pin, None)).collect();
    let paths = store.fetch(&downloads, progress)?;
    Ok(pins.into_iter().zip(paths).collect())
}

fn download(pin: &PackagePin, mirrors: Option<&Mirrors>) -> Download {
    let urls = mirrors.map(|mirrors| mirrors.urls(pin.archive, &pin.file)).unwrap_or_default();
    Download { name: pin.title(), urls, sha256: pin.sha256, size: Some(pin.size) }
}
