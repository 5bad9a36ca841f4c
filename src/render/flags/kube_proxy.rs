//! kube-proxy flags: since 1.9 a file overrides nearly every flag; earlier versions have only flags.

use super::{Flag, computed, text};
use crate::words::Service;

pub(super) static FLAGS: &[Flag] = &[
    text("config", "/etc/kubernetes/kube-proxy.yaml").since(9),
    text("kubeconfig", "/etc/kubernetes/kube-proxy.conf").before(9),
    computed("hostname-override", |context| context.node.name.clone()).before(9),
    text("bind-address", "0.0.0.0").before(9),
    // 1.6 has one port for health and metrics, which must be on loopback.
    text("healthz-bind-address", "127.0.0.1").before(7),
    computed("healthz-bind-address", |context| context.node.address.to_string()).since(7).before(9),
    computed("healthz-port", |_| Service::KubeProxyHealth.port().to_string()).since(7).before(9),
    computed("cluster-cidr", |context| context.cluster.network.pods.to_string()).before(9),
    computed("proxy-mode", |context| context.cluster.proxy_mode().name().to_owned()).before(9),
    // sysctl.d sets the limit; the lab's containers are not allowed to set it.
    text("conntrack-max-per-core", "0").before(9),
    text("v", "2"),
];
