//! etcd, by its own minor version, 3.1 to 3.6. Which one runs the suite decides, or the cluster file.

use super::{CIPHER_SUITES, Flag, computed, text};
use crate::render::context::Facts;
use crate::words::EtcdVersion;

/// A value of a flag that came with a patch.
fn since(facts: &Facts<'_>, version: EtcdVersion, value: &str) -> String {
    if facts.cluster.etcd_version() >= version { value.to_owned() } else { String::new() }
}

const AES_SUITES: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";

pub(super) static FLAGS: &[Flag] = &[
    computed("name", |facts| facts.node.name.clone()),
    text("data-dir", "/var/lib/etcd"),
    computed("listen-peer-urls", |facts| facts.url(facts.node, 2380)),
    computed("initial-advertise-peer-urls", |facts| facts.url(facts.node, 2380)),
    computed("listen-client-urls", |facts| format!("{},https://127.0.0.1:2379", facts.url(facts.node, 2379))),
    computed("advertise-client-urls", |facts| facts.url(facts.node, 2379)),
    // Health and metrics without a certificate; loopback only.
    text("listen-metrics-urls", "http://127.0.0.1:2381").since(3),
    computed("initial-cluster", |facts| facts.initial_cluster()),
    text("initial-cluster-state", "new"),
    computed("initial-cluster-token", |facts| facts.cluster_id.to_owned()),
    text("client-cert-auth", "true"),
    text("trusted-ca-file", "/etc/kubernetes/pki/etcd/ca.crt"),
    text("cert-file", "/etc/kubernetes/pki/etcd/server.crt"),
    text("key-file", "/etc/kubernetes/pki/etcd/server.key"),
    text("peer-client-cert-auth", "true"),
    text("peer-trusted-ca-file", "/etc/kubernetes/pki/etcd/ca.crt"),
    text("peer-cert-file", "/etc/kubernetes/pki/etcd/peer.crt"),
    text("peer-key-file", "/etc/kubernetes/pki/etcd/peer.key"),
    // Before 3.5 the ChaCha20 suites have no suffix; the others suffice there. The flag came with these patches of 3.2 and 3.3.
    computed("cipher-suites", |facts| since(facts, EtcdVersion { minor: 2, patch: 22 }, AES_SUITES)).since(2).until(2),
    computed("cipher-suites", |facts| since(facts, EtcdVersion { minor: 3, patch: 7 }, AES_SUITES)).since(3).until(3),
    text("cipher-suites", AES_SUITES).since(4).until(4),
    computed("tls-min-version", |facts| since(facts, EtcdVersion { minor: 5, patch: 8 }, "TLS1.2")).since(5),
    text("cipher-suites", CIPHER_SUITES).since(5),
    text("heartbeat-interval", "100"),
    text("election-timeout", "1000"),
    text("snapshot-count", "10000"),
    // 4 GiB: twice the default, which event-heavy clusters fill.
    text("quota-backend-bytes", "4294967296"),
    // The API server compacts every five minutes; this is for what it forgets.
    text("auto-compaction-mode", "periodic").since(3),
    text("auto-compaction-retention", "8").until(2),
    text("auto-compaction-retention", "8h").since(3),
    text("strict-reconfig-check", "true"),
    text("experimental-initial-corrupt-check", "true").since(3).until(5).deprecated(6).removed(7),
    text("experimental-watch-progress-notify-interval", "5s").since(5).until(5).deprecated(6).removed(7),
    text("feature-gates", "InitialCorruptCheck=true").since(6),
    text("watch-progress-notify-interval", "5s").since(6),
    text("logger", "zap").since(4).until(5),
    text("log-level", "info").since(4),
];
