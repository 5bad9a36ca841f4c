//! Rows of the compatibility table. Sources: Kubernetes release notes, kubeadm's constants by tag,
//! containerd's release table.

use super::{Companion, Component};
use crate::words::Span;

const fn row(part: Component, version: &'static str, span: Span) -> Companion {
    Companion { part, version, span }
}

/// Every component version; the versions of a component from oldest to newest.
pub(crate) static COMPANIONS: &[Companion] = &[
    // API servers use version 3 of etcd's API, which every 3.x serves; kubeadm has its own minimum version
    // for external etcd (3.2 since 1.12, 3.5 in 1.36).
    row(Component::Etcd, "3.1", Span::since(6).deprecated(11).removed(12)),
    row(Component::Etcd, "3.2", Span::since(6).deprecated(14).removed(36)),
    row(Component::Etcd, "3.3", Span::since(6).deprecated(17).removed(36)),
    row(Component::Etcd, "3.4", Span::since(6).deprecated(22).removed(36)),
    row(Component::Etcd, "3.5", Span::since(6).deprecated(34)),
    row(Component::Etcd, "3.6", Span::since(6)),
    row(Component::Cri, "v1alpha1", Span::since(6).removed(10)),
    row(Component::Cri, "v1alpha2", Span::since(10).deprecated(23).removed(26)),
    row(Component::Cri, "v1", Span::since(23)),
    // 1.4 and 1.5 support v1alpha2, 1.6 and 1.7 both, 2.x only v1; only prototypes supported v1alpha1.
    row(Component::Containerd, "1.4", Span::since(10).deprecated(24).removed(26)),
    row(Component::Containerd, "1.5", Span::since(10).deprecated(24).removed(26)),
    row(Component::Containerd, "1.6", Span::since(10).deprecated(36)),
    row(Component::Containerd, "1.7", Span::since(10).deprecated(36)),
    row(Component::Containerd, "2.0", Span::since(23).deprecated(36)),
    row(Component::Containerd, "2.1", Span::since(23).deprecated(36)),
    row(Component::Containerd, "2.2", Span::since(23)),
    // The dockershim was removed in 1.24. It reads sizes that exist in Docker's API up to 1.43; Docker 29
    // supports only 1.44 and later, so no kubelet works with Docker 29.
    row(Component::Docker, "20.10", Span::since(6).deprecated(20).removed(24)),
    row(Component::Docker, "26.1", Span::since(6).deprecated(20).removed(24)),
    row(Component::Docker, "28.5", Span::since(6).deprecated(20).removed(24)),
    // As in the kubelet's libcni: 0.6 up to Kubernetes 1.15, 0.7 or later since then. The libcni of every
    // runtime reads both.
    row(Component::Cni, "0.3.1", Span::since(6).deprecated(16)),
    row(Component::Cni, "0.4.0", Span::since(16)),
    row(Component::Cgroups, "v1", Span::since(6).deprecated(31).removed(35)),
    row(Component::Cgroups, "v2", Span::since(19)),
    row(Component::Pause, "3.1", Span::since(6).deprecated(18)),
    row(Component::Pause, "3.2", Span::since(18).deprecated(21)),
    row(Component::Pause, "3.4.1", Span::since(21).deprecated(22)),
    row(Component::Pause, "3.5", Span::since(22).deprecated(23)),
    row(Component::Pause, "3.6", Span::since(23).deprecated(24)),
    row(Component::Pause, "3.7", Span::since(24).deprecated(25)),
    row(Component::Pause, "3.8", Span::since(25).deprecated(26)),
    row(Component::Pause, "3.9", Span::since(26).deprecated(31)),
    row(Component::Pause, "3.10", Span::since(31).deprecated(34)),
    row(Component::Pause, "3.10.1", Span::since(34).deprecated(36)),
    row(Component::Pause, "3.10.2", Span::since(36)),
    row(Component::Registry, "k8s.gcr.io", Span::since(6).deprecated(25)),
    row(Component::Registry, "registry.k8s.io", Span::since(25)),
    row(Component::Dns, "kube-dns", Span::since(6).deprecated(11).removed(21)),
    row(Component::Dns, "CoreDNS 1.1.3", Span::since(11).deprecated(12)),
    row(Component::Dns, "CoreDNS 1.2.2", Span::since(12).deprecated(13)),
    row(Component::Dns, "CoreDNS 1.2.6", Span::since(13).deprecated(14)),
    row(Component::Dns, "CoreDNS 1.3.1", Span::since(14).deprecated(16)),
    row(Component::Dns, "CoreDNS 1.6.2", Span::since(16).deprecated(17)),
    row(Component::Dns, "CoreDNS 1.6.5", Span::since(17).deprecated(18)),
    row(Component::Dns, "CoreDNS 1.6.7", Span::since(18).deprecated(19)),
    row(Component::Dns, "CoreDNS 1.7.0", Span::since(19).deprecated(21)),
    row(Component::Dns, "CoreDNS 1.8.0", Span::since(21).deprecated(22)),
    row(Component::Dns, "CoreDNS 1.8.4", Span::since(22).deprecated(23)),
    row(Component::Dns, "CoreDNS 1.8.6", Span::since(23).deprecated(25)),
    row(Component::Dns, "CoreDNS 1.9.3", Span::since(25).deprecated(27)),
    row(Component::Dns, "CoreDNS 1.10.1", Span::since(27).deprecated(29)),
    row(Component::Dns, "CoreDNS 1.11.1", Span::since(29).deprecated(31)),
    row(Component::Dns, "CoreDNS 1.11.3", Span::since(31).deprecated(33)),
    row(Component::Dns, "CoreDNS 1.12.0", Span::since(33).deprecated(34)),
    row(Component::Dns, "CoreDNS 1.12.1", Span::since(34).deprecated(35)),
    row(Component::Dns, "CoreDNS 1.13.1", Span::since(35)),
    row(Component::Crictl, "1.0.0-alpha", Span::since(6).removed(10)),
    row(Component::Crictl, "1.0.0-beta", Span::since(10).removed(11)),
    row(Component::Crictl, "same minor version as Kubernetes", Span::since(11)),
    // `kubeadm init phase` exists since v1beta1; earlier versions can't run individual phases.
    row(Component::Kubeadm, "v1alpha3", Span::since(12).deprecated(13).removed(14)),
    row(Component::Kubeadm, "v1beta1", Span::since(13).deprecated(15).removed(22)),
    row(Component::Kubeadm, "v1beta2", Span::since(15).deprecated(22).removed(27)),
    row(Component::Kubeadm, "v1beta3", Span::since(22).deprecated(31).removed(37)),
    row(Component::Kubeadm, "v1beta4", Span::since(31)),
    row(Component::Liveness, "/healthz", Span::since(6).deprecated(16)),
    row(Component::Liveness, "/livez", Span::since(16)),
    row(Component::Readiness, "/healthz", Span::since(6).deprecated(16)),
    row(Component::Flannel, "ghcr.io/flannel-io/flannel:v0.27.4", Span::since(9)),
    row(Component::FlannelPlugin, "ghcr.io/flannel-io/flannel-cni-plugin:v1.8.0-flannel1", Span::since(9)),
    row(Component::Readiness, "/readyz", Span::since(16)),
    row(Component::RoleLabel, "node-role.kubernetes.io/control-plane", Span::since(20)),
    row(Component::RoleLabel, "node-role.kubernetes.io/master", Span::since(6).deprecated(20).removed(25)),
    row(Component::RoleTaint, "node-role.kubernetes.io/control-plane", Span::since(24)),
    row(Component::RoleTaint, "node-role.kubernetes.io/master", Span::since(6).deprecated(24).removed(25)),
    // The other modes are supported until they are removed; nftables is GA since 1.33 and needs Linux 5.13.
    row(Component::ProxyMode, "iptables", Span::since(6).deprecated(33)),
    row(Component::ProxyMode, "nftables", Span::since(29)),
    row(Component::ProxyMode, "ipvs", Span::since(11).deprecated(35)),
    // `system:masters` bypasses RBAC, and its members' access can't be revoked.
    row(Component::AdminGroup, "system:masters", Span::since(6).deprecated(29)),
    row(Component::AdminGroup, "kubeadm:cluster-admins", Span::since(29)),
];
