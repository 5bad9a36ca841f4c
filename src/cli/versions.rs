//! `kiln list versions`: what goes with which Kubernetes; for scripts, every table that drives what is rendered.

use serde::Serialize;

use crate::cli::table::columns;
use crate::render::{FlagRow, KINDS, Kind, flag_table};
use crate::words::{COMPANIONS, Companion, KubernetesVersion, Part, SUITES};

/// Every table.
#[derive(Serialize)]
pub(super) struct Tables {
    kubernetes: Vec<Release>,
    suites: Vec<Suite>,
    companions: &'static [Companion],
    kinds: &'static [Kind],
    flags: Vec<FlagRow>,
}

/// One Kubernetes minor and what it is made for.
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

/// What a Debian suite brings.
#[derive(Serialize)]
struct Suite {
    name: &'static str,
    etcd: &'static str,
    containerd: &'static str,
    docker: &'static str,
    /// What it mounts by itself comes first.
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
    let all = |part| Companion::all(part, minor).filter(|row| row.span.is_current(minor)).map(|row| row.version).collect();
    Release {
        version: format!("1.{minor}"),
        etcd: Companion::of(Part::Etcd, minor),
        containerd: all(Part::Containerd),
        docker: Companion::all(Part::Docker, minor).map(|row| row.version).collect(),
        cri: all(Part::Cri),
        cgroups: all(Part::Cgroups),
        pause: Companion::of(Part::Pause, minor),
        dns: Companion::of(Part::Dns, minor),
        crictl: Companion::of(Part::Crictl, minor),
    }
}

/// One line a Kubernetes minor, and one a suite.
pub(super) fn text(tables: &Tables) -> String {
    let head = ["KUBERNETES", "ETCD", "CONTAINERD", "DOCKER", "CRI", "CGROUPS", "PAUSE", "DNS"].map(str::to_owned);
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

/// Two versions, or the oldest and the newest of more.
fn range(versions: &[&str]) -> String {
    match versions {
        [] => "-".to_owned(),
        [only] => (*only).to_owned(),
        [first, second] => format!("{first}, {second}"),
        [first, .., last] => format!("{first} to {last}"),
    }
}
