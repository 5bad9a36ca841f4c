//! etcd members whose disks were lost: a majority of such members must wait, report which members they are
//! waiting for, and not bootstrap a new cluster (docs/etcd.md).

use std::time::Duration;

use crate::error::Result;
use crate::host;
use crate::lab::Changes;
use crate::lab::rehearse::cases::Program;
use crate::lab::rehearse::record::Traffic;
use crate::lab::rehearse::world::World;

/// Time limit for a machine with an empty disk to report which members it is waiting for.
const SAYS: Duration = Duration::from_secs(90);
/// Observation time after that: bootstrapping takes no more than a second.
const LOOKED_AT: Duration = Duration::from_secs(10);

/// Result of the observation.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Seconds from `begin` until each member without data reported that it is waiting for the members that
    /// are off.
    pub(super) said: Option<f64>,
    pub(super) broken: Vec<String>,
}

/// Observes members without data, first while the members with data are off, then after these are back.
///
/// # Errors
///
/// If the lab has stopped.
pub(super) fn watch(
    world: &World<'_>,
    (blank, data): (&[String], &[String]),
    begin: f64,
    phase: &dyn Fn(&str),
) -> Result<Seen> {
    let mut seen = Seen::default();
    let until_said = |seen: &mut Seen, what: &str| -> Result<Option<f64>> {
        let said = until_all_say(world, blank, data, what)?;
        look(world, blank, seen)?;
        match said {
            Ok(at) => Ok(Some(at - begin)),
            Err(why) => {
                seen.broken.push(why);
                Ok(None)
            }
        }
    };
    phase(&format!("without data: {}; off: {}", blank.join(", "), data.join(", ")));
    seen.said = until_said(&mut seen, "does not respond")?;
    phase(&format!("starting {}", data.join(", ")));
    data.iter().try_for_each(|node| world.lab.start(node, Changes::default()))?;
    until_said(&mut seen, "has data")?;
    let written = world.probe.samples(begin + 2.0, world.probe.now());
    let written = written.iter().filter(|sample| sample.traffic == Traffic::Write && sample.served).count();
    if written > 0 {
        seen.broken.push(format!("writes acknowledged while a majority of members had no data: {written}"));
    }
    Ok(seen)
}

/// Waits until each of `nodes` reports `what` about each of `others`, in its status and on its console;
/// returns the time, or the missing report.
fn until_all_say(
    world: &World<'_>,
    nodes: &[String],
    others: &[String],
    what: &str,
) -> Result<Result<f64, String>> {
    let watch = host::clock::Stopwatch::start();
    loop {
        host::signal::check()?;
        let mut silent = None;
        for node in nodes {
            if let Some(why) = other_words(world, node, others, what)? {
                silent = Some(why);
                break;
            }
        }
        match silent {
            None => return Ok(Ok(world.probe.now())),
            Some(why) if watch.elapsed() > SAYS => return Ok(Err(why)),
            Some(_) => host::clock::sleep(Duration::from_millis(200)),
        }
    }
}

/// Returns a description of what the node's report lacks, if anything.
fn other_words(world: &World<'_>, node: &str, others: &[String], what: &str) -> Result<Option<String>> {
    let status = world.lab.answer(node, &["/usr/bin/kiln", "agent", "status"]).unwrap_or_default();
    let console = host::fs::read(&world.lab.console_of(world.lab.guest(node)?)).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let missing = others
        .iter()
        .find(|other| !says(&status, "waiting: ", other, what) || !says(&console, "etcd: ", other, what));
    Ok(missing.map(|other| {
        format!("{node} does not report that {other} {what}: its status is {:?}", status.trim())
    }))
}

fn says(text: &str, mark: &str, other: &str, what: &str) -> bool {
    text.contains(&format!("{mark}{other} {what}"))
}

/// Checks for a while that no member without data runs etcd.
fn look(world: &World<'_>, blank: &[String], seen: &mut Seen) -> Result<()> {
    let watch = host::clock::Stopwatch::start();
    while watch.elapsed() < LOOKED_AT {
        host::signal::check()?;
        let running = world.running(Program::Etcd)?;
        if let Some((node, _)) = running.iter().find(|(node, _)| blank.contains(node)) {
            seen.broken.push(format!("{node} runs etcd although its disk was lost"));
            return Ok(());
        }
        host::clock::sleep(Duration::from_millis(500));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::says;

    #[test]
    fn a_member_must_name_whom_it_waits_for() {
        let status =
            "applied m1\nwaiting: m3 does not respond (Connection refused (os error 111)), for 1 min\n";
        assert!(says(status, "waiting: ", "m3", "does not respond"));
        assert!(!says(status, "waiting: ", "m2", "does not respond"));
        assert!(!says(status, "waiting: ", "m3", "has data"));
    }
}
