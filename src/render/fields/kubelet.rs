//! `KubeletConfiguration`.

use serde_json::{Value, json};

use super::{Field, field};
use crate::render::context::NodeContext;
use crate::words::{CONTAINERD_SOCKET, Runtime, Service};

pub(super) static FIELDS: &[Field] = &[
    field("address", |context| json!(context.node.address)),
    field("port", |_| json!(Service::Kubelet.port())),
    field("readOnlyPort", |_| json!(0)),
    field("healthzBindAddress", |_| json!("127.0.0.1")),
    field("healthzPort", |_| json!(Service::KubeletHealth.port())),
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
    field("registerWithTaints", |context| match &context.cluster.taints(context.node)[..] {
        [] => Value::Null,
        taints => json!(taints),
    })
    .since(23),
    // Certificates come with the seed, and no node can sign new ones.
    field("rotateCertificates", |_| json!(false)),
    field("containerRuntimeEndpoint", |_| json!(CONTAINERD_SOCKET)).since(27),
    field("cgroupDriver", |_| json!("systemd")),
    field("failSwapOn", |_| json!(true)),
    field("protectKernelDefaults", |_| json!(true)),
    field("seccompDefault", |_| json!(true)).since(25),
    // Needs a feature gate in earlier versions.
    field("podPidsLimit", |_| json!(4096)).since(14),
    field("maxPods", |_| json!(110)),
    field("clusterDNS", |context| json!([context.cluster.dns_service_address()])),
    field("clusterDomain", |context| json!(context.cluster.network.domain)),
    field("resolvConf", |_| json!("/etc/resolv.conf")),
    field("staticPodPath", |_| json!("/etc/kubernetes/manifests")),
    field("volumePluginDir", |_| json!("/var/lib/kubelet/volumeplugins")).since(19),
    field("serializeImagePulls", |_| json!(false)),
    field("maxParallelImagePulls", |_| json!(5)).since(27),
    field("imageGCHighThresholdPercent", |_| json!(85)),
    field("imageGCLowThresholdPercent", |_| json!(80)),
    field("containerLogMaxSize", |context| rotated(context, json!("50Mi"))).since(11),
    field("containerLogMaxFiles", |context| rotated(context, json!(5))).since(11),
    field("eventRecordQPS", |_| json!(50)),
    field("streamingConnectionIdleTimeout", |_| json!("4h0m0s")),
    // Needs a feature gate in 1.20, so it is set only in 1.21 and later.
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

/// Returns a limit for pod logs; none with Docker, whose daemon rotates its own log files.
fn rotated(context: &NodeContext<'_>, limit: Value) -> Value {
    if context.cluster.runtime == Runtime::Docker { Value::Null } else { limit }
}
