//! One run of a case: healthy, broken, served again, healed, healthy again.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::Result;
use crate::host;
use crate::host::pressure::Pressure;
use crate::lab::rehearse::cases::{Case, Fault, Measure, Victim};
use crate::lab::rehearse::compare::Comparison;
use crate::lab::rehearse::faults::Struck;
use crate::lab::rehearse::members::Members;
use crate::lab::rehearse::probe::{Shared, locked};
use crate::lab::rehearse::record::{self, Ending, Sample, TRAFFIC, Traffic};
use crate::lab::rehearse::report::{Line, Outcome, Run, Watched, Watches};
use crate::lab::rehearse::world::World;
use crate::lab::rehearse::{goals, journal, promises, ready, steady, waits};

/// Time limit for everything to become healthy; a machine that restarts may need a minute.
const WHOLE: Duration = Duration::from_secs(180);
/// Maximum duration of a fault, in seconds.
const LONGEST: f64 = 120.0;
/// Seconds without a loss after which clients count as served again.
const SERVED: f64 = 5.0;
/// Seconds within which every request ends, served or lost.
const PENDING: f64 = 2.5;
/// Minimum time over which this machine's load is measured, in seconds.
const LOOK: f64 = 2.0;

/// Location of the nodes' journals.
pub(super) struct Journals {
    pub(super) directory: PathBuf,
    pub(super) name: String,
}

/// Runs a case. A run without a result states the reason.
///
/// # Errors
///
/// [`crate::error::Kind::Interrupted`] if a signal was received.
pub(super) fn run(
    world: &World<'_>,
    case: &Case,
    predicted: Option<[f64; 2]>,
    journals: Option<&Journals>,
    phase: &dyn Fn(&str),
) -> Result<Run> {
    let mut run = Run::default();
    world.probe.shared.asks_each.store(case.asks_each(), Ordering::Relaxed);
    let done = attempt(world, case, journals, phase, &mut run);
    world.probe.shared.asks_each.store(false, Ordering::Relaxed);
    if run.outcome == Outcome::Measured {
        run.late = goals::missed(case.goals, &run, predicted);
    }
    host::signal::check()?;
    if let Err(err) = done {
        run.outcome = Outcome::Inconclusive;
        run.why = Some(err.to_string());
    }
    if let Err(err) = world.lab.nodes() {
        (run.outcome, run.why) = (Outcome::Void, Some(format!("the lab stopped: {err}")));
    }
    Ok(run)
}

fn attempt(
    world: &World<'_>,
    case: &Case,
    journals: Option<&Journals>,
    phase: &dyn Fn(&str),
    run: &mut Run,
) -> Result<()> {
    phase("waiting until everything is healthy");
    run.waited = steady::wait(world, WHOLE)?;
    run.victims = victims(world, case, phase)?;
    let shared = &world.probe.shared;
    let before = Before::look(world)?;
    let begin = before.begin;
    phase(&format!("injecting the fault on {}", run.victims.join(", ")));
    let mut struck = world.strike(case.fault, &run.victims)?;
    if let Err(why) = struck.verify(world.lab)? {
        world.heal(&mut struck)?;
        run.why = Some(why);
        return Ok(());
    }
    let seen = if case.measure == Measure::Waiting {
        see_members(world, &struck, &before, journals, phase, run)?
    } else {
        see(world, case, &before, run)?
    };
    let met = struck.was_met(world.lab, before.time)?;
    if struck.lasts() {
        phase("removing the fault");
        run.healed = Some(shared.now() - begin);
        world.heal(&mut struck)?;
    }
    phase("waiting until everything is healthy again");
    let whole = steady::wait(world, WHOLE);
    host::clock::sleep(Duration::from_millis(200));
    run.ended = shared.now() - begin;
    judge_clients(run, shared, case, &before);
    run.compared = seen.compared.map(|(from, to)| compare(&world.probe.samples(from, to)));
    run.censored = !seen.served && case.fault != Fault::Outage;
    time(run, case.measure, seen.change);
    conclude(world, case, &before, journals, run)?;
    if let Err(err) = whole {
        run.broken.push(err.to_string());
    }
    match met {
        Ok(()) => run.outcome = Outcome::Measured,
        Err(why) => run.why = Some(why),
    }
    Ok(())
}

