//! What waits for what when the machines are switched on. Nobody has to keep an order: each component waits by itself.

use serde::Serialize;

use crate::plan::ImagePlan;

/// Each component and what it waits for, in the order in which they become useful.
const WAITS: &[(&str, &str)] = &[
    ("firewall", "nothing; the network waits for it"),
    ("cni-bridge", "nothing; the network waits for it"),
    ("containerd", "nothing"),
    ("docker", "containerd"),
    ("preload", "the container runtime; the kubelet waits for it"),
    ("etcd", "a majority of its members"),
    ("kube-apiserver", "etcd"),
    ("haproxy-service", "nothing; it sees API servers come and go"),
    ("haproxy-pod", "the kubelet of its machine, and its image there"),
    ("nginx-service", "nothing; it tries API servers in turn"),
    ("ipvs", "nothing; it sees API servers come and go"),
    ("nginx-pod", "the kubelet of its machine, and its image there"),
    ("segment", "the network; what carries the VIP waits for it, four seconds"),
    ("keepalived-service", "a ready API server behind its machine"),
    ("keepalived-pod", "the kubelet of its machine, and a ready API server behind it"),
    ("kube-vip", "the kubelet and the API server of its machine, its rights, and the lease"),
    ("kube-controller-manager", "the API server of its machine"),
    ("kube-scheduler", "the API server of its machine"),
    ("kubeadm", "etcd, then the endpoint, to record the cluster or to join it"),
    ("rbac", "the first ready API server, for the first objects of the cluster"),
    ("kubelet", "the endpoint"),
    ("kube-proxy", "the endpoint"),
];

/// One component's place in the order.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Start {
    /// Name of the overlay.
    pub(crate) component: &'static str,
    pub(crate) waits_for: &'static str,
    pub(crate) nodes: Vec<String>,
}

/// The order for these images.
pub(super) fn order(images: &[ImagePlan]) -> Vec<Start> {
    let start = |(component, waits_for): &(&'static str, &'static str)| {
        let with = images.iter().filter(|image| image.overlays.iter().any(|overlay| overlay == component));
        let nodes: Vec<String> = with.flat_map(|image| image.nodes.clone()).collect();
        (!nodes.is_empty()).then_some(Start { component, waits_for, nodes })
    };
    WAITS.iter().filter_map(start).collect()
}
