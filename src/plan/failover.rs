//! How long a failure lasts, as far as configured intervals decide it. They are read from the files that the nodes get, so that an
//! overlay of one's own counts too.
//!
//! VRRP: RFC 5798 section 6.1. Checks: keepalived.conf(5), HAProxy configuration manual sections 4.2 and 5.2. Elections: the etcd tuning
//! guide, and client-go's leader election.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Node};
use crate::config::{self, Fleet, Machine, Node as Yaml, Statement, Target};
use crate::error::Result;
use crate::overlay::Overlays;
use crate::render::{self, TextFile};
use crate::words::Mover;

/// What may fail, and when somebody else has taken over.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Failover {
    /// Names the failure to programs; never renamed. Balancers that bound the same failure share it.
    pub(crate) key: &'static str,
    pub(crate) failure: &'static str,
    /// Seconds, at best and at worst.
    pub(crate) seconds: [f64; 2],
    /// What these seconds are.
    pub(crate) until: &'static str,
}

/// A key, the failure, what ends it, and how long that takes where a cluster has what fails.
type Row = (&'static str, &'static str, &'static str, fn(&Intervals<'_>) -> Option<RangeInclusive<f64>>);

/// By how close to clients they are.
const FAILURES: &[Row] = &[
    ("holder-dies", HOLDER_DIES, "another one holds it", holder_dies),
    ("holder-dies", HOLDER_DIES, "another one has its lease", leaseholder_dies),
    ("holder-frozen", "the machine that holds the VIP is frozen or cut off", "another one holds it", holder_dies),
    ("keepalived-dies", "keepalived is killed or hangs on it", "another one holds it", holder_dies),
    ("holder-leaves", "keepalived stops on it", "another one holds it", |intervals| intervals.skew().map(|skew| 0.0..=skew)),
    ("balancer-fails", "what answers at the VIP fails there", "another one holds it", check_fails),
    ("balancer-dies", "what answers at the VIP dies there", "another one holds it", |intervals| {
        let Looks { interval, fall, .. } = intervals.looks?;
        Some((fall - 1.0) * interval..=fall * interval + intervals.skew()? + MOVE)
    }),
    ("balancer-hangs", "what answers at the VIP hangs there", "another one holds it", |intervals| {
        let Looks { interval, limit, fall } = intervals.looks?;
        let noticed = fall * limit + (fall - 1.0) * interval;
        Some(noticed..=interval + noticed + intervals.skew()? + MOVE)
    }),
    ("client-waits", HOLDER_DIES, "kubelets give up the connections to it", |intervals| {
        intervals.skew()?;
        let (silence, answer) = intervals.pings?;
        Some(silence..=silence + answer)
    }),
    ("api-server-dies", "an API server dies", "HAProxy leaves it out; new connections go elsewhere at once", server_dies),
    ("api-server-hangs", "an API server hangs", "HAProxy cuts its clients off, and they go elsewhere", server_hangs),
    ("etcd-hangs", "the etcd of an API server hangs", "HAProxy leaves it out while another one is ready", server_is_unready),
    ("etcd-hangs-on", "the etcd of an API server hangs", "HAProxy cuts its clients off while another one is ready", server_is_given_up),
    ("api-servers-return", "all API servers come back", "once one is ready, HAProxy passes connections on to it", servers_return),
    ("api-server-dies", "an API server dies", "IPVS leaves it out; new connections go elsewhere at once", |intervals| {
        let (every, retries, pause, _) = intervals.ipvs_checks()?;
        Some(retries * pause..=every + retries * pause)
    }),
    (
        "api-server-hangs",
        "an API server hangs, or its machine dies",
        "IPVS leaves it out; new connections go elsewhere at once",
        |intervals| {
            let (every, retries, pause, limit) = intervals.ipvs_checks()?;
            let noticed = retries * pause + (retries + 1.0) * limit;
            Some(noticed..=every + noticed)
        },
    ),
    ("machine-dies", "the machine of an API server dies", "a new connection turns to another one", connection_fails),
    ("etcd-leader-dies", "the leader of etcd dies", "another one is elected", election),
    ("etcd-leader-hangs", "the leader of etcd hangs", "another one is elected, and HAProxy leaves its API server out", leader_hangs),
    ("controller-manager-dies", "the leading controller manager dies", "another one leads", |intervals| {
        lease(intervals, "kube-controller-manager")
    }),
    ("scheduler-dies", "the leading scheduler dies", "another one leads", |intervals| lease(intervals, "kube-scheduler")),
];