/// Moves the roles that the case needs to the nodes that the fault affects, and returns these nodes.
fn victims(world: &World<'_>, case: &Case, phase: &dyn Fn(&str)) -> Result<Vec<String>> {
    let victims = world.victims(case.victim)?;
    match (case.victim, case.fault, &victims[..]) {
        (Victim::Holder | Victim::LeadingHolder, _, [holder]) => {
            world.lead(holder, case.victim == Victim::LeadingHolder)?;
        }
        (_, Fault::SlowDisk, [leader]) => return Ok(vec![rested_leader(world, leader, phase)?]),
        _ => {}
    }
    Ok(victims)
}

/// Moves leadership to a node whose agent will transfer it away from a slow disk, and returns that node: an
/// agent that has transferred leadership in an earlier case pauses before it does so again.
fn rested_leader(world: &World<'_>, leader: &str, phase: &dyn Fn(&str)) -> Result<String> {
    let (node, pause) = world.lead_rested(leader)?;
    let until = world.probe.now() + pause;
    if pause > 0.0 {
        phase(&format!("waiting until the agent on {node} may transfer leadership again"));
    }
    while world.probe.now() < until {
        host::signal::check()?;
        host::clock::sleep(Duration::from_millis(300));
    }
    steady::wait(world, WHOLE)?;
    locked(&world.slowed).insert(node.clone(), world.probe.now() + promises::HANDED_ON);
    Ok(node)
}

/// What was seen during the fault.
struct Seen {
    /// True if clients were served in time.
    served: bool,
    /// Time of the expected change, for cases that do not affect clients.
    change: Option<f64>,
    /// Times between which connections were also opened directly to an API server.
    compared: Option<(f64, f64)>,
}

/// Lets the fault last until clients are served, or a load for as long as the case requires.
fn see(world: &World<'_>, case: &Case, before: &Before, run: &mut Run) -> Result<Seen> {
    let begin = before.begin;
    if case.fault.is_borne() {
        let compared = bear(world, case, begin, &run.victims)?;
        return Ok(Seen { served: true, change: None, compared });
    }
    let mut change = None;
    let served = hold(world, case, begin, &mut change, |open| {
        if open || world.probe.shared.now() - begin < LOOK {
            run.pressure = before.pressure.share();
        }
    })?;
    Ok(Seen { served, change, compared: None })
}

/// Observes members that wait for others, and collects their messages.
fn see_members(
    world: &World<'_>,
    struck: &Struck,
    before: &Before,
    journals: Option<&Journals>,
    phase: &dyn Fn(&str),
    run: &mut Run,
) -> Result<Seen> {
    let waits = waits::watch(world, struck.parted(), before.begin, phase)?;
    (run.broken, run.pressure) = (waits.broken, before.pressure.share());
    run.lines = lines(world, before, journals, "-waiting")?;
    run.lines.retain(|line| line.text.contains("waiting: "));
    Ok(Seen { served: true, change: waits.said, compared: None })
}

/// State before the fault.
struct Before {
    members: Option<Members>,
    watched: Vec<(String, usize)>,
    /// Time of the fault: in seconds since the probe started, and in seconds since 1970.
    begin: f64,
    time: f64,
    pressure: Pressure,
}

impl Before {
    fn look(world: &World<'_>) -> Result<Self> {
        let shared = &world.probe.shared;
        let (members, watched) = (world.members()?, watched(shared));
        let time = host::clock::since_1970().as_secs_f64();
        Ok(Self { members, watched, begin: shared.now(), time, pressure: Pressure::begin()? })
    }
}

/// Sets the measured time of the case; `change` is the time at which the expected change was seen, for cases
/// that do not affect clients.
fn time(run: &mut Run, measure: Measure, change: Option<f64>) {
    let ending = run
        .watched
        .iter()
        .find(|watched| run.victims.contains(&watched.node))
        .and_then(|watched| watched.ended);
    run.cut = ending.filter(|(_, how)| *how == Ending::Reset).map(|(at, _)| at);
    let gap = run.gaps.values().fold(0.0, |longest: f64, gap| longest.max(gap.seconds));
    run.measured = match measure {
        Measure::Service => gap,
        Measure::Sessions => gap.max(ending.map_or(0.0, |(at, _)| at)),
        Measure::Lease(_) | Measure::Waiting => change.unwrap_or(run.ended),
        Measure::ReadyToServed => run.ready_to_served.unwrap_or(run.ended),
    };
}

