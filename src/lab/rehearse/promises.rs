//! Conditions that must be met during and after a case, with one sentence for each broken promise.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::lab::rehearse::cases::Fault;
use crate::lab::rehearse::compare::Comparison;
use crate::lab::rehearse::members::Members;
use crate::lab::rehearse::report::{Line, Run};
use crate::lab::rehearse::traffic;
use crate::lab::rehearse::world::World;

/// Limit in seconds for a leadership transfer: the agent measures three times, two seconds apart, and the
/// etcd that it queries is slow.
pub(super) const HANDED_ON: f64 = 30.0;
/// Seconds until requests that wait for a leader with a slow disk are answered by its successor or time out.
const CAUGHT_UP: f64 = 3.0;

/// Returns the promises that were broken during a fault; `terms` are etcd's Raft terms after and before the
/// fault.
pub(super) fn of(fault: Fault, run: &Run, terms: Option<(u64, u64)>) -> Vec<String> {
    let elections = terms.map_or(0, |(after, before)| after.saturating_sub(before));
    match fault {
        Fault::Loss { .. } | Fault::Busy(_) => reactions(run, elections),
        Fault::SlowDisk => handing_on(run, elections),
        _ => Vec::new(),
    }
}

/// Returns the reactions of a cluster that had to withstand a load without reacting.
fn reactions(run: &Run, elections: u64) -> Vec<String> {
    let (moves, ended) = (run.holders.len().saturating_sub(1), run.ended);
    // A server that tracks the checks of another section is counted only once.
    let is_down = |line: &&Line| line.text.contains(" is DOWN") && !line.text.contains(" is DOWN via ");
    let downs = run.lines.iter().filter(|line| (0.0..ended).contains(&line.at)).filter(is_down).count();
    let mut found = Vec::new();
    if moves > 0 {
        found.push(format!("VIP moves: {moves}, expected none"));
    }
    if downs > 0 {
        found.push(format!("API server DOWN events on balancers: {downs}, expected none"));
    }
    if elections > 0 {
        found.push(format!("etcd elections: {elections}, expected none"));
    }
    found.extend(run.compared.and_then(Comparison::judge));
    found
}

/// Returns the promises that were broken while the leader's disk was slow: leadership must move to another
/// member soon and only once, and nothing may be lost after that, although the disk is as slow as before.
fn handing_on(run: &Run, elections: u64) -> Vec<String> {
    let mut said = run
        .lines
        .iter()
        .filter(|line| line.at >= 0.0 && line.text.contains("transferring leadership to"))
        .map(|line| line.at);
    let handed_on = said.next().filter(|at| *at < HANDED_ON);
    let caught_up = handed_on.unwrap_or(HANDED_ON) + CAUGHT_UP;
    let lost = run.lost_at.values().flatten().filter(|at| **at > caught_up).count();
    let mut found = Vec::new();
    if lost > 0 {
        found.push(format!(
            "requests lost after {caught_up:.1} s, when another member should have been leader: {lost}"
        ));
    }
    if handed_on.is_none() {
        found.push(format!("no agent reported a leadership transfer within {HANDED_ON} s"));
    }
    if elections != 1 {
        found.push(format!("etcd elections: {elections}, expected 1"));
    }
    found
}

/// Checks promises that no fault may break: one history, with every acknowledged write, and one VIP holder.
pub(super) fn broken(
    world: &World<'_>,
    before: Option<&Members>,
    after: Option<&Members>,
) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    if let Some((before, after)) = before
        .zip(after)
        .map(|(before, after)| (&before.clusters, &after.clusters))
        .filter(|(before, after)| before != after)
    {
        broken.push(format!("etcd's cluster ID changed from {before:x?} to {after:x?}"));
    }
    let acknowledged = world.probe.shared.revision.load(Ordering::Relaxed);
    let answers: BTreeMap<String, Result<u64, String>> =
        world.probe.ask(traffic::ask_each).unwrap_or_default().into_iter().collect();
    for (node, answer) in answers {
        match answer {
            Ok(revision) if revision < acknowledged => {
                broken.push(format!(
                    "{node} is at revision {revision}, but revision {acknowledged} was acknowledged"
                ));
            }
            _ => {}
        }
    }
    let holders = world.holders()?;
    if world.lab.vip.is_some() && holders.len() != 1 {
        broken.push(format!("the VIP must be on exactly one node, but is on {holders:?}"));
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::lab::rehearse::cases::Fault;
    use crate::lab::rehearse::record::Traffic;
    use crate::lab::rehearse::report::{Line, Run};

    fn run(lost: f64, said: f64) -> Run {
        let line = Line {
            at: said,
            node: "m1".into(),
            text: "kiln[7]: disk is slow: transferring leadership to m2, where a sync takes 2 ms".into(),
        };
        let mut run = Run { lines: vec![line], ended: 120.0, ..Run::default() };
        run.lost_at.insert(Traffic::New, vec![1.0, lost, lost]);
        run
    }

    #[test]
    fn a_server_that_is_given_up_counts_once_though_another_section_follows_its_checks() {
        let line =
            |text: &str| Line { at: 22.7, node: "m2".into(), text: format!("haproxy[151]: Server {text}") };
        let lines = vec![
            line("checks/m3 is DOWN, reason: Layer4 timeout"),
            line("kube-apiserver/m3 is DOWN via checks/m3. 2 active"),
        ];
        let run = Run { lines, ended: 60.0, ..Run::default() };
        assert_eq!(
            of(Fault::Busy(10), &run, Some((7, 7))),
            ["API server DOWN events on balancers: 1, expected none"]
        );
    }

    #[test]
    fn a_slow_disk_costs_one_election_that_is_said_in_time_and_nothing_from_then_on() {
        let broken = |run: &Run, terms| of(Fault::SlowDisk, run, Some(terms)).join(", ");
        assert_eq!(broken(&run(16.9, 14.0), (8, 7)), "");
        assert_eq!(
            broken(&run(17.1, 14.0), (8, 7)),
            "requests lost after 17.0 s, when another member should have been leader: 2"
        );
        assert_eq!(
            broken(&run(3.0, 31.0), (7, 7)),
            "no agent reported a leadership transfer within 30 s, etcd elections: 0, expected 1"
        );
        assert_eq!(broken(&run(3.0, 14.0), (9, 7)), "etcd elections: 2, expected 1");
    }
}
