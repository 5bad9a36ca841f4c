//! Duration of each failover, computed from the intervals in the files.
//!
//! VRRP: RFC 5798 section 6.1. Checks: keepalived.conf(5), HAProxy configuration manual sections 4.2 and 5.2.
//! Elections: the etcd tuning guide, and client-go's leader election.

use std::ops::RangeInclusive;

use crate::config::{self, Node as Yaml};
use crate::plan::intervals::{Intervals, Looks};

/// Maximum random extension of a candidate's retry period, as a factor: client-go's
/// `leaderelection.JitterFactor`.
const JITTER: f64 = 1.2;

/// Time that keepalived needs to move the VIP, in seconds.
const MOVE: f64 = 0.1;

pub(super) fn holder_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (every, missing, skew) = (intervals.advertisement(), intervals.missing(), intervals.skew()?);
    Some((missing - 1.0) * every + skew..=missing * every + skew + MOVE)
}

pub(super) fn holder_leaves(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    intervals.skew().map(|skew| 0.0..=skew)
}

/// Returns the failover time of kube-vip, whose lease ends only by expiring.
pub(super) fn leaseholder_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
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
pub(super) fn check_fails(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let skew = intervals.skew()?;
    let (every, fall) = (
        intervals.number("vrrp_script", "interval")?,
        intervals.number("vrrp_script", "fall").unwrap_or(1.0),
    );
    let weighed = intervals.number("vrrp_script", "weight").is_some_and(|weight| weight != 0.0);
    let silence = if weighed { intervals.missing() * intervals.advertisement() + skew } else { 0.0 };
    Some((fall - 1.0) * every + skew..=fall * every + silence + skew)
}

pub(super) fn balancer_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let Looks { interval, fall, .. } = intervals.looks?;
    Some((fall - 1.0) * interval..=fall * interval + intervals.skew()? + MOVE)
}

pub(super) fn balancer_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let Looks { interval, limit, fall } = intervals.looks?;
    let noticed = fall * limit + (fall - 1.0) * interval;
    Some(noticed..=interval + noticed + intervals.skew()? + MOVE)
}

/// Returns the time until kubelets notice that the holder of the VIP no longer replies to pings.
pub(super) fn client_waits(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    intervals.skew()?;
    let (silence, answer) = intervals.pings?;
    Some(silence..=silence + answer)
}

pub(super) fn server_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    let again = (checks.fall - 1.0) * checks.fast;
    Some(again..=checks.interval + again)
}

pub(super) fn server_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    let noticed = checks.fall * checks.silence + (checks.fall - 1.0) * checks.fast;
    Some(noticed..=checks.interval + noticed)
}

/// Returns the time until a server that has waited for etcd reports that it is not ready; one failed check is
/// enough. A newer server that is still waiting for etcd repeats its previous result for further requests
/// (apiserver's `newETCD3Check`), so one more check may succeed.
pub(super) fn server_is_unready(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks().filter(|checks| checks.spares_unready)?;
    let wait = |name: &str| intervals.flag("kube-apiserver", name).and_then(config::seconds);
    let (alive, ready) = (wait("etcd-healthcheck-timeout")?, wait("etcd-readycheck-timeout"));
    let once = ready.filter(|_| checks.excludes_etcd).unwrap_or(alive + ready.unwrap_or(0.0));
    Some(alive.min(once)..=2.0 * checks.interval + once)
}

/// Adds the time of the checks that must agree after a server is known to be unready.
pub(super) fn server_is_given_up(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let ((pause, looks), noticed) = (intervals.sessions?, server_is_unready(intervals)?);
    Some(noticed.start() + (looks - 1.0) * pause..=noticed.end() + looks * pause)
}

/// Returns the duration of an election: each member waits for a random time between one and two timeouts
/// (raft's `randomizedElectionTimeout`).
pub(super) fn election(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let timeout = intervals.flag("etcd", "election-timeout")?.parse::<f64>().ok()? / 1000.0;
    Some(timeout..=2.0 * timeout)
}

/// Returns the time until servers with a leader are ready again: one check after the election. Until then no
/// API server is ready, so HAProxy forwards connections to any of them.
pub(super) fn leader_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (elected, unready) = (election(intervals)?, server_is_unready(intervals)?);
    let most = elected.end().max(*unready.end());
    Some(elected.start().max(*unready.start())..=most + intervals.checks()?.interval)
}

/// Returns the time until a server is up: the first successful check may be a whole interval after the server
/// is ready, and the others follow at the interval for a server that has failed a check.
pub(super) fn servers_return(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let checks = intervals.checks()?;
    Some(0.0..=checks.down + (checks.rise - 1.0) * checks.fast)
}

/// Returns the time until keepalived removes from IPVS a server that refuses connections.
pub(super) fn real_server_dies(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (every, retries, pause, _) = intervals.ipvs_checks()?;
    Some(retries * pause..=every + retries * pause)
}

/// Returns the time until keepalived removes from IPVS a server that does not respond.
pub(super) fn real_server_hangs(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
    let (every, retries, pause, limit) = intervals.ipvs_checks()?;
    let noticed = retries * pause + (retries + 1.0) * limit;
    Some(noticed..=every + noticed)
}

/// Returns the time that nginx or HAProxy waits for a server to accept a connection.
pub(super) fn connection_fails(intervals: &Intervals<'_>) -> Option<RangeInclusive<f64>> {
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

pub(super) fn lease(intervals: &Intervals<'_>, program: &'static str) -> Option<RangeInclusive<f64>> {
    let seconds = |name: &str| intervals.flag(program, name).and_then(config::seconds);
    Some(expires(seconds("leader-elect-lease-duration")?, seconds("leader-elect-retry-period")?))
}

/// Returns the time until a lease expires: a candidate counts the duration from when it saw the last renewal,
/// up to one retry late, and notices the expiry at its next retry (client-go, tools/leaderelection).
fn expires(duration: f64, retry: f64) -> RangeInclusive<f64> {
    duration - retry..=duration + 2.0 * (1.0 + JITTER) * retry
}
