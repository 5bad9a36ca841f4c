//! Container runtimes of a node's pods, and their properties: one row per runtime.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::words::{Companion, Component, KubernetesVersion, Suite};

/// containerd's CRI socket, in the kubelet's notation.
pub(crate) const CONTAINERD_SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runtime {
    /// containerd, for kubelet 1.10 or higher
    Containerd,
    /// Docker, through the dockershim of kubelet 1.23 or lower
    Docker,
}

impl FromStr for Runtime {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = RUNTIMES.iter().find(|kind| kind.name == name).map(|kind| kind.runtime);
        found.ok_or_else(|| {
            Error::new(Kind::Input, format!("unknown container runtime `{name}`: use containerd or docker"))
        })
    }
}

/// Properties of a runtime: its overlays, unit, directory and names.
#[derive(Debug, Serialize)]
pub(crate) struct RuntimeKind {
    #[serde(skip)]
    runtime: Runtime,
    /// Name in cluster files.
    pub(crate) name: &'static str,
    /// Component in the compatibility table.
    #[serde(skip)]
    pub(crate) part: Component,
    /// Overlays of machines with a kubelet; every runtime needs the containerd overlay, which the kubelet
    /// overlay requires.
    #[serde(skip)]
    pub(crate) overlays: &'static [&'static str],
    /// Unit that kubelets wait for.
    pub(crate) unit: &'static str,
    /// Directory of images and containers.
    pub(crate) data: &'static str,
    /// Value of the kubelet's `--container-runtime`.
    #[serde(skip)]
    pub(crate) word: &'static str,
    /// Socket in kubeadm's notation before 1.24.
    #[serde(skip)]
    pub(crate) kubeadm_socket: &'static str,
}

/// Every runtime; the first one that a version supports is the default.
static RUNTIMES: &[RuntimeKind] = &[
    RuntimeKind {
        runtime: Runtime::Containerd,
        name: "containerd",
        part: Component::Containerd,
        overlays: &[],
        unit: "containerd.service",
        data: "/var/lib/containerd",
        word: "remote",
        kubeadm_socket: "/run/containerd/containerd.sock",
    },
    RuntimeKind {
        runtime: Runtime::Docker,
        name: "docker",
        part: Component::Docker,
        overlays: &["docker"],
        unit: "docker.service",
        data: "/var/lib/docker",
        word: "docker",
        kubeadm_socket: "/var/run/dockershim.sock",
    },
];

impl Runtime {
    /// Returns the runtime's row.
    pub(crate) fn kind(self) -> &'static RuntimeKind {
        RUNTIMES.iter().find(|kind| kind.runtime == self).expect("every runtime has a row")
    }

    /// Returns the default for a version and a suite: the first runtime that works with both, otherwise the
    /// first runtime.
    pub(crate) fn of(version: KubernetesVersion, suite: &Suite) -> Self {
        RUNTIMES.iter().find(|kind| kind.goes_with(version, suite)).unwrap_or(&RUNTIMES[0]).runtime
    }

    /// Returns the runtime that the overlay belongs to.
    pub(crate) fn with_overlay(name: &str) -> Option<&'static RuntimeKind> {
        RUNTIMES.iter().find(|kind| kind.overlays.contains(&name))
    }
}

impl RuntimeKind {
    /// Checks whether the kubelet of a version can use the suite's version of the runtime.
    pub(crate) fn goes_with(&self, version: KubernetesVersion, suite: &Suite) -> bool {
        suite.companion(self.part).is_some_and(|row: &Companion| row.span.covers(version.minor))
    }

    /// Returns another runtime that the kubelet of a version can use.
    pub(crate) fn instead(&self, version: KubernetesVersion, suite: &Suite) -> Option<&'static Self> {
        RUNTIMES.iter().find(|kind| kind.runtime != self.runtime && kind.goes_with(version, suite))
    }
}

#[cfg(test)]
mod tests {
    use super::Runtime;
    use crate::cluster::resolve;
    use crate::profile::tests::{SAMPLE, edited, problems, read};
    use crate::words::{KubernetesVersion, Role, SUITES};

    #[test]
    fn the_default_is_containerd_wherever_the_kubelet_speaks_to_that_of_the_suite() {
        for suite in SUITES {
            let of = |minor| Runtime::of(KubernetesVersion { major: 1, minor, patch: 0 }, suite);
            let first = KubernetesVersion::MINORS
                .into_iter()
                .find(|minor| of(*minor) == Runtime::Containerd)
                .unwrap();
            assert_eq!(first, if suite.containerd.starts_with("2.") { 23 } else { 10 }, "{}", suite.name);
            assert!((first..=36).all(|minor| of(minor) == Runtime::Containerd), "{}", suite.name);
        }
    }

    #[test]
    fn docker_comes_to_machines_with_a_kubelet_and_to_no_other() {
        let docker = edited("[cluster]", "[cluster]\nruntime = \"docker\"");
        let with = |text: &str| {
            let cluster = resolve(&read(text)).unwrap();
            Role::ALL.map(|role| cluster.overlays[&role].iter().any(|overlay| overlay == "docker"))
        };
        assert_eq!(with(&docker), [true, false, false, true]);
        assert_eq!(with(SAMPLE), [false; 4]);
        assert_eq!(
            with(&format!("{docker}\n[overlays.control-plane]\nremove = [\"kubelet\"]\n")),
            [false, false, false, true]
        );
    }

    #[test]
    fn the_overlay_of_a_runtime_comes_with_the_setting_alone() {
        let refused = "`\"docker\"`: the overlay `docker` is a container runtime, which the kubelet must be \
            configured to use (remove the overlay, and set `runtime = \"docker\"` in `[cluster]`)";
        assert_eq!(problems(&format!("{SAMPLE}\n[overlays.worker]\nadd = [\"docker\"]\n")), [refused]);
    }
}
