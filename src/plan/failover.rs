//! Failover times, as far as configured intervals determine them. The intervals are read from the nodes'
//! rendered files, so custom overlays count too.

use std::ops::RangeInclusive;

use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::config::{self, Machine, Target};
use crate::error::Result;
use crate::overlay::Overlays;
use crate::plan::durations;
use crate::plan::intervals::Intervals;
use crate::render::{self, TextFile};
use crate::words::Mover;

/// A failure, and the time until another machine takes over.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Failover {
    /// Identifier of the failure for scripts; never renamed. Different balancers use the same key for the
    /// same failure.
    pub(crate) key: &'static str,
    pub(crate) failure: &'static str,
    /// Minimum and maximum, in seconds.
    pub(crate) seconds: [f64; 2],
    /// Event that ends this time.
    pub(crate) until: &'static str,
}

/// Key, failure, the event that ends it, and its duration if the cluster has the failing component.
type Row = (&'static str, &'static str, &'static str, fn(&Intervals<'_>) -> Option<RangeInclusive<f64>>);

/// Failures, starting with those closest to clients.
const FAILURES: &[Row] = &[
    ("holder-dies", HOLDER_DIES, "another machine holds the VIP", durations::holder_dies),
    ("holder-dies", HOLDER_DIES, "another machine holds the kube-vip lease", durations::leaseholder_dies),
    (
        "holder-frozen",
        "the machine that holds the VIP freezes or loses its network",
        "another machine holds the VIP",
        durations::holder_dies,
    ),
    (
        "keepalived-dies",
        "keepalived is killed or hangs on the machine that holds the VIP",
        "another machine holds the VIP",
        durations::holder_dies,
    ),
    (
        "holder-leaves",
        "keepalived is stopped on the machine that holds the VIP",
        "another machine holds the VIP",
        durations::holder_leaves,
    ),
    (
        "balancer-fails",
        "the service at the VIP fails its check",
        "another machine holds the VIP",
        durations::check_fails,
    ),
    (
        "balancer-dies",
        "the service at the VIP dies",
        "another machine holds the VIP",
        durations::balancer_dies,
    ),
    (
        "balancer-hangs",
        "the service at the VIP hangs",
        "another machine holds the VIP",
        durations::balancer_hangs,
    ),
    (
        "client-waits",
        HOLDER_DIES,
        "kubelets close their connections to the dead machine",
        durations::client_waits,
    ),
    (
        "api-server-dies",
        "an API server dies",
        "HAProxy marks the server down; new connections go to another API server immediately",
        durations::server_dies,
    ),
    (
        "api-server-hangs",
        "an API server hangs",
        "HAProxy closes the server's connections, and clients reconnect to another API server",
        durations::server_hangs,
    ),
    (
        "etcd-hangs",
        "the etcd member behind an API server hangs",
        "HAProxy marks the API server down if another API server is ready",
        durations::server_is_unready,
    ),
    (
        "etcd-hangs-on",
        "the etcd member behind an API server hangs",
        "HAProxy closes the API server's connections if another API server is ready",
        durations::server_is_given_up,
    ),
    (
        "api-servers-return",
        "an API server is ready again after all were down",
        "HAProxy forwards connections to the API server",
        durations::servers_return,
    ),
    (
        "api-server-dies",
        "an API server dies",
        "IPVS removes the server, and new connections go to another API server",
        durations::real_server_dies,
    ),
    (
        "api-server-hangs",
        "an API server hangs, or its machine dies",
        "IPVS removes the server, and new connections go to another API server",
        durations::real_server_hangs,
    ),
    (
        "machine-dies",
        "an API server's machine dies",
        "a new connection goes to another API server",
        durations::connection_fails,
    ),
    ("etcd-leader-dies", "the etcd leader dies", "a new leader is elected", durations::election),
    (
        "etcd-leader-hangs",
        "the etcd leader hangs",
        "a new leader is elected, and HAProxy marks the hung member's API server down",
        durations::leader_hangs,
    ),
    (
        "controller-manager-dies",
        "the leading controller manager dies",
        "another controller manager becomes the leader",
        |intervals| durations::lease(intervals, "kube-controller-manager"),
    ),
    ("scheduler-dies", "the leading scheduler dies", "another scheduler becomes the leader", |intervals| {
        durations::lease(intervals, "kube-scheduler")
    }),
];

const HOLDER_DIES: &str = "the machine that holds the VIP dies";

/// Returns every failure of a cluster after which another machine takes over.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if an overlay can't be rendered.
pub(super) fn failovers(cluster: &Cluster, overlays: &Overlays) -> Result<Vec<Failover>> {
    let images = cluster.images();
    let machines: Vec<Machine> =
        images.values().map(|nodes| machine(cluster, nodes[0], overlays)).collect::<Result<_>>()?;
    let target = Target { kubernetes: cluster.kubernetes.minor, etcd: cluster.etcd_version().minor, now: 0 };
    let by_priority = cluster.endpoint.balancer.mover == Mover::Keepalived;
    let carriers = if by_priority { cluster.vip_carriers() } else { Vec::new() };
    let mut priorities: Vec<u8> = carriers.iter().map(|node| node.priority).collect();
    priorities.sort_unstable();
    let intervals = Intervals::read(&machines, target, priorities.iter().rev().nth(1).copied());
    let found = FAILURES.iter().filter_map(|(key, failure, until, seconds)| {
        let seconds = seconds(&intervals)?;
        Some(Failover { key, failure, until, seconds: [*seconds.start(), *seconds.end()].map(tenths) })
    });
    Ok(found.collect())
}

/// Returns the maximum time until another node holds the VIP, if kiln moves it.
pub(super) fn of_vip(failovers: &[Failover]) -> Option<f64> {
    failovers.iter().find(|failover| failover.failure == HOLDER_DIES).map(|failover| failover.seconds[1])
}

fn machine(cluster: &Cluster, node: &Node, overlays: &Overlays) -> Result<Machine> {
    let file = |TextFile { path, text, mode, source }| config::File { path, text, mode: Some(mode), source };
    let files = render::texts(cluster, node, overlays)?.into_iter().map(file).collect();
    Ok(Machine { name: node.name.clone(), files, images: Vec::new() })
}

/// Rounds up to tenths of a second.
fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0 - 1e-6).ceil().abs() / 10.0
}
