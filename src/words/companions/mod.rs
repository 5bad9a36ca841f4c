//! COMPANIONS: the compatibility table: component versions that work with each Kubernetes version, such as
//! etcd, runtimes, images and machine requirements.
//!
//! The table has one row per component version. Rendering, `kiln list versions` and lints use it.

mod suite;
mod table;

use serde::Serialize;

use crate::words::{KubernetesVersion, Span};

pub(crate) use suite::{SUITES, Suite};
pub(crate) use table::COMPANIONS;

/// Component in the compatibility table, named after its function for Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Component {
    /// Database of the API servers.
    Etcd,
    /// Protocol between kubelets and container runtimes.
    Cri,
    Containerd,
    /// Docker, which kubelets use through the dockershim.
    Docker,
    /// Version of the CNI configuration; with Docker the kubelet reads the configuration itself.
    Cni,
    /// cgroup version that the machine uses.
    Cgroups,
    /// Tag of the pause image, which holds a pod's namespaces.
    Pause,
    /// Registry of the Kubernetes project's images.
    Registry,
    /// Cluster DNS service, as installed by kubeadm.
    Dns,
    /// flannel's image; its DaemonSet requires `apps/v1`.
    Flannel,
    /// Image that installs flannel's CNI plugin on nodes.
    FlannelPlugin,
    /// Debugging tool for the CRI.
    Crictl,
    /// API version of kubeadm's configuration.
    Kubeadm,
    /// Path of an API server's liveness check.
    Liveness,
    /// Path of an API server's readiness check.
    Readiness,
    /// Label of control-plane nodes.
    RoleLabel,
    /// Taint of control-plane nodes that run no workloads.
    RoleTaint,
    /// kube-proxy mode.
    ProxyMode,
    /// Group in administrators' certificates.
    AdminGroup,
}

/// One version of one component.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Companion {
    pub(crate) part: Component,
    pub(crate) version: &'static str,
    #[serde(flatten)]
    pub(crate) span: Span,
}

impl Companion {
    /// Returns the row of one version.
    pub(crate) fn find(part: Component, version: &str) -> Option<&'static Self> {
        COMPANIONS.iter().find(|row| row.part == part && row.version == version)
    }

    /// Returns every version of `part` that works with `1.minor`, oldest first.
    pub(crate) fn all(part: Component, minor: u32) -> impl Iterator<Item = &'static Self> {
        COMPANIONS.iter().filter(move |row| row.part == part && row.span.covers(minor))
    }

    /// Returns the `x` of the first Kubernetes 1.x that works with any version of `part`.
    pub(crate) fn first(part: Component) -> Option<u32> {
        COMPANIONS.iter().filter(|row| row.part == part).map(|row| row.span.introduced).min()
    }

    /// Returns the version of `part` that matches `1.minor`: the oldest that is not deprecated.
    pub(crate) fn of(part: Component, minor: u32) -> Option<&'static str> {
        COMPANIONS.iter().find(|row| row.part == part && row.span.is_current(minor)).map(|row| row.version)
    }
}

impl KubernetesVersion {
    /// Returns the version of `part` that matches this Kubernetes version.
    ///
    /// # Panics
    ///
    /// If the table contains no matching row; a test rules this out for the components that are rendered.
    pub(crate) fn companion(self, part: Component) -> &'static str {
        Companion::of(part, self.minor)
            .unwrap_or_else(|| panic!("the compatibility table contains no {part:?} for 1.{}", self.minor))
    }
}

#[cfg(test)]
mod tests {
    use super::{COMPANIONS, Companion, Component, SUITES};
    use crate::words::KubernetesVersion;

    #[test]
    fn a_row_is_deprecated_before_it_is_removed_and_after_it_was_introduced() {
        for row in COMPANIONS {
            assert!(row.span.is_in_order(), "{row:?}");
        }
    }

    #[test]
    fn every_version_is_in_the_table_once() {
        for (index, row) in COMPANIONS.iter().enumerate() {
            let same = COMPANIONS[..index]
                .iter()
                .find(|other| other.part == row.part && other.version == row.version);
            assert!(same.is_none(), "{row:?} is in the table twice");
        }
    }

    #[test]
    fn what_is_rendered_is_known_for_every_kubernetes() {
        for minor in KubernetesVersion::MINORS {
            for part in [
                Component::Pause,
                Component::Registry,
                Component::Liveness,
                Component::Readiness,
                Component::AdminGroup,
                Component::Etcd,
                Component::Cri,
                Component::Dns,
                Component::ProxyMode,
                Component::Cni,
            ] {
                assert!(Companion::of(part, minor).is_some(), "no {part:?} for 1.{minor}");
            }
        }
    }

    #[test]
    fn the_table_says_what_kubeadm_says() {
        let says = |part, minor| Companion::of(part, minor).unwrap();
        for (minor, etcd, pause, dns) in [
            (9, "3.1", "3.1", "kube-dns"),
            (20, "3.4", "3.2", "CoreDNS 1.7.0"),
            (30, "3.5", "3.9", "CoreDNS 1.11.1"),
            (36, "3.6", "3.10.2", "CoreDNS 1.13.1"),
        ] {
            assert_eq!(
                (says(Component::Etcd, minor), says(Component::Pause, minor), says(Component::Dns, minor)),
                (etcd, pause, dns),
                "1.{minor}"
            );
        }
    }

    #[test]
    fn what_suites_have_is_in_the_table() {
        for suite in SUITES {
            for (part, version) in suite.companions() {
                assert!(Companion::find(part, version).is_some(), "{}: {part:?} {version}", suite.name);
            }
        }
    }
}
