//! KINDS: API versions and kinds of the files that kiln writes for Kubernetes programs, one row per kind
//! and version.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::words::Span;

/// One kind in one API version, with the Kubernetes minor versions that accept it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Kind {
    /// Name used by templates in `computed.api_versions`.
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) api_version: &'static str,
    #[serde(flatten)]
    pub(crate) span: Span,
}

const fn row(name: &'static str, kind: &'static str, api_version: &'static str, span: Span) -> Kind {
    Kind { name, kind, api_version, span }
}

/// kubeadm's API versions; a test compares them with the compatibility table.
const V1BETA1: Span = Span::since(13).deprecated(15).removed(22);
const V1BETA2: Span = Span::since(15).deprecated(22).removed(27);
const V1BETA3: Span = Span::since(22).deprecated(31).removed(37);
const V1BETA4: Span = Span::since(31);

/// Every kind, sorted by name; the versions of a kind from oldest to newest.
pub(crate) static KINDS: &[Kind] = &[
    row("audit", "Policy", "audit.k8s.io/v1beta1", Span::since(8).deprecated(12).removed(24)),
    row("audit", "Policy", "audit.k8s.io/v1", Span::since(12)),
    // Earlier versions restrict anonymous requests to paths only through an alpha feature.
    row(
        "authentication",
        "AuthenticationConfiguration",
        "apiserver.config.k8s.io/v1beta1",
        Span::since(32).deprecated(34),
    ),
    row("authentication", "AuthenticationConfiguration", "apiserver.config.k8s.io/v1", Span::since(34)),
    row(
        "cluster_role",
        "ClusterRole",
        "rbac.authorization.k8s.io/v1beta1",
        Span::since(6).deprecated(8).removed(22),
    ),
    row("cluster_role", "ClusterRole", "rbac.authorization.k8s.io/v1", Span::since(8)),
    row("deployment", "Deployment", "extensions/v1beta1", Span::since(6).deprecated(9).removed(16)),
    row("deployment", "Deployment", "apps/v1", Span::since(9)),
    row(
        "disruption_budget",
        "PodDisruptionBudget",
        "policy/v1beta1",
        Span::since(6).deprecated(21).removed(25),
    ),
    row("disruption_budget", "PodDisruptionBudget", "policy/v1", Span::since(21)),
    row("encryption", "EncryptionConfig", "v1", Span::since(7).deprecated(13)),
    row("encryption", "EncryptionConfiguration", "apiserver.config.k8s.io/v1", Span::since(13)),
    row("kubeadm_cluster", "ClusterConfiguration", "kubeadm.k8s.io/v1beta1", V1BETA1),
    row("kubeadm_cluster", "ClusterConfiguration", "kubeadm.k8s.io/v1beta2", V1BETA2),
    row("kubeadm_cluster", "ClusterConfiguration", "kubeadm.k8s.io/v1beta3", V1BETA3),
    row("kubeadm_cluster", "ClusterConfiguration", "kubeadm.k8s.io/v1beta4", V1BETA4),
    row("kubeadm_init", "InitConfiguration", "kubeadm.k8s.io/v1beta1", V1BETA1),
    row("kubeadm_init", "InitConfiguration", "kubeadm.k8s.io/v1beta2", V1BETA2),
    row("kubeadm_init", "InitConfiguration", "kubeadm.k8s.io/v1beta3", V1BETA3),
    row("kubeadm_init", "InitConfiguration", "kubeadm.k8s.io/v1beta4", V1BETA4),
    row("kubeadm_join", "JoinConfiguration", "kubeadm.k8s.io/v1beta1", V1BETA1),
    row("kubeadm_join", "JoinConfiguration", "kubeadm.k8s.io/v1beta2", V1BETA2),
    row("kubeadm_join", "JoinConfiguration", "kubeadm.k8s.io/v1beta3", V1BETA3),
    row("kubeadm_join", "JoinConfiguration", "kubeadm.k8s.io/v1beta4", V1BETA4),
    row("kube_proxy", "KubeProxyConfiguration", "kubeproxy.config.k8s.io/v1alpha1", Span::since(9)),
    row("kubelet", "KubeletConfiguration", "kubelet.config.k8s.io/v1beta1", Span::since(10)),
    // Kubernetes 1.10 and later create the role themselves.
    row("kubelet_api_role", "ClusterRole", "rbac.authorization.k8s.io/v1beta1", Span::since(6).deprecated(8)),
    row("kubelet_api_role", "ClusterRole", "rbac.authorization.k8s.io/v1", Span::since(8).removed(10)),
    row(
        "rbac",
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1beta1",
        Span::since(6).deprecated(8).removed(22),
    ),
    row("rbac", "ClusterRoleBinding", "rbac.authorization.k8s.io/v1", Span::since(8)),
];

/// Returns the current row of `name` for `1.minor`; `None` if that version does not read the file.
pub(super) fn of(name: &str, minor: u32) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name && kind.span.is_current(minor))
}

/// Returns the current API version of each kind for `1.minor`, keyed by name.
pub(super) fn api_versions(minor: u32) -> BTreeMap<&'static str, &'static str> {
    KINDS
        .iter()
        .filter(|kind| kind.span.is_current(minor))
        .map(|kind| (kind.name, kind.api_version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::KINDS;
    use crate::words::{Companion, Component, KubernetesVersion};

    #[test]
    fn kubeadm_reads_what_the_table_of_companions_says() {
        for kind in KINDS.iter().filter(|kind| kind.name.starts_with("kubeadm_")) {
            let version = kind.api_version.strip_prefix("kubeadm.k8s.io/").unwrap();
            assert_eq!(Companion::find(Component::Kubeadm, version).unwrap().span, kind.span, "{kind:?}");
        }
    }

    #[test]
    fn no_version_reads_one_file_in_two_kinds() {
        for minor in KubernetesVersion::MINORS {
            for kind in KINDS.iter().filter(|kind| kind.span.is_current(minor)) {
                let same =
                    KINDS.iter().filter(|other| other.name == kind.name && other.span.is_current(minor));
                assert_eq!(same.count(), 1, "`{}` in 1.{minor}", kind.name);
            }
        }
    }

    #[test]
    fn a_kind_that_is_deprecated_has_a_successor_from_then_on() {
        for kind in KINDS {
            if let Some(deprecated) = kind.span.deprecated {
                assert!(super::of(kind.name, deprecated).is_some(), "{kind:?}");
            }
        }
    }
}
