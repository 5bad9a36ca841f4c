//! Healthy state that every case starts from and must return to, verified rather than assumed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::control::NodeState;
use crate::lab::rehearse::cases::Program;
use crate::lab::rehearse::members::Members;
use crate::lab::rehearse::probe::locked;
use crate::lab::rehearse::record::{Sample, Traffic, Watch, losses};
use crate::lab::rehearse::traffic;
use crate::lab::rehearse::world::World;
use crate::words::Service;

/// Seconds to look back.
const BACK: f64 = 3.0;
/// Number of new connections from which each API server's share is computed.
const CONNECTIONS: usize = 45;
/// Number of new connections after which a server without any of them is known to be starved.
const FIRST: usize = 15;
/// Maximum number of additional watches, which give each API server its share of connections: after all
/// connections were closed, the first server that is back has the connections of all agents.
const BALLAST: usize = 150;
/// Seconds within which a live watch receives an event.
const FRESH: f64 = 1.5;
const TOO_FEW: &str = "too few requests so far to compute each API server's share";

/// Efforts so far to reach the healthy state.
#[derive(Default)]
struct Efforts {
    created: bool,
    /// Time at which the last watch was opened.
    opened: f64,
    ballast: usize,
    /// Whether the watches of earlier waits were closed.
    cleared: bool,
}

/// Waits until everything is healthy and all clients are served; returns the seconds that this took.
///
/// # Errors
///
/// [`Kind::Tool`], naming the unmet condition, after `limit`.
pub(super) fn wait(world: &World<'_>, limit: Duration) -> Result<f64> {
    let begin = world.probe.now();
    let mut efforts = Efforts::default();
    loop {
        host::signal::check()?;
        let Some(missing) = missing(world, &mut efforts)? else { return Ok(world.probe.now() - begin) };
        if world.probe.now() - begin > limit.as_secs_f64() {
            return Err(Error::new(
                Kind::Tool,
                format!("the cluster did not become healthy within {} s: {missing}", limit.as_secs()),
            ));
        }
        host::clock::sleep(Duration::from_millis(300));
    }
}

/// Returns the first condition that does not hold, cheap checks first.
fn missing(world: &World<'_>, efforts: &mut Efforts) -> Result<Option<String>> {
    let whole = |node: &NodeState| {
        node.running
            && !node.frozen
            && !node.unplugged
            && node.cuts.is_empty()
            && node.delay.is_none()
            && node.disk.is_empty()
    };
    if let Some(node) = world.lab.nodes()?.iter().find(|node| !whole(node)) {
        return Ok(Some(format!("{} is off or frozen, or has faults", node.name)));
    }
    let Some(servers) = world.probe.ask(traffic::ask_each) else {
        return Ok(Some("API servers do not respond in time".into()));
    };
    if !efforts.created {
        match world.probe.ask(traffic::create) {
            Some(Ok(())) => efforts.created = true,
            other => {
                return Ok(Some(
                    other
                        .and_then(Result::err)
                        .unwrap_or_else(|| "the endpoint does not respond in time".into()),
                ));
            }
        }
    }
    if let Some((name, Err(why))) = servers.iter().find(|(_, answer)| answer.is_err()) {
        return Ok(Some(format!("API server on {name}: {why}")));
    }
    let now = world.probe.now();
    let samples = world.probe.samples(now - BACK, now);
    let lost = samples.iter().filter(|sample| !sample.served).count();
    if lost > 0 || losses(&samples, Traffic::Write).sent < 10 {
        return Ok(Some(format!("{lost} of {} requests in the last {BACK} s were lost", samples.len())));
    }
    let reached = world.reached()?;
    if let Some(text) = watches(world, &reached, efforts).or_else(|| pool(world, &reached, efforts)) {
        return Ok(Some(text));
    }
    inside(world)
}

/// Checks the conditions that are visible only inside the nodes.
fn inside(world: &World<'_>) -> Result<Option<String>> {
    let holders = world.holders()?;
    if world.lab.vip.is_some() && holders.len() != 1 {
        return Ok(Some(format!("the VIP must be on exactly one node, but is on {holders:?}")));
    }
    let nodes = world.running(Program::Etcd)?.len();
    if let Some(Members { clusters, leader, count, .. }) = world.members()?
        && (clusters.len() > 1 || leader.is_none() || count < nodes)
    {
        return Ok(Some(format!("{count} of {nodes} etcd members respond; leader: {leader:?}")));
    }
    let sockets = world.ask_nodes(&[
        "ss",
        "--no-header",
        "--tcp",
        "--info",
        "--numeric",
        "state",
        "established",
        &format!("( sport = :{0} or dport = :{0} )", Service::EtcdPeers.port()),
    ])?;
    let repeats = sockets.iter().find(|(_, text)| text.as_deref().is_some_and(is_repeating));
    Ok(repeats.map(|(name, _)| format!("a peer connection of the etcd member on {name} is retransmitting")))
}

