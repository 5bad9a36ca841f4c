//! Failover times, as far as configured intervals determine them. The intervals are read from the nodes'
//! rendered files, so custom overlays count too.
//!
//! VRRP: RFC 5798 section 6.1. Checks: keepalived.conf(5), HAProxy configuration manual sections 4.2 and 5.2.
//! Elections: the etcd tuning guide, and client-go's leader election.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Node};
use crate::config::{self, Fleet, Machine, Node as Yaml, Statement, Target};
use crate::error::Result;
use crate::overlay::Overlays;
use crate::render::{self, TextFile};
use crate::words::{Mover, Service};

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

/// Failures, those closest to clients first.
const FAILURES: &[Row] = &[
    ("holder-dies", HOLDER_DIES, "another machine holds the VIP", holder_dies),
    ("holder-dies", HOLDER_DIES, "another machine holds the kube-vip lease", leaseholder_dies),
    (
        "holder-frozen",
        "the machine that holds the VIP freezes or loses its network",
        "another machine holds the VIP",
        holder_dies,
    ),
    (
        "keepalived-dies",
        "keepalived is killed or hangs on the machine that holds the VIP",
        "another machine holds the VIP",
        holder_dies,
    ),
    (
        "holder-leaves",
        "keepalived is stopped on the machine that holds the VIP",
        "another machine holds the VIP",
        |intervals| intervals.skew().map(|skew| 0.0..=skew),
    ),
    (
        "balancer-fails",
        "the service at the VIP fails its check",
        "another machine holds the VIP",
        check_fails,
    ),
    ("balancer-dies", "the service at the VIP dies", "another machine holds the VIP", |intervals| {
        let Looks { interval, fall, .. } = intervals.looks?;
        Some((fall - 1.0) * interval..=fall * interval + intervals.skew()? + MOVE)
    }),
    ("balancer-hangs", "the service at the VIP hangs", "another machine holds the VIP", |intervals| {
        let Looks { interval, limit, fall } = intervals.looks?;
        let noticed = fall * limit + (fall - 1.0) * interval;
        Some(noticed..=interval + noticed + intervals.skew()? + MOVE)
    }),
    ("client-waits", HOLDER_DIES, "kubelets close their connections to the dead machine", |intervals| {
        intervals.skew()?;
        let (silence, answer) = intervals.pings?;
        Some(silence..=silence + answer)
    }),
    (
        "api-server-dies",
        "an API server dies",
        "HAProxy marks the server down; new connections go to another API server immediately",
        server_dies,
    ),
    (
        "api-server-hangs",
        "an API server hangs",
        "HAProxy closes the server's connections, and clients reconnect to another API server",
        server_hangs,
    ),
    (
        "etcd-hangs",
        "the etcd member behind an API server hangs",
        "HAProxy marks the API server down if another API server is ready",
        server_is_unready,
    ),
    (
        "etcd-hangs-on",
        "the etcd member behind an API server hangs",
        "HAProxy closes the API server's connections if another API server is ready",
        server_is_given_up,
    ),
    (
        "api-servers-return",
        "an API server is ready again after all were down",
        "HAProxy forwards connections to the API server",
        servers_return,
    ),
    (
        "api-server-dies",
        "an API server dies",
        "IPVS removes the server, and new connections go to another API server",
        |intervals| {
            let (every, retries, pause, _) = intervals.ipvs_checks()?;
            Some(retries * pause..=every + retries * pause)
        },
    ),
    (
        "api-server-hangs",
        "an API server hangs, or its machine dies",
        "IPVS removes the server, and new connections go to another API server",
        |intervals| {
            let (every, retries, pause, limit) = intervals.ipvs_checks()?;
            let noticed = retries * pause + (retries + 1.0) * limit;
            Some(noticed..=every + noticed)
        },
    ),
    (
        "machine-dies",
        "an API server's machine dies",
        "a new connection goes to another API server",
        connection_fails,
    ),
    ("etcd-leader-dies", "the etcd leader dies", "a new leader is elected", election),
    (
        "etcd-leader-hangs",
        "the etcd leader hangs",
        "a new leader is elected, and HAProxy marks the hung member's API server down",
        leader_hangs,
    ),
    (
        "controller-manager-dies",
        "the leading controller manager dies",
        "another controller manager becomes the leader",
        |intervals| lease(intervals, "kube-controller-manager"),
    ),
    ("scheduler-dies", "the leading scheduler dies", "another scheduler becomes the leader", |intervals| {
        lease(intervals, "kube-scheduler")
    }),
];

