//! Pins a cluster's inputs, and downloads them into the store.

use std::path::PathBuf;

use crate::base::{self, Lock, LockRequest, Trust, Wanted, WantedImages};
use crate::cluster::{Cluster, SHARED_LOCK};
use crate::error::{Result, Within};
use crate::pipeline::site::Site;
use crate::progress::Progress;
use crate::store::Store;

/// Resolves every package set and pins every program of a cluster, as the sources currently serve them.
///
/// # Errors
///
/// Same as [`base::resolve`]; [`crate::error::Kind::Input`] if no source contains a program.
pub(crate) fn lock(site: &Site, trust: Trust, store: &Store, progress: &dyn Progress) -> Result<Lock> {
    let cluster = &site.cluster;
    let wanted = wanted(site)?;
    let request = LockRequest {
        suite: cluster.base.suite.clone(),
        architecture: cluster.base.architecture,
        mirror: cluster.base.mirror.clone(),
        sets: site.package_sets()?,
        trust,
    };
    let mut lock = base::resolve(&request, store, progress)?;
    base::pin_programs(&mut lock, &wanted.programs, cluster.kubernetes, &cluster.binaries, store, progress)
        .within(|| "pinning the Kubernetes programs".into())?;
    base::pin_images(&mut lock, &wanted_images(site)?, &cluster.images, store, progress)
        .within(|| "pinning the container images".into())?;
    lock.wanted = wanted;
    Ok(lock)
}

/// Returns the path of the lock to read: the cluster file's own lock, or the lock that an older kiln wrote
/// for the whole directory.
pub(crate) fn lock_file(cluster: &Cluster) -> PathBuf {
    let shared = cluster.lock.with_file_name(SHARED_LOCK);
    if shared.exists() && !cluster.lock.exists() { shared } else { cluster.lock.clone() }
}

/// Reads the cluster's lock, which must match the current cluster file.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if it does not match, [`crate::error::Kind::Io`] if it does not exist.
pub(crate) fn load_lock(site: &Site) -> Result<Lock> {
    let path = &lock_file(&site.cluster);
    let lock = Lock::load(path).map_err(|err| err.hint("run `kiln lock` to create it"))?;
    lock.serves(&site.cluster.base.suite, site.cluster.base.architecture, &wanted(site)?)
        .within(|| format!("reading the lock `{}`", path.display()))?;
    Ok(lock)
}

/// Downloads the locked packages and programs that are missing from the store.
///
/// # Errors
///
/// Same as [`base::fetch`]; without a mirror, only if something is missing.
pub(crate) fn fetch(
    site: &Site,
    lock: &Lock,
    offline: bool,
    store: &Store,
    progress: &dyn Progress,
) -> Result<()> {
    let sets: Vec<&str> = lock.sets.keys().map(String::as_str).collect();
    let mirrors = if offline { None } else { base::mirror(site.cluster.base.mirror.as_deref()).ok() };
    base::fetch(lock, &sets, mirrors.as_ref(), store, progress)
}

/// Lists the container images in all role images, and the overlays that need them.
fn wanted_images(site: &Site) -> Result<WantedImages> {
    let of_role = |(role, needs): (String, crate::render::Requirements)| {
        needs
            .images
            .into_iter()
            .map(move |(image, overlay)| (image, format!("the overlay `{overlay}` of `{role}`")))
            .collect::<Vec<_>>()
    };
    Ok(site.requirements()?.into_iter().flat_map(of_role).collect())
}

/// Returns the requirements for a lock of this cluster.
fn wanted(site: &Site) -> Result<Wanted> {
    Ok(Wanted {
        kubernetes: site.cluster.kubernetes.to_string(),
        etcd: site.cluster.etcd.map(|version| version.to_string()),
        programs: site.requirements()?.into_values().flat_map(|needs| needs.binaries).collect(),
        images: wanted_images(site)?.into_keys().collect(),
        packages: site
            .package_sets()?
            .into_iter()
            .map(|(set, names)| (set, names.into_iter().collect()))
            .collect(),
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
