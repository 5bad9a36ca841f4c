//! kube-apiserver.

use super::{CIPHER_SUITES, Flag, computed, text};
use crate::words::{API_SERVER_PORT, KubernetesVersion, Part};

/// How long an API server waits for etcd before it says that it isn't ready, in milliseconds. It reads a key through a quorum, which
/// takes a heartbeat; an election takes longer, and none is ready meanwhile. A member whose disk takes 200 ms to write answers later most
/// of the time, and clients are better off elsewhere.
const ETCD_WAIT: u32 = 500;

/// The same before there was a flag for it.
const FIXED_ETCD_WAIT: u32 = 2000;

/// The version from which on readiness asks etcd on its own account, with a limit of its own, beside what its life asks
/// (kubernetes#111399).
const ASKS_TWICE: u32 = 25;

/// How long a balancer waits for both answers of an API server about its health, in milliseconds: longer than that one waits for etcd,
/// else a server with a hung etcd would be taken for one that hangs itself; and longer by what a segment takes that is lost twice (RFC
/// 6298, from 200 ms on in Linux), else a bad cable makes three checks in a row fail.
pub(in crate::render) fn health_limit(kubernetes: KubernetesVersion) -> u32 {
    if kubernetes.at_least(20) { ETCD_WAIT + 1000 } else { FIXED_ETCD_WAIT + 500 }
}

/// Where an API server says whether it is ready, having asked etcd once.
pub(in crate::render) fn readiness(kubernetes: KubernetesVersion) -> String {
    let path = kubernetes.companion(Part::Readiness);
    if kubernetes.at_least(ASKS_TWICE) { format!("{path}?exclude=etcd") } else { path.to_owned() }
}

pub(super) static FLAGS: &[Flag] = &[
    // A balancer of ours takes the same port on the VIP and on loopback, so the API server must leave them free.
    computed("bind-address", |facts| match facts.cluster.endpoint.balancer.proxy {
        None if facts.node.address.is_ipv6() => "::".to_owned(),
        None => "0.0.0.0".to_owned(),
        Some(_) => facts.node.address.to_string(),
    }),
    computed("secure-port", |_| API_SERVER_PORT.to_string()),
    computed("advertise-address", |facts| facts.node.address.to_string()),
    // Inert in 1.20 and gone in 1.24; before, it has to be closed.
    text("insecure-port", "0").until(19).deprecated(10).removed(24),
    computed("etcd-servers", |facts| facts.api_servers_etcd().to_owned()),
    text("etcd-cafile", "/etc/kubernetes/pki/etcd/ca.crt"),
    text("etcd-certfile", "/etc/kubernetes/pki/apiserver-etcd-client.crt"),
    text("etcd-keyfile", "/etc/kubernetes/pki/apiserver-etcd-client.key"),
    // kubernetes#93244.
    computed("etcd-healthcheck-timeout", |_| format!("{ETCD_WAIT}ms")).since(20),
    computed("etcd-readycheck-timeout", |_| format!("{ETCD_WAIT}ms")).since(ASKS_TWICE),
    // Without it a read may come from a member that is behind; since 1.9 the only behaviour.
    text("etcd-quorum-read", "true").until(8).deprecated(9).removed(13),
    text("tls-cert-file", "/etc/kubernetes/pki/apiserver.crt"),
    text("tls-private-key-file", "/etc/kubernetes/pki/apiserver.key"),
    text("tls-min-version", "VersionTLS12").since(10),
    text("tls-cipher-suites", CIPHER_SUITES).since(10),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    // Health probes come without a certificate. Since 1.32 a file confines anonymous requests to them.
    text("anonymous-auth", "true").until(31),
    text("authentication-config", "/etc/kubernetes/authentication.yaml").since(32),
    text("authorization-mode", "RBAC").until(6),
    text("authorization-mode", "Node,RBAC").since(7),
    text("admission-control", ADMISSION_1_6).until(6).deprecated(10),
    text("admission-control", ADMISSION_1_7).since(7).until(8).deprecated(10),
    text("admission-control", ADMISSION_1_9).since(9).until(9).deprecated(10),
    text("enable-admission-plugins", "NodeRestriction").since(10).until(20),
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
    computed("service-account-issuer", |facts| format!("https://kubernetes.default.svc.{}", facts.cluster.network.domain)).since(20),
    text("service-account-signing-key-file", "/etc/kubernetes/pki/sa.key").since(20),
    text("service-account-key-file", "/etc/kubernetes/pki/sa.pub"),
    text("service-account-lookup", "true"),
    text("service-account-extend-token-expiration", "false").since(21),
    computed("service-cluster-ip-range", |facts| facts.cluster.network.services.to_string()),
    computed("service-node-port-range", |facts| {
        let ports = facts.cluster.network.node_ports;
        format!("{}-{}", ports.first, ports.last)
    }),
    text("allow-privileged", "true"),
    computed("apiserver-count", |facts| facts.control_plane().len().to_string()).until(8).deprecated(24),
    text("endpoint-reconciler-type", "lease").since(9),
    text("experimental-encryption-provider-config", "/etc/kubernetes/encryption.yaml").since(7).until(12).deprecated(13).removed(24),
    text("encryption-provider-config", "/etc/kubernetes/encryption.yaml").since(13),
    text("encryption-provider-config-automatic-reload", "true").since(26),
    // Without a policy nothing is written, whatever the path.
    text("audit-policy-file", "/etc/kubernetes/audit-policy.yaml").since(8),
    text("audit-log-path", "/var/log/kubernetes/audit.log"),
    text("audit-log-maxage", "30"),
    text("audit-log-maxbackup", "10"),
    text("audit-log-maxsize", "100"),
    text("profiling", "false"),
    text("event-ttl", "1h"),
    text("request-timeout", "60s").since(10),
    // Moves HTTP/2 clients off one server now and then; pointless with a single server.
    computed("goaway-chance", |facts| if facts.control_plane().len() > 1 { "0.001" } else { "0" }.to_owned()).since(18),
    // Balancers see /readyz fail before the port closes.
    text("shutdown-delay-duration", "10s").since(16),
    text("shutdown-send-retry-after", "true").since(23),
    text("shutdown-watch-termination-grace-period", "10s").since(27),
    text("v", "2"),
];

/// Replaced by an additive flag in 1.10. The list is the whole list, and plug-ins run in its order.
const ADMISSION_1_6: &str = "NamespaceLifecycle,LimitRanger,ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,ResourceQuota";
const ADMISSION_1_7: &str =
    "NamespaceLifecycle,LimitRanger,ServiceAccount,NodeRestriction,DefaultStorageClass,DefaultTolerationSeconds,ResourceQuota";
/// Webhooks are beta and on; what they change must come before what they check, and quota last.
const ADMISSION_1_9: &str = "NamespaceLifecycle,LimitRanger,ServiceAccount,NodeRestriction,DefaultStorageClass,DefaultTolerationSeconds,\
    MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ResourceQuota";