/// Records broken promises and the nodes' messages.
fn conclude(
    world: &World<'_>,
    case: &Case,
    before: &Before,
    journals: Option<&Journals>,
    run: &mut Run,
) -> Result<()> {
    let after = world.members()?;
    run.broken.extend(promises::broken(world, before.members.as_ref(), after.as_ref())?);
    run.lines.extend(lines(world, before, journals, "")?);
    let terms = after.zip(before.members.as_ref()).map(|(after, before)| (after.term, before.term));
    run.broken.extend(promises::of(case.fault, run, terms));
    run.lines.truncate(journal::MOST);
    Ok(())
}

/// Returns the nodes' messages since the fault; `mark` distinguishes journals that were collected at
/// different times in a run.
fn lines(world: &World<'_>, before: &Before, journals: Option<&Journals>, mark: &str) -> Result<Vec<Line>> {
    let directory = journals.map(|journals| journals.directory.as_path());
    let name = journals.map_or_else(String::new, |journals| format!("{}{mark}", journals.name));
    journal::collect(world, before.time, directory, &name)
}

/// Keeps a load applied, whatever happens to requests. On a bad cable, connections are also opened directly
/// to the API server on that machine, if any; returns the times between which that was done.
fn bear(world: &World<'_>, case: &Case, begin: f64, victims: &[String]) -> Result<Option<(f64, f64)>> {
    let shared = &world.probe.shared;
    let server =
        shared.target.servers.iter().find(|(node, _)| victims.contains(node)).map(|(_, address)| *address);
    let server = server.filter(|_| matches!(case.fault, Fault::Loss { .. }));
    *locked(&shared.direct) = server;
    let from = shared.now();
    let borne = last(world, case, begin);
    *locked(&shared.direct) = None;
    borne.map(|()| server.map(|_| (from, shared.now())))
}

fn last(world: &World<'_>, case: &Case, begin: f64) -> Result<()> {
    while world.probe.shared.now() - begin < case.least() {
        host::signal::check()?;
        host::clock::sleep(Duration::from_millis(200));
        world.lab.nodes()?;
    }
    Ok(())
}

fn compare(samples: &[Sample]) -> Comparison {
    Comparison {
        endpoint: record::losses(samples, Traffic::New),
        direct: record::losses(samples, Traffic::Direct),
    }
}

/// Waits until clients are served, whatever is still broken; returns whether that happened in time.
fn hold(
    world: &World<'_>,
    case: &Case,
    begin: f64,
    leader: &mut Option<f64>,
    mut look: impl FnMut(bool),
) -> Result<bool> {
    let shared = &world.probe.shared;
    loop {
        host::signal::check()?;
        host::clock::sleep(Duration::from_millis(100));
        world.lab.nodes()?;
        let now = shared.now();
        let last = record::last_loss(&world.probe.samples(begin - 0.5, now));
        let is_quiet = last.is_none_or(|last| now - last > SERVED + PENDING);
        if let Measure::Lease(_) = case.measure {
            *leader = leader.or_else(|| {
                locked(&shared.lease).as_ref().and_then(|lease| successor(&lease.holders, begin))
            });
        }
        let is_led = !matches!(case.measure, Measure::Lease(_)) || leader.is_some();
        look(last.is_some_and(|last| now - last < 1.0) || !is_led);
        if now - begin > LONGEST {
            return Ok(is_quiet && is_led);
        }
        if is_quiet && is_led && now - begin > case.least() {
            return Ok(true);
        }
    }
}

/// Returns the time at which another leader was first seen.
fn successor(leaders: &[(f64, String)], begin: f64) -> Option<f64> {
    let before = leaders.iter().rev().find(|(at, _)| *at <= begin).map(|(_, holder)| holder)?;
    leaders.iter().find(|(at, holder)| *at > begin && holder != before).map(|(at, _)| at - begin)
}

