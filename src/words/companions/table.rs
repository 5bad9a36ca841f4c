//! The rows. Sources: the release notes of Kubernetes, kubeadm's constants by tag, containerd's table of releases.

use super::{Companion, Part, Span};

const fn row(part: Part, version: &'static str, span: Span) -> Companion {
    Companion { part, version, span }
}

/// Every companion; the versions of one part from the oldest to the newest.
pub(crate) static COMPANIONS: &[Companion] = &[
    // API servers speak version 3 of etcd's API, which every 3.x serves; kubeadm takes no external etcd that is older than
    // a bound of its own (3.2 from 1.12 on, 3.5 in 1.36).
    row(Part::Etcd, "3.1", Span::since(6).deprecated(11).removed(12)),
    row(Part::Etcd, "3.2", Span::since(6).deprecated(14).removed(36)),
    row(Part::Etcd, "3.3", Span::since(6).deprecated(17).removed(36)),
    row(Part::Etcd, "3.4", Span::since(6).deprecated(22).removed(36)),
    row(Part::Etcd, "3.5", Span::since(6).deprecated(34)),
    row(Part::Etcd, "3.6", Span::since(6)),
    row(Part::Cri, "v1alpha1", Span::since(6).removed(10)),
    row(Part::Cri, "v1alpha2", Span::since(10).deprecated(23).removed(26)),
    row(Part::Cri, "v1", Span::since(23)),
    // 1.4 and 1.5 speak v1alpha2, 1.6 and 1.7 both, 2.x only v1; v1alpha1 was that of prototypes.
    row(Part::Containerd, "1.4", Span::since(10).deprecated(24).removed(26)),
    row(Part::Containerd, "1.5", Span::since(10).deprecated(24).removed(26)),
    row(Part::Containerd, "1.6", Span::since(10).deprecated(36)),
    row(Part::Containerd, "1.7", Span::since(10).deprecated(36)),
    row(Part::Containerd, "2.0", Span::since(23).deprecated(36)),
    row(Part::Containerd, "2.1", Span::since(23).deprecated(36)),
    row(Part::Containerd, "2.2", Span::since(23)),
    // The shim went in 1.24. It reads sizes that Docker's API has up to 1.43; 29 speaks nothing older than 1.44, so no kubelet goes with it.
    row(Part::Docker, "20.10", Span::since(6).deprecated(20).removed(24)),
    row(Part::Docker, "26.1", Span::since(6).deprecated(20).removed(24)),
    row(Part::Docker, "28.5", Span::since(6).deprecated(20).removed(24)),
    // That of the libcni which the kubelet was built with: 0.6 up to 1.15, 0.7 and later since. Every runtime's own reads both.
    row(Part::Cni, "0.3.1", Span::since(6).deprecated(16)),
    row(Part::Cni, "0.4.0", Span::since(16)),
    row(Part::Cgroups, "v1", Span::since(6).deprecated(31).removed(35)),
    row(Part::Cgroups, "v2", Span::since(19)),
    row(Part::Pause, "3.1", Span::since(6).deprecated(18)),
    row(Part::Pause, "3.2", Span::since(18).deprecated(21)),
    row(Part::Pause, "3.4.1", Span::since(21).deprecated(22)),
    row(Part::Pause, "3.5", Span::since(22).deprecated(23)),
    row(Part::Pause, "3.6", Span::since(23).deprecated(24)),
    row(Part::Pause, "3.7", Span::since(24).deprecated(25)),
    row(Part::Pause, "3.8", Span::since(25).deprecated(26)),
    row(Part::Pause, "3.9", Span::since(26).deprecated(31)),
    row(Part::Pause, "3.10", Span::since(31).deprecated(34)),
    row(Part::Pause, "3.10.1", Span::since(34).deprecated(36)),
    row(Part::Pause, "3.10.2", Span::since(36)),
    row(Part::Registry, "k8s.gcr.io", Span::since(6).deprecated(25)),
    row(Part::Registry, "registry.k8s.io", Span::since(25)),
    row(Part::Dns, "kube-dns", Span::since(6).deprecated(11).removed(21)),
    row(Part::Dns, "CoreDNS 1.1.3", Span::since(11).deprecated(12)),
    row(Part::Dns, "CoreDNS 1.2.2", Span::since(12).deprecated(13)),
    row(Part::Dns, "CoreDNS 1.2.6", Span::since(13).deprecated(14)),
    row(Part::Dns, "CoreDNS 1.3.1", Span::since(14).deprecated(16)),
    row(Part::Dns, "CoreDNS 1.6.2", Span::since(16).deprecated(17)),
    row(Part::Dns, "CoreDNS 1.6.5", Span::since(17).deprecated(18)),
    row(Part::Dns, "CoreDNS 1.6.7", Span::since(18).deprecated(19)),
    row(Part::Dns, "CoreDNS 1.7.0", Span::since(19).deprecated(21)),
    row(Part::Dns, "CoreDNS 1.8.0", Span::since(21).deprecated(22)),
    row(Part::Dns, "CoreDNS 1.8.4", Span::since(22).deprecated(23)),
    row(Part::Dns, "CoreDNS 1.8.6", Span::since(23).deprecated(25)),
    row(Part::Dns, "CoreDNS 1.9.3", Span::since(25).deprecated(27)),
    row(Part::Dns, "CoreDNS 1.10.1", Span::since(27).deprecated(29)),
    row(Part::Dns, "CoreDNS 1.11.1", Span::since(29).deprecated(31)),
    row(Part::Dns, "CoreDNS 1.11.3", Span::since(31).deprecated(33)),
    row(Part::Dns, "CoreDNS 1.12.0", Span::since(33).deprecated(34)),
    row(Part::Dns, "CoreDNS 1.12.1", Span::since(34).deprecated(35)),
    row(Part::Dns, "CoreDNS 1.13.1", Span::since(35)),
    row(Part::Crictl, "1.0.0-alpha", Span::since(6).removed(10)),
    row(Part::Crictl, "1.0.0-beta", Span::since(10).removed(11)),
    row(Part::Crictl, "of the same minor", Span::since(11)),
    // `kubeadm init phase` came with v1beta1; what was before can't be driven step by step.
    row(Part::Kubeadm, "v1alpha3", Span::since(12).deprecated(13).removed(14)),
    row(Part::Kubeadm, "v1beta1", Span::since(13).deprecated(15).removed(22)),
    row(Part::Kubeadm, "v1beta2", Span::since(15).deprecated(22).removed(27)),
    row(Part::Kubeadm, "v1beta3", Span::since(22).deprecated(31).removed(37)),
    row(Part::Kubeadm, "v1beta4", Span::since(31)),
    row(Part::Liveness, "/healthz", Span::since(6).deprecated(16)),
    row(Part::Liveness, "/livez", Span::since(16)),
    row(Part::Readiness, "/healthz", Span::since(6).deprecated(16)),
    row(Part::Flannel, "ghcr.io/flannel-io/flannel:v0.27.4", Span::since(9)),
    row(Part::FlannelPlugin, "ghcr.io/flannel-io/flannel-cni-plugin:v1.8.0-flannel1", Span::since(9)),
    row(Part::Readiness, "/readyz", Span::since(16)),
    row(Part::RoleLabel, "node-role.kubernetes.io/control-plane", Span::since(20)),
    row(Part::RoleLabel, "node-role.kubernetes.io/master", Span::since(6).deprecated(20).removed(25)),
    row(Part::RoleTaint, "node-role.kubernetes.io/control-plane", Span::since(24)),
    row(Part::RoleTaint, "node-role.kubernetes.io/master", Span::since(6).deprecated(24).removed(25)),
    // The others stay for as long as they are not removed; nftables is general since 1.33, and needs Linux 5.13.
    row(Part::ProxyMode, "iptables", Span::since(6).deprecated(33)),
    row(Part::ProxyMode, "nftables", Span::since(29)),
    row(Part::ProxyMode, "ipvs", Span::since(11).deprecated(35)),
    // `system:masters` passes by every check of RBAC, and who has it can't be shut out.
    row(Part::AdminGroup, "system:masters", Span::since(6).deprecated(29)),
    row(Part::AdminGroup, "kubeadm:cluster-admins", Span::since(29)),
];
