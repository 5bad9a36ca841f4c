//! kube-controller-manager flags. It has no CA key, so it signs no certificates.

use super::{Flag, computed, text};
use crate::words::{NetworkPlugin, Service};

pub(super) static FLAGS: &[Flag] = &[
    text("bind-address", "127.0.0.1").since(12),
    computed("secure-port", |_| Service::ControllerManager.port().to_string()).since(12),
    // No TLS port before 1.12: metrics and health without TLS, on loopback.
    text("address", "127.0.0.1").before(12),
    text("port", "0").since(12).before(22),
    text("tls-cert-file", "/etc/kubernetes/pki/controller-manager-server.crt").since(12),
    text("tls-private-key-file", "/etc/kubernetes/pki/controller-manager-server.key").since(12),
    text("tls-min-version", "VersionTLS12").since(12),
    text("kubeconfig", "/etc/kubernetes/controller-manager.conf"),
    text("authentication-kubeconfig", "/etc/kubernetes/controller-manager.conf").since(12),
    text("authorization-kubeconfig", "/etc/kubernetes/controller-manager.conf").since(12),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt").since(12),
    text("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt").since(12),
    // With `bridge`, the cluster file determines the pod networks, and the controller manager must not assign
    // any.
    computed("allocate-node-cidrs", |context| {
        (context.cluster.network.plugin != NetworkPlugin::Bridge).to_string()
    }),
    computed("cluster-cidr", |context| context.cluster.network.pods.to_string()),
    computed("node-cidr-mask-size", |context| context.cluster.network.pods_per_node_prefix.to_string()),
    computed("service-cluster-ip-range", |context| context.cluster.network.services.to_string()),
    computed("cluster-name", |context| context.cluster.name.clone()),
    // Kubelet certificates come with the seeds; no node has the CA key.
    text("controllers", "*,-certificatesigningrequests").before(7),
    text("controllers", "*,-csrsigning").since(7).before(28),
    text("controllers", "*,-certificatesigningrequest-signing-controller").since(28),
    text("root-ca-file", "/etc/kubernetes/pki/ca.crt"),
    text("service-account-private-key-file", "/etc/kubernetes/pki/sa.key"),
    text("use-service-account-credentials", "true"),
    text("leader-elect", "true"),
    text("leader-elect-resource-lock", "leases").since(14),
    // A new leader takes over after 7 s instead of 18 s with the defaults of 15, 10 and 2 s. A leader exits
    // when it has not renewed for 4 s: longer than an etcd election, a VIP failover or the removal of a hung
    // API server takes, which leaves time for a second attempt (each may take half of the deadline:
    // client-go, resourcelock.NewFromKubeconfig).
    text("leader-elect-lease-duration", "6s"),
    text("leader-elect-renew-deadline", "4s"),
    text("leader-elect-retry-period", "1s"),
    text("node-monitor-period", "5s"),
    text("node-monitor-grace-period", "40s").before(32),
    text("node-monitor-grace-period", "50s").since(32),
    text("terminated-pod-gc-threshold", "1000"),
    // The image's /usr is read-only.
    text("flex-volume-plugin-dir", "/var/lib/kubelet/volumeplugins"),
    text("profiling", "false"),
    text("v", "2"),
];
