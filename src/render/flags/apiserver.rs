//! kube-apiserver flags.

use super::{CIPHER_SUITES, Flag, computed, text};
use crate::words::{Component, KubernetesVersion, Service};

/// Time that an API server waits for etcd before it reports that it is not ready, in milliseconds. The check
/// is a quorum read, which takes a heartbeat; an election takes longer, and no API server is ready during an
/// election. A member whose disk needs 200 ms per write usually exceeds the limit, and clients should use
/// another server.
const ETCD_WAIT: u32 = 500;

/// Fixed limit of versions that have no flag for it.
const FIXED_ETCD_WAIT: u32 = 2000;

/// First version whose readiness endpoint has its own etcd check with its own limit, in addition to the
/// liveness check (kubernetes#111399).
const ASKS_TWICE: u32 = 25;

/// Returns the time that a balancer waits for both health checks of an API server, in milliseconds. It
/// exceeds the API server's own wait for etcd; otherwise a server with a hung etcd would look hung itself.
/// The margin covers a TCP segment that is lost twice (RFC 6298, with a minimum of 200 ms on Linux);
/// otherwise three checks in a row would fail because of a bad cable.
pub(in crate::render) fn health_limit(kubernetes: KubernetesVersion) -> u32 {
    if kubernetes.at_least(20) { ETCD_WAIT + 1000 } else { FIXED_ETCD_WAIT + 500 }
}

/// Returns the path of an API server's readiness check that queries etcd once.
pub(in crate::render) fn readiness(kubernetes: KubernetesVersion) -> String {
    let path = kubernetes.companion(Component::Readiness);
    if kubernetes.at_least(ASKS_TWICE) { format!("{path}?exclude=etcd") } else { path.to_owned() }
}