/// Returns the oldest live watch on each API server.
fn watched(shared: &Shared) -> Vec<(String, usize)> {
    let (names, watches) = (locked(&shared.names), locked(&shared.watches));
    let lives = |node: &str| {
        watches
            .iter()
            .position(|watch| watch.lives() && names.get(&watch.server).is_some_and(|name| name == node))
    };
    shared.target.servers.iter().filter_map(|(node, _)| Some((node.clone(), lives(node)?))).collect()
}

/// Returns the outcomes of these watches.
fn outcomes(shared: &Shared, watched: &[(String, usize)], begin: f64) -> Vec<Watched> {
    let watches = locked(&shared.watches);
    let outcome = |(node, index): &(String, usize)| {
        let ended = watches[*index].end.map(|(at, how)| (at - begin, how));
        Watched { node: node.clone(), ended }
    };
    watched.iter().map(outcome).collect()
}

/// Counts the outcomes of watches up to the time `until`.
fn count(watched: &[Watched], until: f64) -> Watches {
    watched.iter().fold(Watches::default(), |mut sum, watched| {
        match watched.ended.filter(|(at, _)| *at <= until) {
            None => sum.kept += 1,
            Some((_, Ending::Reset)) => sum.reset += 1,
            Some((_, Ending::Stalled)) => sum.stalled += 1,
        }
        sum
    })
}

/// Records what clients have seen so far.
fn judge_clients(run: &mut Run, shared: &Shared, case: &Case, before: &Before) {
    let begin = before.begin;
    let samples = shared.samples(begin - 0.5, shared.now());
    judge_requests(run, &samples, begin);
    if case.asks_each() {
        run.ready_to_served = ready::to_served(&locked(&shared.readiness), &samples, begin);
    }
    run.lost_share = case.lasts_a_minute().then(|| record::share(&samples, begin, begin + goals::MINUTE));
    run.watched = outcomes(shared, &before.watched, begin);
    // A silent watch is detected only once there are writes again.
    let until = run.healed.filter(|_| case.measure != Measure::Waiting);
    run.watches = count(&run.watched, until.unwrap_or(run.ended));
    let holders = locked(&shared.holders);
    let first = holders.iter().rposition(|(at, _)| *at <= begin).unwrap_or(0);
    run.holders = holders[first..].iter().map(|(at, holder)| (at - begin, holder.clone())).collect();
}

fn judge_requests(run: &mut Run, samples: &[Sample], begin: f64) {
    for traffic in TRAFFIC {
        run.losses.insert(traffic, record::losses(samples, traffic));
        run.gaps.insert(traffic, record::gap(samples, traffic));
        let lost = samples.iter().filter(|sample| sample.traffic == traffic && !sample.served);
        let mut lost: Vec<f64> = lost.map(|sample| sample.sent - begin).collect();
        lost.sort_by(f64::total_cmp);
        run.lost_at.insert(traffic, lost);
    }
    run.last_loss = record::last_loss(samples).map(|at| at - begin);
}

#[cfg(test)]
mod tests {
    use super::{count, successor};
    use crate::lab::rehearse::record::Ending;
    use crate::lab::rehearse::report::{Watched, Watches};

    #[test]
    fn a_successor_is_another_one_than_who_led_at_the_fault() {
        let leaders = [(1.0, "m1_a".to_owned()), (14.0, "m1_b".to_owned()), (15.5, "m2_c".to_owned())];
        assert_eq!(successor(&leaders, 10.0), Some(4.0));
        assert_eq!(successor(&leaders, 14.5), Some(1.0));
        assert_eq!(successor(&leaders, 16.0), None);
        assert_eq!(successor(&leaders, 0.5), None);
    }

    #[test]
    fn what_ends_once_something_was_mended_does_not_count() {
        let watched = |ended| Watched { node: "m1".into(), ended };
        let all = [
            watched(None),
            watched(Some((2.0, Ending::Reset))),
            watched(Some((6.0, Ending::Stalled))),
            watched(Some((16.0, Ending::Reset))),
        ];
        assert_eq!(count(&all, 15.0), Watches { kept: 2, reset: 1, stalled: 1 });
    }
}