const HOLDER_DIES: &str = "the machine that holds the VIP dies";

/// Maximum random extension of a candidate's retry period, as a factor: client-go's
/// `leaderelection.JitterFactor`.
const JITTER: f64 = 1.2;

/// Time that keepalived needs to move the VIP, in seconds.
const MOVE: f64 = 0.1;

/// Path of the guard's settings.
const GUARD: &str = "/etc/kiln/guard.toml";

/// Path of HAProxy's Lua script.
const SESSIONS: &str = "/etc/haproxy/sessions.lua";

/// Path of the kubelet unit.
const KUBELET: &str = "/etc/systemd/system/kubelet.service";

/// Timing of the guard's checks of the service at the VIP, in seconds; the guard's settings are in
/// milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Looks {
    interval: f64,
    /// Time limit of a check.
    limit: f64,
    /// Consecutive failures.
    fall: f64,
}

/// Readiness path without the etcd check that liveness also includes.
const ONCE: &str = "/readyz?exclude=etcd";

/// HAProxy's checks of a server (configuration manual: `inter`, `fall`, `rise`, `timeout check`), in seconds.
struct Checks {
    interval: f64,
    /// Interval for a server that has failed a check.
    fast: f64,
    /// Interval for a server that is down.
    down: f64,
    /// Failures until it is down.
    fall: f64,
    /// Successful checks until it is up again.
    rise: f64,
    /// Time that a check waits for a hung program whose kernel still accepts connections.
    silence: f64,
    /// True if a server that isn't ready keeps its sessions.
    spares_unready: bool,
    /// True if only one of a server's two etcd checks is requested.
    excludes_etcd: bool,
}

/// Intervals read from files.
struct Intervals<'a> {
    fleet: Fleet<'a>,
    /// Priority of the node that takes over the VIP.
    next: Option<u8>,
    /// The guard's checks; `None` without a guard.
    looks: Option<Looks>,
    /// Seconds between two checks for servers without etcd, and how many checks must agree; `None` without
    /// such checks.
    sessions: Option<(f64, f64)>,
    /// Seconds of silence after which kubelets send a ping, and how long they wait for the reply.
    pings: Option<(f64, f64)>,
}

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
    let intervals = Intervals {
        fleet: Fleet::read(&machines, target),
        next: priorities.iter().rev().nth(1).copied(),
        looks: looks(&machines),
        pings: pings(&machines),
        sessions: sessions(&machines),
    };
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

/// Returns the settings of the first guard; all guards have the same settings.
fn looks(machines: &[Machine]) -> Option<Looks> {
    let mut files = machines.iter().flat_map(|machine| &machine.files);
    let Looks { interval, limit, fall } =
        toml::from_str(&files.find(|file| file.path == GUARD)?.text).ok()?;
    Some(Looks { interval: interval / 1000.0, limit: limit / 1000.0, fall })
}

/// Returns the interval of HAProxy's Lua script, and the number of checks that must find a server without
/// etcd: `local PAUSE, WITHOUT, READY = 400, 3, 7`.
fn sessions(machines: &[Machine]) -> Option<(f64, f64)> {
    let mut files = machines.iter().flat_map(|machine| &machine.files);
    let script = &files.find(|file| file.path == SESSIONS)?.text;
    let numbers = script.lines().find_map(|line| line.strip_prefix("local PAUSE, WITHOUT, READY = "))?;
    let mut numbers = numbers.split(", ");
    Some((numbers.next()?.parse::<f64>().ok()? / 1000.0, numbers.next()?.parse().ok()?))
}

/// Returns the ping settings of the kubelet unit (`ConfigureHTTP2Transport` of k8s.io/apimachinery).
fn pings(machines: &[Machine]) -> Option<(f64, f64)> {
    let mut files = machines.iter().flat_map(|machine| &machine.files);
    let unit = &files.find(|file| file.path == KUBELET)?.text;
    let mut words =
        unit.lines().filter_map(|line| line.strip_prefix("Environment=")).flat_map(str::split_whitespace);
    let mut seconds =
        |name: &str| words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    Some((seconds("HTTP2_READ_IDLE_TIMEOUT_SECONDS")?, seconds("HTTP2_PING_TIMEOUT_SECONDS")?))
}

/// Rounds up to tenths of a second.
fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0 - 1e-6).ceil().abs() / 10.0
}

