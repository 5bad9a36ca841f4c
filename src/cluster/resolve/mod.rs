//! Resolution of a cluster file: every default is filled in, every name and address is computed, and every
//! problem is reported.
//!
//! This module rejects files from which no cluster can be built; `lint` reports clusters that should not be
//! built.

mod draft;
mod endpoint;
mod network;
mod nodes;
mod overlays;

use std::path::{Path, PathBuf};

use crate::cluster::{Base, Cluster, SHARED_LOCK};
use crate::error::{Error, Kind, Result};
use crate::profile::Profile;
use crate::words::{
    Arch, BinarySource, Cgroups, EtcdVersion, ImageSource, KubernetesVersion, RootFilesystem, Runtime,
    SUITES, Suite,
};

use draft::Draft;

/// Resolves a cluster file.
///
/// # Errors
///
/// [`Kind::Input`] listing every problem in the file, in the order of the file.
pub(crate) fn resolve(profile: &Profile) -> Result<Cluster> {
    let mut draft = Draft::new(profile);
    let cluster = if profile.complete { cluster(&mut draft) } else { None };
    let mut report = draft.report;
    report.problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
    report.into_result()?;
    cluster.ok_or_else(|| Error::new(Kind::Internal, "a cluster file without problems could not be resolved"))
}

/// Resolves all parts before failing because one is missing, so that each part reports its problems.
fn cluster(draft: &mut Draft<'_>) -> Option<Cluster> {
    let document = &draft.profile.document;
    let name = draft.required("cluster.name", document.cluster.name.as_ref(), "\"ha\"").cloned();
    let kubernetes = version(draft);
    let network = network::resolve(draft, kubernetes);
    let endpoint = endpoint::resolve(draft, network.as_ref());
    let nodes = nodes::resolve(draft, network.as_ref(), endpoint.as_ref());
    let base = base(draft, kubernetes);
    let runtime = runtime(draft, kubernetes, base.as_ref());
    let overlays = overlays::resolve(
        draft,
        nodes.as_deref().unwrap_or_default(),
        endpoint.as_ref(),
        network.as_ref(),
        runtime,
    );
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
        outputs: document.outputs.formats.clone().unwrap_or_default(),
        vault: beside(
            &draft.profile.source.path,
            document.vault.path.as_deref().unwrap_or(Path::new("vault")),
        ),
        lock: lock(&draft.profile.source.path),
    })
}

/// Returns the lock file of a cluster file: `berlin.lock` for `berlin.toml`, but `kiln.lock` for the usual
/// `cluster.toml`.
fn lock(file: &Path) -> PathBuf {
    if file.file_name().is_some_and(|name| name == "cluster.toml") {
        file.with_file_name(SHARED_LOCK)
    } else {
        file.with_extension("lock")
    }
}

fn version(draft: &mut Draft<'_>) -> Option<KubernetesVersion> {
    let version = *draft.required(
        "cluster.kubernetes",
        draft.profile.document.cluster.kubernetes.as_ref(),
        "\"1.20.2\"",
    )?;
    if version.major != 1 || !KubernetesVersion::MINORS.contains(&version.minor) {
        let (first, last) = (KubernetesVersion::MINORS.start(), KubernetesVersion::MINORS.end());
        let hint = format!("choose a release from 1.{first} to 1.{last}");
        draft.wrong("cluster.kubernetes", format!("Kubernetes {version} is not supported"), hint);
    }
    Some(version)
}

/// Returns the runtime set in the cluster file or, if there is none, the suite's runtime that the Kubernetes
/// version can use.
fn runtime(draft: &Draft<'_>, version: Option<KubernetesVersion>, base: Option<&Base>) -> Option<Runtime> {
    let default = || Some(Runtime::of(version?, Suite::named(&base?.suite)));
    draft.profile.document.cluster.runtime.or_else(default)
}

fn etcd(draft: &mut Draft<'_>) -> Option<EtcdVersion> {
    let version = draft.profile.document.etcd.version?;
    if !EtcdVersion::MINORS.contains(&version.minor) {
        let (first, last) = (EtcdVersion::MINORS.start(), EtcdVersion::MINORS.end());
        let hint = format!("choose a release from 3.{first} to 3.{last}");
        draft.wrong("etcd.version", format!("etcd {version} is not supported"), hint);
    }
    Some(version)
}

fn base(draft: &mut Draft<'_>, version: Option<KubernetesVersion>) -> Option<Base> {
    let base = &draft.profile.document.base;
    let suite = draft.required("base.suite", base.suite.as_ref(), "\"trixie\"").cloned();
    let architecture = base.architecture.unwrap_or_default();
    let kernel = kernel(draft, architecture);
    let cgroups = cgroups(draft, version, suite.as_deref());
    Some(Base {
        cgroups: cgroups?,
        suite: suite?,
        mirror: base.mirror.clone(),
        architecture,
        kernel: kernel?,
        packages: base.packages.clone().unwrap_or_default(),
        filesystem: base.filesystem.unwrap_or(RootFilesystem::Squashfs),
    })
}

