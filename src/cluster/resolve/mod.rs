//! From what the user wrote to what it means: every default filled in, every name and address computed, every problem told.
//!
//! Here is refused what no cluster could be made of. What could be made and should not be is `lint`'s.

mod draft;
mod endpoint;
mod network;
mod nodes;
mod overlays;

use std::path::{Path, PathBuf};

use crate::cluster::{Base, Cluster, SHARED_LOCK};
use crate::error::{Error, Kind, Result};
use crate::profile::Profile;
use crate::words::{BinarySource, Cgroups, EtcdVersion, ImageSource, KubernetesVersion, RootFilesystem, Runtime, SUITES, Suite};

use draft::Draft;

/// Resolves a cluster file.
///
/// # Errors
///
/// [`Kind::Input`] with every problem of the file, in its order.
pub(crate) fn resolve(profile: &Profile) -> Result<Cluster> {
    let mut draft = Draft::new(profile);
    let cluster = if profile.complete { cluster(&mut draft) } else { None };
    let mut report = draft.report;
    report.problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
    report.into_result()?;
    cluster.ok_or_else(|| Error::new(Kind::Internal, "a cluster file without a problem could not be resolved"))
}

/// Every part is looked at before the first missing one gives up, so that each reports its problems.
fn cluster(draft: &mut Draft<'_>) -> Option<Cluster> {
    let document = &draft.profile.document;
    let name = draft.required("cluster.name", document.cluster.name.as_ref(), "\"ha\"").cloned();
    let kubernetes = version(draft);
    let network = network::resolve(draft, kubernetes);
    let endpoint = endpoint::resolve(draft, network.as_ref());
    let nodes = nodes::resolve(draft, network.as_ref(), endpoint.as_ref());
    let base = base(draft, kubernetes);
    let runtime = runtime(draft, kubernetes, base.as_ref());
    let overlays = overlays::resolve(draft, nodes.as_deref().unwrap_or_default(), endpoint.as_ref(), network.as_ref(), runtime);
    let etcd = etcd(draft);
    let binaries = binaries(draft, kubernetes, etcd);
    let images = images(draft, kubernetes);
    Some(Cluster {
        name: name?,
        kubernetes: kubernetes?,
        runtime: runtime?,
        image_repository: document.cluster.image_repository.clone(),
        own_images: document.cluster.images.references(),
        etcd,
        founders: document.etcd.found.unwrap_or_default(),
        profile: document.profile.clone()?,
        network: network?,
        endpoint: endpoint?,
        nodes: nodes?,
        overlays,
        base: base?,
        binaries: binaries?,
        images: images?,
        outputs: document.outputs.formats.iter().flatten().map(|format| format.name().to_owned()).collect(),
        vault: beside(&draft.profile.source.path, document.vault.path.as_deref().unwrap_or(Path::new("vault"))),
        lock: lock(&draft.profile.source.path),
    })
}

/// Each cluster file has a lock of its own: `berlin.lock` beside `berlin.toml`, and `kiln.lock` beside the usual `cluster.toml`.
fn lock(file: &Path) -> PathBuf {
    if file.file_name().is_some_and(|name| name == "cluster.toml") { file.with_file_name(SHARED_LOCK) } else { file.with_extension("lock") }
}

fn version(draft: &mut Draft<'_>) -> Option<KubernetesVersion> {
    let version = *draft.required("cluster.kubernetes", draft.profile.document.cluster.kubernetes.as_ref(), "\"1.20.2\"")?;
    if version.major != 1 || !KubernetesVersion::MINORS.contains(&version.minor) {
        let (first, last) = (KubernetesVersion::MINORS.start(), KubernetesVersion::MINORS.end());
        let hint = format!("choose a release from 1.{first} to 1.{last}");
        draft.wrong("cluster.kubernetes", format!("kiln does not know Kubernetes {version}"), hint);
    }
    Some(version)
}

/// What the cluster file says, else what the version can use of the suite.
fn runtime(draft: &Draft<'_>, version: Option<KubernetesVersion>, base: Option<&Base>) -> Option<Runtime> {
    let default = || Some(Runtime::of(version?, Suite::named(&base?.suite)));
    draft.profile.document.cluster.runtime.or_else(default)
}

fn etcd(draft: &mut Draft<'_>) -> Option<EtcdVersion> {
    let version = draft.profile.document.etcd.version?;
    if !EtcdVersion::MINORS.contains(&version.minor) {
        let (first, last) = (EtcdVersion::MINORS.start(), EtcdVersion::MINORS.end());
        let hint = format!("choose a release from 3.{first} to 3.{last}");
        draft.wrong("etcd.version", format!("kiln does not know etcd {version}"), hint);
    }
    Some(version)
}

