//! `KubeletConfiguration`.

use serde_json::{Value, json};

use super::{Field, field};
use crate::render::context::Facts;
use crate::words::CONTAINERD_SOCKET;
use crate::words::Runtime;

pub(super) static FIELDS: &[Field] = &[
    field("address", |facts| json!(facts.node.address)),
    field("port", |_| json!(10250)),
    field("readOnlyPort", |_| json!(0)),
    field("healthzBindAddress", |_| json!("127.0.0.1")),
    field("healthzPort", |_| json!(10248)),
    field("authentication", |_| {
        json!({
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true, "cacheTTL": "2m0s" },
            "x509": { "clientCAFile": "/etc/kubernetes/pki/ca.crt" },
        })
    }),
    field("authorization", |_| json!({ "mode": "Webhook" })),
    field("tlsCertFile", |_| json!("/etc/kubernetes/pki/kubelet-server.crt")),
    field("tlsPrivateKeyFile", |_| json!("/etc/kubernetes/pki/kubelet-server.key")),
    field("tlsMinVersion", |_| json!("VersionTLS12")),
    field("tlsCipherSuites", |_| {
        json!([
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        ])
    }),
    field("registerWithTaints", |facts| match &facts.cluster.taints(facts.node)[..] {
        [] => Value::Null,
        taints => json!(taints),
    })
    .since(23),
    // Certificates come with the seed, and nobody on the nodes could sign new ones.
    field("rotateCertificates", |_| json!(false)),
    field("containerRuntimeEndpoint", |_| json!(CONTAINERD_SOCKET)).since(27),
    field("cgroupDriver", |_| json!("systemd")),
    field("failSwapOn", |_| json!(true)),
    field("protectKernelDefaults", |_| json!(true)),
    field("seccompDefault", |_| json!(true)).since(25),
    // Needs a feature gate before.
    field("podPidsLimit", |_| json!(4096)).since(14),
    field("maxPods", |_| json!(110)),
    field("clusterDNS", |facts| json!([facts.cluster.dns_service_address()])),
    field("clusterDomain", |facts| json!(facts.cluster.network.domain)),
    field("resolvConf", |_| json!("/etc/resolv.conf")),
    field("staticPodPath", |_| json!("/etc/kubernetes/manifests")),
    field("volumePluginDir", |_| json!("/var/lib/kubelet/volumeplugins")).since(19),
    field("serializeImagePulls", |_| json!(false)),
    field("maxParallelImagePulls", |_| json!(5)).since(27),
    field("imageGCHighThresholdPercent", |_| json!(85)),
    field("imageGCLowThresholdPercent", |_| json!(80)),
    field("containerLogMaxSize", |facts| rotated(facts, json!("50Mi"))).since(11),
    field("containerLogMaxFiles", |facts| rotated(facts, json!(5))).since(11),
    field("eventRecordQPS", |_| json!(50)),
    field("streamingConnectionIdleTimeout", |_| json!("4h0m0s")),
    // Needs a feature gate in 1.20, so only from 1.21.
    field("shutdownGracePeriod", |_| json!("60s")).since(21),
    field("shutdownGracePeriodCriticalPods", |_| json!("20s")).since(21),
    field("systemReserved", |_| json!({ "cpu": "200m", "memory": "500Mi", "ephemeral-storage": "1Gi" })),
    field("kubeReserved", |_| json!({ "cpu": "200m", "memory": "500Mi", "ephemeral-storage": "1Gi" })),
    field("evictionHard", |_| {
        json!({
            "memory.available": "200Mi",
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "15%",
        })
    }),
];

/// A limit of pods' logs; Docker has those of its daemon, whose files the kubelet leaves alone.
fn rotated(facts: &Facts<'_>, limit: Value) -> Value {
    if facts.cluster.runtime == Runtime::Docker { Value::Null } else { limit }
}
