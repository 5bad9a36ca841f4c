//! kube-controller-manager. It holds no authority's key, so it signs no certificates.

use super::{Flag, computed, text};
use crate::words::NetworkPlugin;

pub(super) static FLAGS: &[Flag] = &[
    text("bind-address", "127.0.0.1").since(12),
    text("secure-port", "10257").since(12),
    // Before 1.12 there is no port with TLS: metrics and health without it, on loopback.
    text("address", "127.0.0.1").until(11).deprecated(12).removed(24),
    text("port", "0").since(12).until(21).deprecated(12).removed(24),
    text("tls-cert-file", "/etc/kubernetes/pki/controller-manager-server.crt").since(12),
    text("tls-private-key-file", "/etc/kubernetes/pki/controller-manager-server.key").since(12),
    text("tls-min-version", "VersionTLS12").since(12),
    text("kubeconfig", "/etc/kubernetes/controller-manager.conf"),
    text("authentication-kubeconfig", "/etc/kubernetes/controller-manager.conf").since(12),
    text("authorization-kubeconfig", "/etc/kubernetes/controller-manager.conf").since(12),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt").since(12),
    text("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt").since(12),
    // Where the nodes' networks follow from the cluster file, nobody else may hand out any.
    computed("allocate-node-cidrs", |facts| (facts.cluster.network.plugin != NetworkPlugin::Bridge).to_string()),
    computed("cluster-cidr", |facts| facts.cluster.network.pods.to_string()),
    computed("node-cidr-mask-size", |facts| facts.cluster.network.pods_per_node_prefix.to_string()),
    computed("service-cluster-ip-range", |facts| facts.cluster.network.services.to_string()),
    computed("cluster-name", |facts| facts.cluster.name.clone()),
    // Kubelets' certificates come with the seeds; the authority's key is on no node.
    text("controllers", "*,-certificatesigningrequests").until(6),
    text("controllers", "*,-csrsigning").since(7).until(27),
    text("controllers", "*,-certificatesigningrequest-signing-controller").since(28),
    text("root-ca-file", "/etc/kubernetes/pki/ca.crt"),
    text("service-account-private-key-file", "/etc/kubernetes/pki/sa.key"),
    text("use-service-account-credentials", "true"),
    text("leader-elect", "true"),
    text("leader-elect-resource-lock", "leases").since(14),
    // Another one leads after 7 s, and not after 18 as by the defaults of 15, 10 and 2 s. A leader ends itself when it has not renewed for
    // 4 s: longer than an election of etcd, the move of the VIP or the cut of an API server that hangs takes, after which it still has
    // the time for a second attempt (each may take half of the deadline: client-go, resourcelock.NewFromKubeconfig).
    text("leader-elect-lease-duration", "6s"),
    text("leader-elect-renew-deadline", "4s"),
    text("leader-elect-retry-period", "1s"),
    text("node-monitor-period", "5s"),
    text("node-monitor-grace-period", "40s").until(31),
    text("node-monitor-grace-period", "50s").since(32),
    text("terminated-pod-gc-threshold", "1000"),
    // The image's /usr is read-only.
    text("flex-volume-plugin-dir", "/var/lib/kubelet/volumeplugins"),
    text("profiling", "false"),
    text("v", "2"),
];