pub(super) static FLAGS: &[Flag] = &[
    // A local balancer uses the same port on the VIP and on loopback, so the API server must leave them free.
    computed("bind-address", |context| match context.cluster.endpoint.balancer.proxy {
        None if context.node.address.is_ipv6() => "::".to_owned(),
        None => "0.0.0.0".to_owned(),
        Some(_) => context.node.address.to_string(),
    }),
    computed("secure-port", |_| Service::ApiServer.port().to_string()),
    computed("advertise-address", |context| context.node.address.to_string()),
    // No effect since 1.20, removed in 1.24; in earlier versions the port must be closed explicitly.
    text("insecure-port", "0").before(20),
    computed("etcd-servers", |context| context.local_etcd()),
    text("etcd-cafile", "/etc/kubernetes/pki/etcd/ca.crt"),
    text("etcd-certfile", "/etc/kubernetes/pki/apiserver-etcd-client.crt"),
    text("etcd-keyfile", "/etc/kubernetes/pki/apiserver-etcd-client.key"),
    // kubernetes#93244.
    computed("etcd-healthcheck-timeout", |_| format!("{ETCD_WAIT}ms")).since(20),
    computed("etcd-readycheck-timeout", |_| format!("{ETCD_WAIT}ms")).since(ASKS_TWICE),
    // Without it a read may return stale data from a member that lags; always on since 1.9.
    text("etcd-quorum-read", "true").before(9),
    text("tls-cert-file", "/etc/kubernetes/pki/apiserver.crt"),
    text("tls-private-key-file", "/etc/kubernetes/pki/apiserver.key"),
    text("tls-min-version", "VersionTLS12").since(10),
    text("tls-cipher-suites", CIPHER_SUITES).since(10),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    // Health probes do not use a certificate. Since 1.32 a file restricts anonymous requests to them.
    text("anonymous-auth", "true").before(32),
    text("authentication-config", "/etc/kubernetes/authentication.yaml").since(32),
    text("authorization-mode", "RBAC").before(7),
    text("authorization-mode", "Node,RBAC").since(7),
    text("admission-control", ADMISSION_1_6).before(7),
    text("admission-control", ADMISSION_1_7).since(7).before(9),
    text("admission-control", ADMISSION_1_9).since(9).before(10),
    text("enable-admission-plugins", "NodeRestriction").since(10).before(21),
    text("enable-admission-plugins", "NodeRestriction,DenyServiceExternalIPs").since(21),
    text("kubelet-client-certificate", "/etc/kubernetes/pki/apiserver-kubelet-client.crt"),
    text("kubelet-client-key", "/etc/kubernetes/pki/apiserver-kubelet-client.key"),
    text("kubelet-certificate-authority", "/etc/kubernetes/pki/ca.crt"),
    text("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname"),
    text("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt"),
    text("requestheader-allowed-names", "front-proxy-client"),
    text("requestheader-username-headers", "X-Remote-User"),
    text("requestheader-group-headers", "X-Remote-Group"),
    text("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
    text("requestheader-uid-headers", "X-Remote-Uid").since(32),
    text("proxy-client-cert-file", "/etc/kubernetes/pki/front-proxy-client.crt").since(7),
    text("proxy-client-key-file", "/etc/kubernetes/pki/front-proxy-client.key").since(7),
    computed("service-account-issuer", |context| {
        format!("https://kubernetes.default.svc.{}", context.cluster.network.domain)
    })
    .since(20),
    text("service-account-signing-key-file", "/etc/kubernetes/pki/sa.key").since(20),
    text("service-account-key-file", "/etc/kubernetes/pki/sa.pub"),
    text("service-account-lookup", "true"),
    text("service-account-extend-token-expiration", "false").since(21),
    computed("service-cluster-ip-range", |context| context.cluster.network.services.to_string()),
    computed("service-node-port-range", |context| {
        let ports = context.cluster.network.node_ports;
        format!("{}-{}", ports.first, ports.last)
    }),
    text("allow-privileged", "true"),
    computed("apiserver-count", |context| context.control_plane().len().to_string()).before(9),
    text("endpoint-reconciler-type", "lease").since(9),
    text("experimental-encryption-provider-config", "/etc/kubernetes/encryption.yaml").since(7).before(13),
    text("encryption-provider-config", "/etc/kubernetes/encryption.yaml").since(13),
    text("encryption-provider-config-automatic-reload", "true").since(26),
    // Without a policy nothing is logged, whatever the path.
    text("audit-policy-file", "/etc/kubernetes/audit-policy.yaml").since(8),
    text("audit-log-path", "/var/log/kubernetes/audit.log"),
    text("audit-log-maxage", "30"),
    text("audit-log-maxbackup", "10"),
    text("audit-log-maxsize", "100"),
    text("profiling", "false"),
    text("event-ttl", "1h"),
    text("request-timeout", "60s").since(10),
    // Closes HTTP/2 connections at random, so that clients spread over the servers; useless with a single
    // server.
    computed("goaway-chance", |context| {
        if context.control_plane().len() > 1 { "0.001" } else { "0" }.to_owned()
    })
    .since(18),
    // Balancers see /readyz fail before the port closes.
    text("shutdown-delay-duration", "10s").since(16),
    text("shutdown-send-retry-after", "true").since(23),
    text("shutdown-watch-termination-grace-period", "10s").since(27),
    text("v", "2"),
];

/// Complete, ordered list of admission plug-ins; replaced by an additive flag in 1.10.
const ADMISSION_1_6: &str = "NamespaceLifecycle,LimitRanger,ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,ResourceQuota";
const ADMISSION_1_7: &str = "NamespaceLifecycle,LimitRanger,ServiceAccount,NodeRestriction,DefaultStorageClass,DefaultTolerationSeconds,ResourceQuota";
/// With webhooks, which are beta and enabled; mutating ones precede validating ones, and quota is last.
const ADMISSION_1_9: &str = "NamespaceLifecycle,LimitRanger,ServiceAccount,NodeRestriction,DefaultStorageClass,DefaultTolerationSeconds,\
    MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ResourceQuota";