/// Returns the kernel set in the cluster file, unless its name shows that it is for a different architecture.
fn kernel(draft: &mut Draft<'_>, architecture: Arch) -> Option<String> {
    let Some(kernel) = draft.profile.document.base.kernel.clone() else {
        return Some(architecture.kernel.to_owned());
    };
    let other =
        Arch::ALL.into_iter().find(|other| *other != architecture && kernel.ends_with(&format!("-{other}")));
    if let Some(other) = other {
        let message = format!("`{kernel}` is a kernel for {other}, but the machines are {architecture}");
        draft.wrong(
            "base.kernel",
            message,
            format!("remove `kernel`, or use `{}`", kernel.replace(other.name, architecture.name)),
        );
        return None;
    }
    Some(kernel)
}

/// Returns the cgroup version set in the cluster file, which the suite must support, or, if there is none,
/// one that the Kubernetes version can use.
fn cgroups(
    draft: &mut Draft<'_>,
    version: Option<KubernetesVersion>,
    suite: Option<&str>,
) -> Option<Cgroups> {
    let suite = Suite::named(suite?);
    let Some(cgroups) = draft.profile.document.base.cgroups else {
        return Some(Cgroups::of(version?, suite));
    };
    let has = |suite: &Suite| suite.cgroups.contains(&cgroups.name());
    if !has(suite) {
        let message = format!(
            "`{}` machines have no cgroup {} hierarchy that a kubelet can use",
            suite.name,
            cgroups.name()
        );
        let other =
            SUITES.iter().rev().find(|suite| has(suite)).expect("every cgroup version is in some suite");
        draft.wrong(
            "base.cgroups",
            message,
            format!("remove `cgroups`, or use `suite = \"{}\"`", other.name),
        );
    }
    Some(cgroups)
}

/// Returns the sources in the cluster file, plus etcd's release archive if the file sets an etcd version.
fn binaries(
    draft: &mut Draft<'_>,
    version: Option<KubernetesVersion>,
    etcd: Option<EtcdVersion>,
) -> Option<Vec<BinarySource>> {
    let architecture = draft.profile.document.base.architecture.unwrap_or_default();
    let mut sources = Vec::new();
    for (index, section) in draft.profile.document.binaries.iter().enumerate() {
        let path = format!("binaries[{index}]");
        match (&section.archive, &section.directory) {
            (Some(url), None) => {
                let sha256 = section.sha256.as_ref().and_then(|digest| digest.parse().ok());
                sources.push(BinarySource::Archive {
                    url: architecture.fill(&url.replace("{version}", &version?.to_string())),
                    sha256,
                });
            }
            (None, Some(_)) if section.sha256.is_some() => {
                let message =
                    "a directory has no digest: the lock pins each program in the directory".to_owned();
                draft.wrong(&format!("{path}.sha256"), message, "remove `sha256`");
            }
            (None, Some(directory)) => {
                sources.push(BinarySource::Directory { path: beside(&draft.profile.source.path, directory) });
            }
            (Some(_), Some(_)) => {
                draft.wrong(
                    &path,
                    "this source sets both `archive` and `directory`".into(),
                    "use two `[[binaries]]` tables",
                );
            }
            (None, None) if draft.is_broken_below(&path) => {}
            (None, None) => {
                let message = "this source sets neither `archive` nor `directory`".to_owned();
                draft.wrong(&path, message, "add `directory = \"kubernetes\"`");
            }
        }
    }
    sources.extend(etcd.map(|version| version.archive(architecture)));
    Some(sources)
}

fn images(draft: &mut Draft<'_>, version: Option<KubernetesVersion>) -> Option<Vec<ImageSource>> {
    let architecture = draft.profile.document.base.architecture.unwrap_or_default();
    let mut sources = Vec::new();
    for (index, section) in draft.profile.document.images.iter().enumerate() {
        let path = format!("images[{index}]");
        match (&section.archive, &section.directory) {
            (Some(url), None) if url.contains("://") => {
                sources.push(ImageSource::Url {
                    url: architecture.fill(&url.replace("{version}", &version?.to_string())),
                });
            }
            (Some(file), None) => {
                sources.push(ImageSource::File { path: beside(&draft.profile.source.path, Path::new(file)) });
            }
            (None, Some(directory)) => {
                sources.push(ImageSource::Directory { path: beside(&draft.profile.source.path, directory) });
            }
            (Some(_), Some(_)) => {
                draft.wrong(
                    &path,
                    "this source sets both `archive` and `directory`".into(),
                    "use two `[[images]]` tables",
                );
            }
            (None, None) if draft.is_broken_below(&path) => {}
            (None, None) => {
                let message = "this source sets neither `archive` nor `directory`".to_owned();
                draft.wrong(&path, message, "add `directory = \"images\"`");
            }
        }
    }
    Some(sources)
}

/// Resolves a path from the cluster file relative to the file's directory.
fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().map_or_else(|| path.to_owned(), |parent| parent.join(path))
}

#[cfg(test)]
mod tests;
