//! Intervals that determine failover times, as the machines' files set them.
//!
//! Settings: keepalived.conf(5), HAProxy configuration manual sections 4.2 and 5.2.

use serde::Deserialize;

use crate::config::{self, Fleet, Machine, Statement, Target};
use crate::words::Service;

/// Path of the guard's settings.
const GUARD: &str = "/etc/kiln/guard.toml";

/// Path of HAProxy's Lua script.
const SESSIONS: &str = "/etc/haproxy/sessions.lua";

/// Path of the kubelet unit.
const KUBELET: &str = "/etc/systemd/system/kubelet.service";

/// Readiness path without the etcd check that liveness also includes.
const ONCE: &str = "/readyz?exclude=etcd";

/// Timing of the guard's checks of the service at the VIP, in seconds; the guard's settings are in
/// milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Looks {
    pub(super) interval: f64,
    /// Time limit of a check.
    pub(super) limit: f64,
    /// Consecutive failures.
    pub(super) fall: f64,
}

/// HAProxy's checks of a server (configuration manual: `inter`, `fall`, `rise`, `timeout check`), in seconds.
pub(super) struct Checks {
    pub(super) interval: f64,
    /// Interval for a server that has failed a check.
    pub(super) fast: f64,
    /// Interval for a server that is down.
    pub(super) down: f64,
    /// Failures until it is down.
    pub(super) fall: f64,
    /// Successful checks until it is up again.
    pub(super) rise: f64,
    /// Time that a check waits for a hung program whose kernel still accepts connections.
    pub(super) silence: f64,
    /// True if a server that isn't ready keeps its sessions.
    pub(super) spares_unready: bool,
    /// True if only one of a server's two etcd checks is requested.
    pub(super) excludes_etcd: bool,
}

/// Intervals read from files.
pub(super) struct Intervals<'a> {
    pub(super) fleet: Fleet<'a>,
    /// Priority of the node that takes over the VIP.
    pub(super) next: Option<u8>,
    /// The guard's checks; `None` without a guard.
    pub(super) looks: Option<Looks>,
    /// Seconds between two checks for servers without etcd, and how many checks must agree; `None` without
    /// such checks.
    pub(super) sessions: Option<(f64, f64)>,
    /// Seconds of silence after which kubelets send a ping, and how long they wait for the reply.
    pub(super) pings: Option<(f64, f64)>,
}

impl<'a> Intervals<'a> {
    /// Reads the intervals from the machines' files; `next` is the priority of the node that takes over the
    /// VIP.
    pub(super) fn read(machines: &'a [Machine], target: Target, next: Option<u8>) -> Self {
        Self {
            fleet: Fleet::read(machines, target),
            next,
            looks: looks(machines),
            sessions: sessions(machines),
            pings: pings(machines),
        }
    }

    pub(super) fn number(&self, block: &'static str, name: &str) -> Option<f64> {
        self.fleet.keepalived(block).find_map(|block| block.statement.number(name)).map(|(number, _)| number)
    }

    pub(super) fn flag(&self, program: &'static str, name: &str) -> Option<&str> {
        self.fleet.programs(program).find_map(|invocation| invocation.value(name))
    }

    /// Returns the seconds between advertisements.
    pub(super) fn advertisement(&self) -> f64 {
        self.number("vrrp_instance", "advert_int").unwrap_or(1.0)
    }

    /// Returns the skew time, which the next node waits in addition to whole advertisement intervals; it is
    /// shorter for a higher priority. VRRP version 2 counts it in seconds, version 3 in advertisement
    /// intervals.
    pub(super) fn skew(&self) -> Option<f64> {
        let version =
            self.number("vrrp_instance", "version").or_else(|| self.number("global_defs", "vrrp_version"));
        let unit = if version == Some(3.0) { self.advertisement() } else { 1.0 };
        Some(unit * (256.0 - f64::from(self.next?)) / 256.0)
    }

    /// Returns the number of advertisements that may be missed.
    pub(super) fn missing(&self) -> f64 {
        self.number("vrrp_instance", "down_timer_adverts").unwrap_or(3.0)
    }

    /// Returns HAProxy's checks of API servers; a machine may also check other servers.
    pub(super) fn checks(&self) -> Option<Checks> {
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
    pub(super) fn ipvs_checks(&self) -> Option<(f64, f64, f64, f64)> {
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
