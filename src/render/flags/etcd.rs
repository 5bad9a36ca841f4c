//! etcd flags for each minor version of etcd, 3.1 to 3.6; the suite or the cluster file determines the
//! version.

use super::{CIPHER_SUITES, Flag, computed, text};
use crate::render::context::NodeContext;
use crate::words::{EtcdVersion, Service};

/// Returns the value of a flag that a patch release introduced; empty for older releases.
fn since(context: &NodeContext<'_>, version: EtcdVersion, value: &str) -> String {
    if context.cluster.etcd_version() >= version { value.to_owned() } else { String::new() }
}

const AES_SUITES: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";

pub(super) static FLAGS: &[Flag] = &[
    computed("name", |context| context.node.name.clone()),
    text("data-dir", "/var/lib/etcd"),
    computed("listen-peer-urls", |context| context.url(context.node, Service::EtcdPeers.port())),
    computed("initial-advertise-peer-urls", |context| context.url(context.node, Service::EtcdPeers.port())),
    computed("listen-client-urls", |context| {
        format!("{},{}", context.url(context.node, Service::Etcd.port()), context.local_etcd())
    }),
    computed("advertise-client-urls", |context| context.url(context.node, Service::Etcd.port())),
    // Health and metrics without a certificate; loopback only.
    computed("listen-metrics-urls", |_| format!("http://127.0.0.1:{}", Service::EtcdMetrics.port())).since(3),
    computed("initial-cluster", |context| context.initial_cluster()),
    text("initial-cluster-state", "new"),
    computed("initial-cluster-token", |context| context.cluster_id.to_owned()),
    text("client-cert-auth", "true"),
    text("trusted-ca-file", "/etc/kubernetes/pki/etcd/ca.crt"),
    text("cert-file", "/etc/kubernetes/pki/etcd/server.crt"),
    text("key-file", "/etc/kubernetes/pki/etcd/server.key"),
    text("peer-client-cert-auth", "true"),
    text("peer-trusted-ca-file", "/etc/kubernetes/pki/etcd/ca.crt"),
    text("peer-cert-file", "/etc/kubernetes/pki/etcd/peer.crt"),
    text("peer-key-file", "/etc/kubernetes/pki/etcd/peer.key"),
    // Before 3.5 the ChaCha20 suites have no suffix, so the others are used. These patches of 3.2 and 3.3
    // introduced the flag.
    computed("cipher-suites", |context| since(context, EtcdVersion { minor: 2, patch: 22 }, AES_SUITES))
        .since(2)
        .before(3),
    computed("cipher-suites", |context| since(context, EtcdVersion { minor: 3, patch: 7 }, AES_SUITES))
        .since(3)
        .before(4),
    text("cipher-suites", AES_SUITES).since(4).before(5),
    computed("tls-min-version", |context| since(context, EtcdVersion { minor: 5, patch: 8 }, "TLS1.2"))
        .since(5),
    text("cipher-suites", CIPHER_SUITES).since(5),
    text("heartbeat-interval", "100"),
    text("election-timeout", "1000"),
    text("snapshot-count", "10000"),
    // 4 GiB: twice the default, which clusters with many events fill.
    text("quota-backend-bytes", "4294967296"),
    // The API server compacts every five minutes; this covers revisions that it misses.
    text("auto-compaction-mode", "periodic").since(3),
    text("auto-compaction-retention", "8").before(3),
    text("auto-compaction-retention", "8h").since(3),
    text("strict-reconfig-check", "true"),
    text("experimental-initial-corrupt-check", "true").since(3).before(6),
    text("experimental-watch-progress-notify-interval", "5s").since(5).before(6),
    text("feature-gates", "InitialCorruptCheck=true").since(6),
    text("watch-progress-notify-interval", "5s").since(6),
    text("logger", "zap").since(4).before(6),
    text("log-level", "info").since(4),
];