const HOLDER_DIES: &str = "the machine that holds the VIP dies";

/// How much longer than its retry period a candidate may wait between two looks: client-go's `leaderelection.JitterFactor`.
const JITTER: f64 = 1.2;

/// What keepalived needs to move addresses, in seconds.
const MOVE: f64 = 0.1;

/// Where the guard's settings are.
const GUARD: &str = "/etc/kiln/guard.toml";

/// Where HAProxy's script is.
const SESSIONS: &str = "/etc/haproxy/sessions.lua";

/// Where the kubelet's unit is.
const KUBELET: &str = "/etc/systemd/system/kubelet.service";

/// How often the guard looks at what answers at the VIP, in seconds; its own file has milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Looks {
    interval: f64,
    /// Until one has failed.
    limit: f64,
    /// Failures in a row.
    fall: f64,
}

/// The port of etcd, behind which no API server is.
const ETCD: &str = ":2379";

/// How an API server is asked whether it is ready without what it says of etcd for its life, too.
const ONCE: &str = "/readyz?exclude=etcd";

/// How HAProxy checks a server (configuration manual: `inter`, `fall`, `rise`, `timeout check`), in seconds.
struct Checks {
    interval: f64,
    /// Between checks of a server that has failed one.
    fast: f64,
    /// Between checks of a server that is down.
    down: f64,
    /// Failures until it is down.
    fall: f64,
    /// Good checks until it is up again.
    rise: f64,
    /// How long a check waits for a program that hangs, whose kernel still accepts connections.
    silence: f64,
    /// Whether a server that isn't ready keeps its sessions.
    spares_unready: bool,
    /// Whether a server that asks its etcd twice is asked for one of the answers only.
    excludes_etcd: bool,
}

/// Intervals in files.
struct Intervals<'a> {
    fleet: Fleet<'a>,
    /// Priority of the node that takes the VIP over.
    next: Option<u8>,
    /// None where no guard looks.
    looks: Option<Looks>,
    /// Seconds between two looks at servers without etcd, and how many must agree; none where nothing looks.
    sessions: Option<(f64, f64)>,
    /// Seconds of silence after which kubelets send a ping, and how long they wait for its answer.
    pings: Option<(f64, f64)>,
}

