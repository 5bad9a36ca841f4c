//! `KubeProxyConfiguration`.

use serde_json::{Value, json};

use super::{Field, field};
use crate::words::{ProxyMode, Service};

pub(super) static FIELDS: &[Field] = &[
    field("clientConnection", |_| json!({ "kubeconfig": "/etc/kubernetes/kube-proxy.conf" })),
    field("hostnameOverride", |context| json!(context.node.name)),
    field("bindAddress", |context| json!(if context.node.address.is_ipv6() { "::" } else { "0.0.0.0" })),
    field("healthzBindAddress", |context| {
        json!(std::net::SocketAddr::new(context.node.address, Service::KubeProxyHealth.port()).to_string())
    }),
    field("metricsBindAddress", |_| json!(format!("127.0.0.1:{}", Service::KubeProxyMetrics.port()))),
    field("clusterCIDR", |context| json!(context.cluster.network.pods)),
    field("mode", |context| json!(context.cluster.proxy_mode())),
    // On by default since 1.31.
    field("featureGates", |context| match context.cluster.proxy_mode() {
        ProxyMode::Nftables => json!({ "NFTablesProxyMode": true }),
        ProxyMode::Iptables | ProxyMode::Ipvs => Value::Null,
    })
    .since(29)
    .before(31),
    // sysctl.d sets the limit; the lab's containers are not allowed to set it.
    field("conntrack", |_| json!({ "maxPerCore": 0 })),
];
