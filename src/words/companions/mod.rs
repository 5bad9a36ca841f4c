//! COMPANIONS: what goes with which Kubernetes, and in which versions: etcd, runtimes, images, what a machine must offer.
//!
//! One table, one row a version. What is rendered, what `kiln list versions` prints and what lints refuse are read from it.

mod suite;
mod table;

use serde::Serialize;

use crate::words::KubernetesVersion;

pub(crate) use suite::{STOCK, SUITES, Suite};
pub(crate) use table::COMPANIONS;

/// What a companion is to Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// The store of the API servers.
    Etcd,
    /// What kubelets and container runtimes say to each other.
    Cri,
    Containerd,
    /// Docker, which kubelets speak to through a shim of their own.
    Docker,
    /// The version of CNI's configuration, which kubelets read themselves where the runtime is Docker.
    Cni,
    /// The kernel's control groups, as the machine mounts them.
    Cgroups,
    /// Tag of the image that holds a pod's namespaces.
    Pause,
    /// Where the images of the Kubernetes project lie.
    Registry,
    /// The cluster's DNS service, as kubeadm installs it.
    Dns,
    /// flannel's image; its DaemonSet is of `apps/v1`.
    Flannel,
    /// The image that brings flannel's CNI plugin to nodes.
    FlannelPlugin,
    /// The debugging tool of the CRI.
    Crictl,
    /// The API version of kubeadm's configuration.
    Kubeadm,
    /// Path at which an API server says that it lives.
    Liveness,
    /// Path at which an API server says that it takes requests.
    Readiness,
    /// Label of control-plane nodes.
    RoleLabel,
    /// Taint of control-plane nodes that run no workloads.
    RoleTaint,
    /// How kube-proxy leads services to pods.
    ProxyMode,
    /// Group of administrators in their certificates.
    AdminGroup,
}

/// For which Kubernetes minors something is there. Each bound is the first `1.x` for which it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Span {
    /// First one that it goes with.
    pub(crate) introduced: u32,
    /// First one that is made for something newer.
    pub(crate) deprecated: Option<u32>,
    /// First one that does not go with it any more.
    pub(crate) removed: Option<u32>,
}

/// One version of one companion.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Companion {
    pub(crate) part: Part,
    pub(crate) version: &'static str,
    #[serde(flatten)]
    pub(crate) span: Span,
}

impl Span {
    /// From `1.introduced` on, for ever.
    pub(crate) const fn since(introduced: u32) -> Self {
        Self { introduced, deprecated: None, removed: None }
    }

    pub(crate) const fn deprecated(mut self, minor: u32) -> Self {
        self.deprecated = Some(minor);
        self
    }

    pub(crate) const fn removed(mut self, minor: u32) -> Self {
        self.removed = Some(minor);
        self
    }

    /// Whether it goes with `1.minor`, however deprecated.
    pub(crate) fn covers(&self, minor: u32) -> bool {
        minor >= self.introduced && self.removed.is_none_or(|removed| minor < removed)
    }

    /// Whether it is what `1.minor` is made for.
    pub(crate) fn is_current(&self, minor: u32) -> bool {
        self.covers(minor) && self.deprecated.is_none_or(|deprecated| minor < deprecated)
    }
}

impl Companion {
    /// The row of one version.
    pub(crate) fn find(part: Part, version: &str) -> Option<&'static Self> {
        COMPANIONS.iter().find(|row| row.part == part && row.version == version)
    }

    /// Every version of `part` that goes with `1.minor`, the oldest first.
    pub(crate) fn all(part: Part, minor: u32) -> impl Iterator<Item = &'static Self> {
        COMPANIONS.iter().filter(move |row| row.part == part && row.span.covers(minor))
    }

    /// The `x` of the first Kubernetes 1.x that some version of `part` goes with.
    pub(crate) fn first(part: Part) -> Option<u32> {
        COMPANIONS.iter().filter(|row| row.part == part).map(|row| row.span.introduced).min()
    }

    /// The version of `part` that `1.minor` is made for: the oldest that nothing newer has replaced.
    pub(crate) fn of(part: Part, minor: u32) -> Option<&'static str> {
        COMPANIONS.iter().find(|row| row.part == part && row.span.is_current(minor)).map(|row| row.version)
    }
}

impl KubernetesVersion {
    /// The version of `part` that this Kubernetes is made for.
    ///
    /// # Panics
    ///
    /// If the table has no row for it, which its test rules out for the parts that are rendered.
    pub(crate) fn companion(self, part: Part) -> &'static str {
        Companion::of(part, self.minor).unwrap_or_else(|| panic!("the table of companions has no {part:?} for 1.{}", self.minor))
    }
}

#[cfg(test)]
mod tests {
    use super::{COMPANIONS, Companion, Part, SUITES};
    use crate::words::KubernetesVersion;

    #[test]
    fn a_row_is_deprecated_before_it_is_removed_and_after_it_was_introduced() {
        for row in COMPANIONS {
            let span = row.span;
            let bounds = [Some(span.introduced), span.deprecated, span.removed];
            assert!(bounds.iter().flatten().is_sorted(), "{row:?}");
            assert!(span.removed != Some(span.introduced), "{row:?} goes with nothing");
        }
    }

    #[test]
    fn every_version_is_in_the_table_once() {
        for (index, row) in COMPANIONS.iter().enumerate() {
            let same = COMPANIONS[..index].iter().find(|other| other.part == row.part && other.version == row.version);
            assert!(same.is_none(), "{row:?} stands in the table twice");
        }
    }

    #[test]
    fn what_is_rendered_is_known_for_every_kubernetes() {
        for minor in KubernetesVersion::MINORS {
            for part in [
                Part::Pause,
                Part::Registry,
                Part::Liveness,
                Part::Readiness,
                Part::AdminGroup,
                Part::Etcd,
                Part::Cri,
                Part::Dns,
                Part::ProxyMode,
                Part::Cni,
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
            assert_eq!((says(Part::Etcd, minor), says(Part::Pause, minor), says(Part::Dns, minor)), (etcd, pause, dns), "1.{minor}");
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
