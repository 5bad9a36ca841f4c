//! `kiln list versions`: lists the versions compatible with each Kubernetes release; as JSON, every table
//! that drives rendering.

use serde::Serialize;

use crate::cli::table::columns;
use crate::render::{FlagRow, KINDS, Kind, flag_table};
use crate::words::{COMPANIONS, Companion, Component, KubernetesVersion, SUITES};

/// Every table.
#[derive(Serialize)]
pub(super) struct Tables {
    kubernetes: Vec<Release>,
    suites: Vec<Suite>,
    companions: &'static [Companion],
    kinds: &'static [Kind],
    flags: Vec<FlagRow>,
}

/// A Kubernetes minor version and the versions compatible with it.
#[derive(Serialize)]
struct Release {
    version: String,
    etcd: Option<&'static str>,
    containerd: Vec<&'static str>,
    docker: Vec<&'static str>,
    cri: Vec<&'static str>,
    cgroups: Vec<&'static str>,
    pause: Option<&'static str>,
    dns: Option<&'static str>,
    crictl: Option<&'static str>,
}

/// Versions that a Debian suite provides.
#[derive(Serialize)]
struct Suite {
    name: &'static str,
    etcd: &'static str,
    containerd: &'static str,
    docker: &'static str,
    /// cgroup versions; the version mounted by default comes first.
    cgroups: &'static [&'static str],
}

pub(super) fn tables() -> Tables {
    let suite = |suite: &crate::words::Suite| Suite {
        name: suite.name,
        etcd: suite.etcd,
        containerd: suite.containerd,
        docker: suite.docker,
        cgroups: suite.cgroups,
    };
    Tables {
        kubernetes: KubernetesVersion::MINORS.map(release).collect(),
        suites: SUITES.iter().map(suite).collect(),
        companions: COMPANIONS,
        kinds: KINDS,
        flags: flag_table(),
    }
}

fn release(minor: u32) -> Release {
    let all = |part| {
        Companion::all(part, minor).filter(|row| row.span.is_current(minor)).map(|row| row.version).collect()
    };
    Release {
        version: format!("1.{minor}"),
        etcd: Companion::of(Component::Etcd, minor),
        containerd: all(Component::Containerd),
        docker: Companion::all(Component::Docker, minor).map(|row| row.version).collect(),
        cri: all(Component::Cri),
        cgroups: all(Component::Cgroups),
        pause: Companion::of(Component::Pause, minor),
        dns: Companion::of(Component::Dns, minor),
        crictl: Companion::of(Component::Crictl, minor),
    }
}

/// Formats one line per Kubernetes minor version, and one per suite.
pub(super) fn text(tables: &Tables) -> String {
    let head =
        ["KUBERNETES", "ETCD", "CONTAINERD", "DOCKER", "CRI", "CGROUPS", "PAUSE", "DNS"].map(str::to_owned);
    let releases = tables.kubernetes.iter().map(|release| {
        [
            release.version.clone(),
            one(release.etcd),
            range(&release.containerd),
            range(&release.docker),
            range(&release.cri),
            range(&release.cgroups),
            one(release.pause),
            one(release.dns),
        ]
    });
    let suites = ["SUITE", "ETCD", "CONTAINERD", "DOCKER", "CGROUPS"].map(str::to_owned);
    let row = |suite: &Suite| [suite.etcd, suite.containerd, suite.docker].map(str::to_owned);
    let suites = std::iter::once(suites).chain(tables.suites.iter().map(|suite| {
        let [etcd, containerd, docker] = row(suite);
        [suite.name.to_owned(), etcd, containerd, docker, range(suite.cgroups)]
    }));
    let suites: Vec<[String; 5]> = suites.collect();
    format!("{}\n{}", columns(&std::iter::once(head).chain(releases).collect::<Vec<_>>()), columns(&suites))
}

fn one(version: Option<&str>) -> String {
    version.unwrap_or("-").to_owned()
}

/// Formats up to two versions, or the oldest and newest of more.
fn range(versions: &[&str]) -> String {
    match versions {
        [] => "-".to_owned(),
        [only] => (*only).to_owned(),
        [first, second] => format!("{first}, {second}"),
        [first, .., last] => format!("{first} to {last}"),
    }
}
