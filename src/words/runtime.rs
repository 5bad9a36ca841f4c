//! What runs the containers of a node's pods, and what follows from it: one row a runtime.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::{Companion, KubernetesVersion, Part, Suite};

/// Where containerd serves the CRI, as the kubelet names it.
pub(crate) const CONTAINERD_SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runtime {
    /// containerd, which kubelets from 1.10 on speak to
    Containerd,
    /// Docker, through a shim that kubelets up to 1.23 have
    Docker,
}

/// What a runtime needs, and how others find it.
#[derive(Debug, Serialize)]
pub(crate) struct RuntimeKind {
    #[serde(skip)]
    runtime: Runtime,
    /// The word in cluster files.
    pub(crate) name: &'static str,
    /// Its part in the table of companions.
    #[serde(skip)]
    pub(crate) part: Part,
    /// Overlays of machines with a kubelet; all runtimes stand on containerd's, which the kubelet's requires.
    #[serde(skip)]
    pub(crate) overlays: &'static [&'static str],
    /// The unit that kubelets wait for.
    pub(crate) unit: &'static str,
    /// Where it keeps images and containers.
    pub(crate) data: &'static str,
    /// What the kubelet's `--container-runtime` says.
    #[serde(skip)]
    pub(crate) word: &'static str,
    /// The socket as kubeadm names it before 1.24.
    #[serde(skip)]
    pub(crate) kubeadm_socket: &'static str,
}

/// Every runtime; the first that goes with a version is its default.
static RUNTIMES: &[RuntimeKind] = &[
    RuntimeKind {
        runtime: Runtime::Containerd,
        name: "containerd",
        part: Part::Containerd,
        overlays: &[],
        unit: "containerd.service",
        data: "/var/lib/containerd",
        word: "remote",
        kubeadm_socket: "/run/containerd/containerd.sock",
    },
    RuntimeKind {
        runtime: Runtime::Docker,
        name: "docker",
        part: Part::Docker,
        overlays: &["docker"],
        unit: "docker.service",
        data: "/var/lib/docker",
        word: "docker",
        kubeadm_socket: "/var/run/dockershim.sock",
    },
];

impl Runtime {
    /// Its row.
    pub(crate) fn kind(self) -> &'static RuntimeKind {
        RUNTIMES.iter().find(|kind| kind.runtime == self).expect("every runtime has a row")
    }

    /// What a version gets from a suite where the cluster file is silent: the first that goes with both, else the first.
    pub(crate) fn of(version: KubernetesVersion, suite: &Suite) -> Self {
        RUNTIMES.iter().find(|kind| kind.goes_with(version, suite)).unwrap_or(&RUNTIMES[0]).runtime
    }

    /// The runtime whose overlay this is.
    pub(crate) fn with_overlay(name: &str) -> Option<&'static RuntimeKind> {
        RUNTIMES.iter().find(|kind| kind.overlays.contains(&name))
    }
}

impl RuntimeKind {
    /// Whether the kubelet of a version can use what a suite has of it.
    pub(crate) fn goes_with(&self, version: KubernetesVersion, suite: &Suite) -> bool {
        suite.companion(self.part).is_some_and(|row: &Companion| row.span.covers(version.minor))
    }

    /// Another one that the kubelet of a version can use.
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
            let first = KubernetesVersion::MINORS.into_iter().find(|minor| of(*minor) == Runtime::Containerd).unwrap();
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
        assert_eq!(with(&format!("{docker}\n[overlays.control-plane]\nremove = [\"kubelet\"]\n")), [false, false, false, true]);
    }

    #[test]
    fn the_overlay_of_a_runtime_comes_with_the_setting_alone() {
        let refused = "`\"docker\"`: the overlay `docker` is a runtime, which the kubelet must be told of (leave it out, and write `runtime = \"docker\"` in `[cluster]`)";
        assert_eq!(problems(&format!("{SAMPLE}\n[overlays.worker]\nadd = [\"docker\"]\n")), [refused]);
    }
}
