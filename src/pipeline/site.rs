//! Input for every verb that builds: the resolved cluster file and its overlays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::{TOOLS_PACKAGES, TOOLS_SET};
use crate::cluster::{self, Cluster, Node};
use crate::config::{self, Machine, Target};
use crate::error::{Error, Kind, Report, Result};
use crate::host;
use crate::lint;
use crate::overlay::Overlays;
use crate::profile::{self, Profile, closest};
use crate::render::{self, Requirements, TextFile};

/// Maximum number of machines per image whose files are checked.
const OF_EACH_IMAGE: usize = 8;

/// Locations of the user's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) file: &'a Path,
    pub(crate) profile_directories: &'a [PathBuf],
    pub(crate) overlay_directories: &'a [PathBuf],
}

/// A cluster and its overlays.
#[derive(Debug)]
pub(crate) struct Site {
    /// The file as the user wrote it, to show where a problem is.
    pub(crate) profile: Profile,
    pub(crate) cluster: Cluster,
    pub(crate) overlays: Overlays,
    /// Warnings and infos; errors make loading fail.
    pub(crate) report: Report,
}

/// Returns the path of the program that runs on nodes: the running program by default.
pub(super) fn agent() -> Result<PathBuf> {
    std::env::var_os("KILN_AGENT_BINARY").map_or_else(host::process::own_program, |path| Ok(path.into()))
}

/// Checks that an etcd member has this name.
///
/// # Errors
///
/// [`Kind::Input`], suggesting the name that was probably meant or listing all members.
pub(super) fn member(cluster: &Cluster, name: &str) -> Result<()> {
    let members: Vec<&str> = cluster.etcd_members().into_iter().map(|node| node.name.as_str()).collect();
    if members.contains(&name) {
        return Ok(());
    }
    let hint = match closest(name, members.iter().copied()) {
        Some(other) => format!("did you mean `{other}`?"),
        None => format!("the members are {}", members.join(", ")),
    };
    Err(Error::new(Kind::Input, format!("`{name}` is not an etcd member")).hint(hint))
}

impl Site {
    /// Reads, resolves and lints the cluster file.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`], listing every problem in the cluster file.
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self> {
        let profile = profile::load(sources.file, sources.profile_directories)?;
        let cluster = cluster::resolve(&profile)?;
        let overlays = Overlays::load(sources.overlay_directories)?;
        let report = linted(&profile, &cluster, &overlays)?;
        report.clone().into_result()?;
        Ok(Self { profile, cluster, overlays, report })
    }

    /// Returns the requirements of each role image, keyed by image name.
    pub(crate) fn requirements(&self) -> Result<BTreeMap<String, Requirements>> {
        let images = self.cluster.images().into_keys();
        images
            .map(|image| Ok((image.clone(), render::requirements(&self.cluster, &image, &self.overlays)?)))
            .collect()
    }

    /// Returns the packages that the lock must resolve: one set for each role image, and the tools. The
    /// result is empty if only stock systems are requested, which have their own packages.
    pub(crate) fn package_sets(&self) -> Result<BTreeMap<String, Vec<String>>> {
        if !self.cluster.outputs.iter().any(|format| format.needs_images()) {
            return Ok(BTreeMap::new());
        }
        let mut sets: BTreeMap<String, Vec<String>> =
            self.requirements()?.into_iter().map(|(image, needs)| (image, needs.packages)).collect();
        sets.insert(TOOLS_SET.to_owned(), TOOLS_PACKAGES.iter().map(ToString::to_string).collect());
        Ok(sets)
    }
}

/// Checks the cluster and its nodes' rendered files against every lint. A rendering error is reported only if
/// nothing else is wrong, since it is usually a consequence of other errors.
///
/// # Errors
///
/// [`crate::error::Kind::Input`], naming the overlay, file and line of a rendering error.
pub(crate) fn linted(profile: &Profile, cluster: &Cluster, overlays: &Overlays) -> Result<Report> {
    let target = Target {
        kubernetes: cluster.kubernetes.minor,
        etcd: cluster.etcd_version().minor,
        now: host::clock::now(),
    };
    let machines = sample(cluster, overlays);
    let report = lint::check(profile, cluster, overlays, machines.as_deref().unwrap_or_default(), target);
    match machines {
        Err(err) if report.errors() == 0 => Err(err),
        _ => Ok(report),
    }
}

/// Returns the machines whose files are checked. Machines with the same image differ only in names and
/// addresses, so the first ones represent all of them, and a cluster of a thousand machines is checked as
/// fast as a cluster of ten.
fn sample(cluster: &Cluster, overlays: &Overlays) -> Result<Vec<Machine>> {
    let mut machines = Vec::new();
    for (image, nodes) in cluster.images() {
        let images: Vec<String> =
            render::requirements(cluster, &image, overlays)?.images.into_keys().collect();
        for node in nodes.into_iter().take(OF_EACH_IMAGE) {
            machines.push(Machine {
                name: node.name.clone(),
                files: files(cluster, node, overlays)?,
                images: images.clone(),
            });
        }
    }
    Ok(machines)
}

fn files(cluster: &Cluster, node: &Node, overlays: &Overlays) -> Result<Vec<config::File>> {
    let file = |TextFile { path, text, mode, source }| config::File { path, text, mode: Some(mode), source };
    Ok(render::texts(cluster, node, overlays)?.into_iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::{Site, Sources};
    use crate::host;

    #[test]
    fn stock_systems_need_no_packages_of_a_lock() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.toml");
        let sets = |formats: &str| {
            let text = format!(
                "{}\n[outputs]\nformats = [{formats}]\n",
                include_str!("../../profiles/ha/cluster.toml")
            );
            host::fs::write_atomic(&file, text.as_bytes(), host::fs::PUBLIC).unwrap();
            let sources = Sources { file: &file, profile_directories: &[], overlay_directories: &[] };
            Site::load(&sources).unwrap().package_sets().unwrap().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(sets("\"cloud-init\""), [""; 0]);
        assert_eq!(sets("\"cloud-init\", \"raw\""), ["control-plane", "tools"]);
    }
}
