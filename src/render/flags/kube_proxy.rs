//! kube-proxy: since 1.9 a file overrides nearly every flag; before, there are only flags.

use super::{Flag, computed, text};

pub(super) static FLAGS: &[Flag] = &[
    text("config", "/etc/kubernetes/kube-proxy.yaml").since(9),
    text("kubeconfig", "/etc/kubernetes/kube-proxy.conf").until(8),
    computed("hostname-override", |facts| facts.node.name.clone()).until(8),
    text("bind-address", "0.0.0.0").until(8),
    // 1.6 has one port for health and metrics, which belongs on loopback.
    text("healthz-bind-address", "127.0.0.1").until(6),
    computed("healthz-bind-address", |facts| facts.node.address.to_string()).since(7).until(8),
    text("healthz-port", "10256").since(7).until(8),
    computed("cluster-cidr", |facts| facts.cluster.network.pods.to_string()).until(8),
    computed("proxy-mode", |facts| facts.cluster.proxy_mode().name().to_owned()).until(8),
    // sysctl.d sets the limit; containers of the lab may not.
    text("conntrack-max-per-core", "0").until(8),
    text("v", "2"),
];