impl Intervals<'_> {
    fn number(&self, block: &'static str, name: &str) -> Option<f64> {
        self.fleet.keepalived(block).find_map(|block| block.statement.number(name)).map(|(number, _)| number)
    }

    fn flag(&self, program: &'static str, name: &str) -> Option<&str> {
        self.fleet.programs(program).find_map(|invocation| invocation.value(name))
    }

    /// Returns the seconds between advertisements.
    fn advertisement(&self) -> f64 {
        self.number("vrrp_instance", "advert_int").unwrap_or(1.0)
    }

    /// Returns the skew time, which the next node waits in addition to whole advertisement intervals; it is
    /// shorter for a higher priority. VRRP version 2 counts it in seconds, version 3 in advertisement
    /// intervals.
    fn skew(&self) -> Option<f64> {
        let version =
            self.number("vrrp_instance", "version").or_else(|| self.number("global_defs", "vrrp_version"));
        let unit = if version == Some(3.0) { self.advertisement() } else { 1.0 };
        Some(unit * (256.0 - f64::from(self.next?)) / 256.0)
    }

    /// Returns the number of advertisements that may be missed.
    fn missing(&self) -> f64 {
        self.number("vrrp_instance", "down_timer_adverts").unwrap_or(3.0)
    }

    /// Returns HAProxy's checks of API servers; a machine may also check other servers.
    fn checks(&self) -> Option<Checks> {
        // etcd servers are not API servers.
        let others = |server: &Statement<'_>| config::port(server) == Some(Service::Etcd.port());
        let backend = config::api_backends(&self.fleet).find(|block| !config::servers(*block).any(others))?;
        let backend = config::checking(backend);
        let defaults = config::inherited(backend, &["default-server"]);
        let option = |name: &str| {
            defaults.and_then(|statement: &Statement<'_>| statement.option(name)).map(|word| word.text)
        };
        let timeout =
            |name: &str| config::seconds(config::inherited(backend, &["timeout", name])?.words.get(2)?.text);
        let interval = option("inter").and_then(config::seconds).unwrap_or(2.0);
        let answer = timeout("check");
        // `timeout check` does not apply before TLS is established.
        let connection =
            answer.and_then(|_| timeout("connect")).map_or(interval, |limit| limit.min(interval));
        let connects = |check: &Statement<'_>| {
            (check.is(&["tcp-check", "connect"]) || check.is(&["http-check", "connect"])) && check.has("ssl")
        };
        let over_tls = backend.statement.body.iter().any(connects)
            || config::servers(backend)
                .chain(defaults)
                .any(|server| server.has("ssl") || server.has("check-ssl"));
        Some(Checks {
            interval,
            fast: option("fastinter").and_then(config::seconds).unwrap_or(interval),
            down: option("downinter").and_then(config::seconds).unwrap_or(interval),
            fall: option("fall").and_then(|text| text.parse().ok()).unwrap_or(3.0),
            rise: option("rise").and_then(|text| text.parse().ok()).unwrap_or(2.0),
            silence: if over_tls { connection } else { answer.unwrap_or(interval) },
            spares_unready: backend.statement.body.iter().any(|check| check.has("L7OKC")),
            excludes_etcd: backend
                .statement
                .body
                .iter()
                .any(|check| check.words.iter().any(|word| word.text.contains(ONCE))),
        })
    }

    /// Returns the interval, the number of retries, the pause before each retry, and the time limit of
    /// keepalived's checks of servers behind IPVS.
    fn ipvs_checks(&self) -> Option<(f64, f64, f64, f64)> {
        let block = self.fleet.keepalived("virtual_server").next()?;
        let number = |name: &str, usual| block.statement.number(name).map_or(usual, |(number, _)| number);
        Some((
            number("delay_loop", 60.0),
            number("retry", 1.0),
            number("delay_before_retry", 3.0),
            number("connect_timeout", 5.0),
        ))
    }
}

fn holder_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (every, missing, skew) = (intervals.advertisement(), intervals.missing(), intervals.skew()?);
    Some((missing - 1.0) * every + skew..=missing * every + skew + MOVE)
}

/// Returns the failover time of kube-vip, whose lease ends only by expiring.
fn leaseholder_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let setting = |name: &str| {
        let mut variables =
            intervals.fleet.manifests().flat_map(|(_, pod)| pod.find_all("env")).flat_map(Yaml::items);
        variables
            .find(|variable| variable.text("name").is_some_and(|word| word.text == name))?
            .text("value")?
            .text
            .parse::<f64>()
            .ok()
    };
    Some(expires(setting("vip_leaseduration")?, setting("vip_retryperiod")?))
}