fn base(draft: &mut Draft<'_>, version: Option<KubernetesVersion>) -> Option<Base> {
    let base = &draft.profile.document.base;
    let suite = draft.required("base.suite", base.suite.as_ref(), "\"trixie\"").cloned();
    let kernel = draft.required("base.kernel", base.kernel.as_ref(), "\"linux-image-cloud-amd64\"").cloned();
    let cgroups = cgroups(draft, version, suite.as_deref());
    Some(Base {
        cgroups: cgroups?,
        suite: suite?,
        mirror: base.mirror.clone(),
        kernel: kernel?,
        packages: base.packages.clone().unwrap_or_default(),
        filesystem: base.filesystem.unwrap_or(RootFilesystem::Squashfs),
    })
}

/// What the cluster file says, if the suite has it, else what the version can use.
fn cgroups(draft: &mut Draft<'_>, version: Option<KubernetesVersion>, suite: Option<&str>) -> Option<Cgroups> {
    let suite = Suite::named(suite?);
    let Some(cgroups) = draft.profile.document.base.cgroups else { return Some(Cgroups::of(version?, suite)) };
    let has = |suite: &Suite| suite.cgroups.contains(&cgroups.name());
    if !has(suite) {
        let message = format!("machines of `{}` have no control groups {} that a kubelet could use", suite.name, cgroups.name());
        let other = SUITES.iter().rev().find(|suite| has(suite)).expect("some suite has each");
        draft.wrong("base.cgroups", message, format!("leave it out, or use `suite = \"{}\"`", other.name));
    }
    Some(cgroups)
}

/// The sources that the file names, and where etcd's release is if that is to run.
fn binaries(draft: &mut Draft<'_>, version: Option<KubernetesVersion>, etcd: Option<EtcdVersion>) -> Option<Vec<BinarySource>> {
    let mut sources = Vec::new();
    for (index, section) in draft.profile.document.binaries.iter().enumerate() {
        let path = format!("binaries[{index}]");
        match (&section.archive, &section.directory) {
            (Some(url), None) => {
                let sha256 = section.sha256.as_ref().and_then(|digest| digest.parse().ok());
                sources.push(BinarySource::Archive { url: url.replace("{version}", &version?.to_string()), sha256 });
            }
            (None, Some(_)) if section.sha256.is_some() => {
                let message = "a directory has no digest: the lock pins each program of it".to_owned();
                draft.wrong(&format!("{path}.sha256"), message, "leave `sha256` out");
            }
            (None, Some(directory)) => sources.push(BinarySource::Directory { path: beside(&draft.profile.source.path, directory) }),
            (Some(_), Some(_)) => {
                draft.wrong(&path, "one source is both an archive and a directory".into(), "write two `[[binaries]]` tables");
            }
            (None, None) if draft.is_broken_below(&path) => {}
            (None, None) => {
                let message = "this source is neither an archive nor a directory".to_owned();
                draft.wrong(&path, message, "add `directory = \"kubernetes\"`");
            }
        }
    }
    sources.extend(etcd.map(EtcdVersion::archive));
    Some(sources)
}

fn images(draft: &mut Draft<'_>, version: Option<KubernetesVersion>) -> Option<Vec<ImageSource>> {
    let mut sources = Vec::new();
    for (index, section) in draft.profile.document.images.iter().enumerate() {
        let path = format!("images[{index}]");
        match (&section.archive, &section.directory) {
            (Some(url), None) if url.contains("://") => {
                sources.push(ImageSource::Url { url: url.replace("{version}", &version?.to_string()) });
            }
            (Some(file), None) => sources.push(ImageSource::File { path: beside(&draft.profile.source.path, Path::new(file)) }),
            (None, Some(directory)) => sources.push(ImageSource::Directory { path: beside(&draft.profile.source.path, directory) }),
            (Some(_), Some(_)) => {
                draft.wrong(&path, "one source is both an archive and a directory".into(), "write two `[[images]]` tables");
            }
            (None, None) if draft.is_broken_below(&path) => {}
            (None, None) => {
                let message = "this source is neither an archive nor a directory".to_owned();
                draft.wrong(&path, message, "add `directory = \"images\"`");
            }
        }
    }
    Some(sources)
}

/// A path as the cluster file means it: relative to the file.
fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().map_or_else(|| path.to_owned(), |parent| parent.join(path))
}

#[cfg(test)]
mod tests;
