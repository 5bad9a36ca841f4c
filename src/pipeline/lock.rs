//! Pinning the inputs of a cluster, and having them in the store.

use std::path::PathBuf;

use crate::base::{self, Lock, LockRequest, Trust, Wanted, WantedImages};
use crate::cluster::{Cluster, SHARED_LOCK};
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
    let wanted = wanted(site)?;
    let request = LockRequest { suite: cluster.base.suite.clone(), mirror: cluster.base.mirror.clone(), sets: site.package_sets()?, trust };
    let mut lock = base::resolve(&request, store, progress)?;
    base::pin_programs(&mut lock, &wanted.programs, cluster.kubernetes, &cluster.binaries, store, progress)
        .within(|| "pinning the Kubernetes programs".into())?;
    base::pin_images(&mut lock, &wanted_images(site)?, &cluster.images, store, progress)
        .within(|| "pinning the container images".into())?;
    lock.wanted = wanted;
    Ok(lock)
}

/// The lock to read: the cluster file's own, or one that an older kiln wrote for all files of the directory.
pub(crate) fn lock_file(cluster: &Cluster) -> PathBuf {
    let shared = cluster.lock.with_file_name(SHARED_LOCK);
    if shared.exists() && !cluster.lock.exists() { shared } else { cluster.lock.clone() }
}

/// Reads the cluster's lock, which must have been made for what the cluster file says now.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if it was not, [`crate::error::Kind::Io`] if there is none.
pub(crate) fn load_lock(site: &Site) -> Result<Lock> {
    let path = &lock_file(&site.cluster);
    let lock = Lock::load(path).map_err(|err| err.hint("run `kiln lock` to write it"))?;
    lock.serves(&site.cluster.base.suite, &wanted(site)?).within(|| format!("reading the lock `{}`", path.display()))?;
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

/// The images of all role images, and who wants them.
fn wanted_images(site: &Site) -> Result<WantedImages> {
    let of_role = |(role, needs): (String, crate::render::Requirements)| {
        needs.images.into_iter().map(move |(image, overlay)| (image, format!("the overlay `{overlay}` of `{role}`"))).collect::<Vec<_>>()
    };
    Ok(site.requirements()?.into_iter().flat_map(of_role).collect())
}

/// What a lock of this cluster is made for.
fn wanted(site: &Site) -> Result<Wanted> {
    Ok(Wanted {
        kubernetes: site.cluster.kubernetes.to_string(),
        etcd: site.cluster.etcd.map(|version| version.to_string()),
        programs: site.requirements()?.into_values().flat_map(|needs| needs.binaries).collect(),
        images: wanted_images(site)?.into_keys().collect(),
        packages: site.package_sets()?.into_iter().map(|(set, names)| (set, names.into_iter().collect())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::lock_file;
    use crate::cluster::resolve;
    use crate::host::fs::{PUBLIC, write_atomic};
    use crate::profile::tests::{SAMPLE, read};

    #[test]
    fn a_lock_of_an_older_kiln_serves_until_there_is_one_of_the_files_own() {
        let site = tempfile::tempdir().unwrap();
        let mut profile = read(SAMPLE);
        profile.source.path = site.path().join("berlin.toml");
        let cluster = resolve(&profile).unwrap();
        let read = || lock_file(&cluster).file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(read(), "berlin.lock");
        write_atomic(&site.path().join("kiln.lock"), b"", PUBLIC).unwrap();
        assert_eq!(read(), "kiln.lock");
        write_atomic(&site.path().join("berlin.lock"), b"", PUBLIC).unwrap();
        assert_eq!(read(), "berlin.lock");
    }
}