/// Checks in the output of ss(8) whether a connection waits for an overdue acknowledgement.
fn is_repeating(sockets: &str) -> bool {
    let repeats = |word: &str| word.strip_prefix("retrans:").is_some_and(|counts| !counts.starts_with("0/"));
    sockets.split_whitespace().any(|word| word.starts_with("backoff:") || repeats(word))
}

/// Opens a watch if a server has no live watch, one at a time.
fn watches(world: &World<'_>, reached: &[String], efforts: &mut Efforts) -> Option<String> {
    let shared = &world.probe.shared;
    let (now, names) = (shared.now(), locked(&shared.names).clone());
    let lives = |node: &String| {
        let watches = locked(&shared.watches);
        watches
            .iter()
            .any(|watch| watch.lives() && now - watch.fresh < FRESH && names.get(&watch.server) == Some(node))
    };
    let lonely = reached.iter().find(|name| !lives(name))?;
    let said = format!("the API server on {lonely} has no watch");
    open(world, efforts).map_or(Some(said.clone()), |why| Some(format!("{said}, and {why}")))
}

/// Opens a watch if a server receives less than a third of its fair share of new connections, after closing
/// the watches that were opened for earlier shares.
fn pool(world: &World<'_>, reached: &[String], efforts: &mut Efforts) -> Option<String> {
    let shared = &world.probe.shared;
    let samples: Vec<Sample> =
        world.probe.samples((shared.now() - 2.0 * BACK).max(efforts.opened + 0.3), shared.now());
    let new: Vec<&Sample> =
        samples.iter().filter(|sample| sample.traffic == Traffic::New).take(CONNECTIONS).collect();
    if new.len() < FIRST {
        return Some(TOO_FEW.into());
    }
    let names = locked(&shared.names).clone();
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    for name in new.iter().filter_map(|sample| names.get(&sample.server?)) {
        *answered.entry(name).or_default() += 1;
    }
    let fair = new.len() / reached.len().max(1);
    let count = |name: &String| answered.get(name.as_str()).copied().unwrap_or(0);
    let is_starved =
        |name: &&String| count(name) * 3 < fair && (count(name) == 0 || new.len() == CONNECTIONS);
    let Some(starved) = reached.iter().find(is_starved) else {
        return (new.len() < CONNECTIONS).then(|| TOO_FEW.into());
    };
    let said = format!("{starved} answered only {} of {} requests", count(starved), new.len());
    if !efforts.cleared {
        end_ballast(&names, &mut locked(&shared.watches));
        (efforts.opened, efforts.cleared) = (shared.now(), true);
        return Some(said);
    }
    open(world, efforts).map_or(Some(said.clone()), |why| Some(format!("{said}, and {why}")))
}

/// Closes all watches except the oldest of each server, which is the measured one.
fn end_ballast(names: &BTreeMap<Digest, String>, watches: &mut [Watch]) {
    let mut measured = BTreeSet::new();
    for watch in watches.iter_mut().filter(|watch| watch.lives()) {
        watch.needed = names.get(&watch.server).is_some_and(|name| measured.insert(name));
    }
}

/// Opens a watch, unless one was opened just now or the maximum is reached; returns the reason in the latter
/// case.
fn open(world: &World<'_>, efforts: &mut Efforts) -> Option<&'static str> {
    if world.probe.now() - efforts.opened < 1.0 {
        return None;
    }
    if efforts.ballast >= BALLAST {
        return Some("opening more connections has not changed that");
    }
    (efforts.opened, efforts.ballast) = (world.probe.now(), efforts.ballast + 1);
    world.probe.watch();
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{end_ballast, is_repeating};
    use crate::digest::Digest;
    use crate::lab::rehearse::record::{Ending, Watch};

    #[test]
    fn each_server_keeps_its_oldest_watch() {
        let (one, other) = (Digest::of(b"m1"), Digest::of(b"m2"));
        let names = BTreeMap::from([(one, "m1".to_owned()), (other, "m2".to_owned())]);
        let watch = |server, end| Watch { server, fresh: 0.0, end, needed: true };
        let gone = Some((1.0, Ending::Reset));
        let mut watches =
            [watch(one, gone), watch(one, None), watch(other, None), watch(one, None), watch(other, None)];
        end_ballast(&names, &mut watches);
        assert_eq!(watches.map(|watch| watch.lives()), [false, true, true, false, false]);
    }

    #[test]
    fn a_connection_that_waits_for_an_acknowledgement_is_seen() {
        let line = |word: &str| {
            format!(
                "0 0 10.0.0.11:2380 10.0.0.12:41232\n\t cubic wscale:7,7 rto:204 {word} unacked:1 \
                rcv_space:14480"
            )
        };
        for (word, expected) in
            [("retrans:0/3", false), ("retrans:1/3", true), ("backoff:2", true), ("lost:1", false)]
        {
            assert_eq!(is_repeating(&line(word)), expected, "{word}");
        }
    }
}