/// Every failure of a cluster that somebody else takes over.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if an overlay does not render.
pub(super) fn failovers(cluster: &Cluster, overlays: &Overlays) -> Result<Vec<Failover>> {
    let images = cluster.images();
    let machines: Vec<Machine> = images.values().map(|nodes| machine(cluster, nodes[0], overlays)).collect::<Result<_>>()?;
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

/// The longest time until another node holds the VIP, if one moves.
pub(super) fn of_vip(failovers: &[Failover]) -> Option<f64> {
    failovers.iter().find(|failover| failover.failure == HOLDER_DIES).map(|failover| failover.seconds[1])
}

fn machine(cluster: &Cluster, node: &Node, overlays: &Overlays) -> Result<Machine> {
    let file = |TextFile { path, text, mode, source }| config::File { path, text, mode: Some(mode), source };
    let files = render::texts(cluster, node, overlays)?.into_iter().map(file).collect();
    Ok(Machine { name: node.name.clone(), files, images: Vec::new() })
}

/// The looks of the first guard; all have the same.
fn looks(machines: &[Machine]) -> Option<Looks> {
    let mut files = machines.iter().flat_map(|machine| &machine.files);
    let Looks { interval, limit, fall } = toml::from_str(&files.find(|file| file.path == GUARD)?.text).ok()?;
    Some(Looks { interval: interval / 1000.0, limit: limit / 1000.0, fall })
}

/// How often HAProxy's script looks, and how many looks must find a server without etcd: `local PAUSE, WITHOUT, READY = 400, 3, 7`.
fn sessions(machines: &[Machine]) -> Option<(f64, f64)> {
    let mut files = machines.iter().flat_map(|machine| &machine.files);
    let script = &files.find(|file| file.path == SESSIONS)?.text;
    let numbers = script.lines().find_map(|line| line.strip_prefix("local PAUSE, WITHOUT, READY = "))?;
    let mut numbers = numbers.split(", ");
    Some((numbers.next()?.parse::<f64>().ok()? / 1000.0, numbers.next()?.parse().ok()?))
}

/// What the kubelets' unit sets (`ConfigureHTTP2Transport` of k8s.io/apimachinery).
fn pings(machines: &[Machine]) -> Option<(f64, f64)> {
    let mut files = machines.iter().flat_map(|machine| &machine.files);
    let unit = &files.find(|file| file.path == KUBELET)?.text;
    let mut words = unit.lines().filter_map(|line| line.strip_prefix("Environment=")).flat_map(str::split_whitespace);
    let mut seconds = |name: &str| words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    Some((seconds("HTTP2_READ_IDLE_TIMEOUT_SECONDS")?, seconds("HTTP2_PING_TIMEOUT_SECONDS")?))
}

/// Rounded up, as far as anybody cares.
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

    /// Seconds between advertisements.
    fn advertisement(&self) -> f64 {
        self.number("vrrp_instance", "advert_int").unwrap_or(1.0)
    }

    /// What the next node waits beyond full advertisements: the less, the higher its priority is. Version 2 counts in seconds, version 3 in
    /// advertisements.
    fn skew(&self) -> Option<f64> {
        let version = self.number("vrrp_instance", "version").or_else(|| self.number("global_defs", "vrrp_version"));
        let unit = if version == Some(3.0) { self.advertisement() } else { 1.0 };
        Some(unit * (256.0 - f64::from(self.next?)) / 256.0)
    }

    /// How many advertisements may be missing.
    fn missing(&self) -> f64 {
        self.number("vrrp_instance", "down_timer_adverts").unwrap_or(3.0)
    }

    /// HAProxy's checks of API servers, which a machine may have beside those of others.
    fn checks(&self) -> Option<Checks> {
        let others = |server: &Statement<'_>| server.words.get(2).is_some_and(|word| word.text.ends_with(ETCD));
        let backend = config::api_backends(&self.fleet).find(|block| !config::servers(*block).any(others))?;
        let backend = config::checking(backend);
        let defaults = config::inherited(backend, &["default-server"]);
        let option = |name: &str| defaults.and_then(|statement: &Statement<'_>| statement.option(name)).map(|word| word.text);
        let timeout = |name: &str| config::seconds(config::inherited(backend, &["timeout", name])?.words.get(2)?.text);
        let interval = option("inter").and_then(config::seconds).unwrap_or(2.0);
        let answer = timeout("check");
        // Until TLS is up, `timeout check` does not count.
        let connection = answer.and_then(|_| timeout("connect")).map_or(interval, |limit| limit.min(interval));
        let connects =
            |check: &Statement<'_>| (check.is(&["tcp-check", "connect"]) || check.is(&["http-check", "connect"])) && check.has("ssl");
        let over_tls = backend.statement.body.iter().any(connects)
            || config::servers(backend).chain(defaults).any(|server| server.has("ssl") || server.has("check-ssl"));
        Some(Checks {
            interval,
            fast: option("fastinter").and_then(config::seconds).unwrap_or(interval),
            down: option("downinter").and_then(config::seconds).unwrap_or(interval),
            fall: option("fall").and_then(|text| text.parse().ok()).unwrap_or(3.0),
            rise: option("rise").and_then(|text| text.parse().ok()).unwrap_or(2.0),
            silence: if over_tls { connection } else { answer.unwrap_or(interval) },
            spares_unready: backend.statement.body.iter().any(|check| check.has("L7OKC")),
            excludes_etcd: backend.statement.body.iter().any(|check| check.words.iter().any(|word| word.text.contains(ONCE))),
        })
    }

    /// Interval, number of retries, pause before each, and time limit of keepalived's checks of servers behind IPVS.
    fn ipvs_checks(&self) -> Option<(f64, f64, f64, f64)> {
        let block = self.fleet.keepalived("virtual_server").next()?;
        let number = |name: &str, usual| block.statement.number(name).map_or(usual, |(number, _)| number);
        Some((number("delay_loop", 60.0), number("retry", 1.0), number("delay_before_retry", 3.0), number("connect_timeout", 5.0)))
    }
}

fn holder_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (every, missing, skew) = (intervals.advertisement(), intervals.missing(), intervals.skew()?);
    Some((missing - 1.0) * every + skew..=missing * every + skew + MOVE)
}

