//! Pinning the inputs of a cluster, and having them in the store.

use std::collections::BTreeSet;

use crate::base::{self, Lock, LockRequest, Trust};
use crate::error::{Result, Within};
use crate::pipeline::site::Site;
use crate::progress::Progress;
use crate::store::Store;

/// Resolves every package set and pins every program of a cluster against what its sources serve now.
///
/// # Errors
///
/// As [`base::resolve`]; [`crate::error::Kind::Input`] if no source has a program.
pub(crate) fn lock(site: &Site, trust: Trust, store: &Store, progress: &dyn Progress) -> Result<Lock> {
    let cluster = &site.cluster;
    let request = LockRequest { suite: cluster.base.suite.clone(), mirror: cluster.base.mirror.clone(), sets: site.package_sets()?, trust };
    let mut lock = base::resolve(&request, store, progress)?;
    base::pin_programs(&mut lock, &programs(site)?, cluster.kubernetes, &cluster.binaries, store, progress)
        .within(|| "pinning the Kubernetes programs".into())?;
    Ok(lock)
}

/// Has every package and program of the lock in the store.
///
/// # Errors
///
/// As [`base::fetch`]; without a mirror only if something is missing.
pub(crate) fn fetch(site: &Site, lock: &Lock, offline: bool, store: &Store, progress: &dyn Progress) -> Result<()> {
    let sets: Vec<&str> = lock.sets.keys().map(String::as_str).collect();
    let mirrors = if offline { None } else { base::mirror(site.cluster.base.mirror.as_deref()).ok() };
    base::fetch(lock, &sets, mirrors.as_ref(), store, progress)
}

/// Names of the programs that any role image needs.
fn programs(site: &Site) -> Result<BTreeSet<String>> {
    Ok(site.requirements()?.into_values().flat_map(|needs| needs.binaries).collect())
}
