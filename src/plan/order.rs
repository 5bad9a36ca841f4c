//! Startup dependencies of components. Machines can be powered on in any order: each component waits for its
//! own dependencies.

use serde::Serialize;

use crate::plan::ImagePlan;

/// Components and their dependencies, in the order in which the components come up.
const WAITS: &[(&str, &str)] = &[
    ("firewall", "nothing; the network waits for the firewall"),
    ("cni-bridge", "nothing; the network waits for the bridge"),
    ("containerd", "nothing"),
    ("docker", "containerd"),
    ("preload", "the container runtime; the kubelet waits for the imported images"),
    ("etcd", "a majority of the etcd members"),
    ("kube-apiserver", "etcd"),
    ("haproxy-service", "nothing; HAProxy detects API servers as they start and stop"),
    ("haproxy-pod", "the local kubelet, and a local copy of the image"),
    ("nginx-service", "nothing; nginx tries API servers in turn"),
    ("ipvs", "nothing; keepalived detects API servers as they start and stop"),
    ("nginx-pod", "the local kubelet, and a local copy of the image"),
    ("segment", "the network; keepalived or kube-vip waits four seconds for the check"),
    ("keepalived-service", "a ready API server reachable through the machine"),
    ("keepalived-pod", "the local kubelet, and a ready API server reachable through the machine"),
    ("kube-vip", "the local kubelet and API server, its RBAC permissions, and the lease"),
    ("kube-controller-manager", "the local API server"),
    ("kube-scheduler", "the local API server"),
    ("kubeadm", "etcd, then the endpoint, to upload the cluster configuration or join the cluster"),
    ("rbac", "the first ready API server, to create the cluster's initial objects"),
    ("kubelet", "the endpoint"),
    ("kube-proxy", "the endpoint"),
];

/// Position of one component in the startup order.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Start {
    /// Name of the overlay.
    pub(crate) component: &'static str,
    pub(crate) waits_for: &'static str,
    pub(crate) nodes: Vec<String>,
}

/// Returns the startup order for these images.
pub(super) fn order(images: &[ImagePlan]) -> Vec<Start> {
    let start = |(component, waits_for): &(&'static str, &'static str)| {
        let with = images.iter().filter(|image| image.overlays.iter().any(|overlay| overlay == component));
        let nodes: Vec<String> = with.flat_map(|image| image.nodes.clone()).collect();
        (!nodes.is_empty()).then_some(Start { component, waits_for, nodes })
    };
    WAITS.iter().filter_map(start).collect()
}