/// kube-vip gives its lease up by silence only.
fn leaseholder_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let setting = |name: &str| {
        let mut variables = intervals.fleet.manifests().flat_map(|(_, pod)| pod.find_all("env")).flat_map(Yaml::items);
        variables.find(|variable| variable.text("name").is_some_and(|word| word.text == name))?.text("value")?.text.parse::<f64>().ok()
    };
    Some(expires(setting("vip_leaseduration")?, setting("vip_retryperiod")?))
}

/// A check that fails for good. With a weight the holder goes on as a backup would, and the next one waits for its silence.
fn check_fails(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let skew = intervals.skew()?;
    let (every, fall) = (intervals.number("vrrp_script", "interval")?, intervals.number("vrrp_script", "fall").unwrap_or(1.0));
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

/// The server itself says so, once it has waited for etcd; one failure is enough. A newer server that is still waiting for the answer to
/// one question gives the next ones its answer from before (apiserver's `newETCD3Check`), so that one check more may pass.
fn server_is_unready(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks().filter(|checks| checks.spares_unready)?;
    let wait = |name: &str| intervals.flag("kube-apiserver", name).and_then(config::seconds);
    let (alive, ready) = (wait("etcd-healthcheck-timeout")?, wait("etcd-readycheck-timeout"));
    let once = ready.filter(|_| checks.excludes_etcd).unwrap_or(alive + ready.unwrap_or(0.0));
    Some(alive.min(once)..=2.0 * checks.interval + once)
}

/// Once it is known to be unready, as many looks as must agree.
fn server_is_given_up(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let ((pause, looks), noticed) = (intervals.sessions?, server_is_unready(intervals)?);
    Some(noticed.start() + (looks - 1.0) * pause..=noticed.end() + looks * pause)
}

/// Each member waits for one to two timeouts, at random (raft's `randomizedElectionTimeout`).
fn election(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let timeout = intervals.flag("etcd", "election-timeout")?.parse::<f64>().ok()? / 1000.0;
    Some(timeout..=2.0 * timeout)
}

/// Meanwhile no API server is ready, so HAProxy passes connections on to any; one check later those with a leader are ready again.
fn leader_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (elected, unready) = (election(intervals)?, server_is_unready(intervals)?);
    let most = elected.end().max(*unready.end());
    Some(elected.start().max(*unready.start())..=most + intervals.checks()?.interval)
}

/// The first good check may come a whole interval after the server is ready, and the others follow as fast as while one is failing.
fn servers_return(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    Some(0.0..=checks.down + (checks.rise - 1.0) * checks.fast)
}

/// nginx and HAProxy give a server this long to accept.
fn connection_fails(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let nginx = config::streams(&intervals.fleet).find_map(|block| {
        let mut servers = block.statement.all(&["server"]);
        servers.find_map(|server| config::seconds(server.setting("proxy_connect_timeout")?.text))
    });
    let haproxy = || {
        let mut sections = intervals.fleet.haproxy(&["defaults"]);
        sections.find_map(|block| config::seconds(block.statement.last(&["timeout", "connect"])?.words.get(2)?.text))
    };
    nginx.or_else(haproxy).map(|limit| 0.0..=limit)
}

fn lease(intervals: &Intervals<'_>, program: &'static str) -> Option<RangeInclusive<f64>> {
    let seconds = |name: &str| intervals.flag(program, name).and_then(config::seconds);
    Some(expires(seconds("leader-elect-lease-duration")?, seconds("leader-elect-retry-period")?))
}

/// A candidate counts the duration from when it saw the last renewal, which may be one look after it, and finds that it is over at its
/// next look (client-go, tools/leaderelection).
fn expires(duration: f64, retry: f64) -> RangeInclusive<f64> {
    duration - retry..=duration + 2.0 * (1.0 + JITTER) * retry
}
