//! kubelet: what its configuration file can't say.

use super::{Flag, computed, text};
use crate::render::fields::CONTAINERD;

pub(super) static FLAGS: &[Flag] = &[
    text("config", "/etc/kubernetes/kubelet.yaml").since(10),
    text("kubeconfig", "/etc/kubernetes/kubelet.conf"),
    // The default since 1.24, and gone in 1.27.
    text("container-runtime", "remote").until(23),
    text("container-runtime-endpoint", CONTAINERD).until(26),
    // Tells the garbage collector which image to keep; a fatal error since 1.35.
    computed("pod-infra-container-image", |facts| facts.sandbox_image()).until(34),
    computed("hostname-override", |facts| facts.node.name.clone()),
    computed("node-ip", |facts| facts.node.address.to_string()),
    computed("node-labels", |facts| facts.own_labels().join(",")),
    computed("register-with-taints", |facts| facts.node.taints.join(",")),
    text("v", "2"),
];