/// Returns the time after which a failing check moves the VIP. With a weight, the holder becomes a backup,
/// and the next node waits until the holder's advertisements stop.
fn check_fails(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let skew = intervals.skew()?;
    let (every, fall) = (
        intervals.number("vrrp_script", "interval")?,
        intervals.number("vrrp_script", "fall").unwrap_or(1.0),
    );
    let weighed = intervals.number("vrrp_script", "weight").is_some_and(|weight| weight != 0.0);
    let silence = if weighed { intervals.missing() * intervals.advertisement() + skew } else { 0.0 };
    Some((fall - 1.0) * every + skew..=fall * every + silence + skew)
}

fn server_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    let again = (checks.fall - 1.0) * checks.fast;
    Some(again..=checks.interval + again)
}

fn server_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    let noticed = checks.fall * checks.silence + (checks.fall - 1.0) * checks.fast;
    Some(noticed..=checks.interval + noticed)
}

/// Returns the time until a server that has waited for etcd reports that it is not ready; one failed check is
/// enough. A newer server that is still waiting for etcd repeats its previous result for further requests
/// (apiserver's `newETCD3Check`), so one more check may succeed.
fn server_is_unready(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks().filter(|checks| checks.spares_unready)?;
    let wait = |name: &str| intervals.flag("kube-apiserver", name).and_then(config::seconds);
    let (alive, ready) = (wait("etcd-healthcheck-timeout")?, wait("etcd-readycheck-timeout"));
    let once = ready.filter(|_| checks.excludes_etcd).unwrap_or(alive + ready.unwrap_or(0.0));
    Some(alive.min(once)..=2.0 * checks.interval + once)
}

/// Adds the time of the checks that must agree after a server is known to be unready.
fn server_is_given_up(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let ((pause, looks), noticed) = (intervals.sessions?, server_is_unready(intervals)?);
    Some(noticed.start() + (looks - 1.0) * pause..=noticed.end() + looks * pause)
}

/// Returns the duration of an election: each member waits for a random time between one and two timeouts
/// (raft's `randomizedElectionTimeout`).
fn election(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let timeout = intervals.flag("etcd", "election-timeout")?.parse::<f64>().ok()? / 1000.0;
    Some(timeout..=2.0 * timeout)
}

/// Returns the time until servers with a leader are ready again: one check after the election. Until then no
/// API server is ready, so HAProxy forwards connections to any of them.
fn leader_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (elected, unready) = (election(intervals)?, server_is_unready(intervals)?);
    let most = elected.end().max(*unready.end());
    Some(elected.start().max(*unready.start())..=most + intervals.checks()?.interval)
}

/// Returns the time until a server is up: the first successful check may be a whole interval after the server
/// is ready, and the others follow at the interval for a server that has failed a check.
fn servers_return(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    Some(0.0..=checks.down + (checks.rise - 1.0) * checks.fast)
}

/// Returns the time that nginx or HAProxy waits for a server to accept a connection.
fn connection_fails(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let nginx = config::streams(&intervals.fleet).find_map(|block| {
        let mut servers = block.statement.all(&["server"]);
        servers.find_map(|server| config::seconds(server.setting("proxy_connect_timeout")?.text))
    });
    let haproxy = || {
        let mut sections = intervals.fleet.haproxy(&["defaults"]);
        sections.find_map(|block| {
            config::seconds(block.statement.last(&["timeout", "connect"])?.words.get(2)?.text)
        })
    };
    nginx.or_else(haproxy).map(|limit| 0.0..=limit)
}

fn lease(intervals: &Intervals<'_>, program: &'static str) -> Option<RangeInclusive<f64>> {
    let seconds = |name: &str| intervals.flag(program, name).and_then(config::seconds);
    Some(expires(seconds("leader-elect-lease-duration")?, seconds("leader-elect-retry-period")?))
}

/// Returns the time until a lease expires: a candidate counts the duration from when it saw the last renewal,
/// up to one retry late, and notices the expiry at its next retry (client-go, tools/leaderelection).
fn expires(duration: f64, retry: f64) -> RangeInclusive<f64> {
    duration - retry..=duration + 2.0 * (1.0 + JITTER) * retry
}
