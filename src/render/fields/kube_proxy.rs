//! `KubeProxyConfiguration`.

use serde_json::{Value, json};

use super::{Field, field};
use crate::words::ProxyMode;

pub(super) static FIELDS: &[Field] = &[
    field("clientConnection", |_| json!({ "kubeconfig": "/etc/kubernetes/kube-proxy.conf" })),
    field("hostnameOverride", |facts| json!(facts.node.name)),
    field("bindAddress", |facts| json!(if facts.node.address.is_ipv6() { "::" } else { "0.0.0.0" })),
    field("healthzBindAddress", |facts| json!(std::net::SocketAddr::new(facts.node.address, 10256).to_string())),
    field("metricsBindAddress", |_| json!("127.0.0.1:10249")),
    field("clusterCIDR", |facts| json!(facts.cluster.network.pods)),
    field("mode", |facts| json!(facts.cluster.proxy_mode())),
    // On by default since 1.31.
    field("featureGates", |facts| match facts.cluster.proxy_mode() {
        ProxyMode::Nftables => json!({ "NFTablesProxyMode": true }),
        ProxyMode::Iptables | ProxyMode::Ipvs => Value::Null,
    })
    .since(29)
    .until(30),
    // sysctl.d sets the limit; containers of the lab may not.
    field("conntrack", |_| json!({ "maxPerCore": 0 })),
];
