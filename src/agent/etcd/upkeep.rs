//! Maintenance of the running member, for as long as the machine runs.

use std::time::Duration;

use super::control::{Endpoint, Members};
use super::directory::{Directory, Member, Record};
use super::metrics;
use super::notes::Notes;
use super::peers;
use super::room;
use super::settings::Settings;
use super::slow::{Latency, Slow};
use super::snapshots::Shelf;
use super::space::Space;
use crate::error::Result;
use crate::host;
use crate::host::clock::Stopwatch;
use crate::host::tls::Asking;

/// Interval between checks of the member.
const PAUSE: Duration = Duration::from_secs(5);
/// Interval between checks of the disk; short, because clients fail while the leader's disk is slow.
const LOOK: Duration = Duration::from_secs(2);
/// Interval between snapshots, measured by a monotonic clock.
const INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// Time from the start to the first snapshot if older ones exist: a machine that keeps restarting must not
/// replace them.
const SETTLED: Duration = Duration::from_secs(3600);
/// Pause between two attempts.
const AGAIN: Duration = Duration::from_secs(300);

/// Maintains the member forever. A task that fails is retried, and must not affect the member.
pub(super) fn run(settings: &Settings, latency: &Latency, journal: &(dyn Fn(&str) + Sync)) -> ! {
    let notes = Notes::new(settings, journal);
    std::thread::scope(|scope| {
        // A large snapshot takes minutes.
        scope.spawn(|| -> ! { snapshots(settings, &notes) });
        // While the leader's disk is slow, every other query takes seconds.
        scope.spawn(|| -> ! { disk(settings, latency, &notes) });
        members(settings, &notes)
    })
}

/// Monitors the latency and free space of the disk.
fn disk(settings: &Settings, latency: &Latency, notes: &Notes<'_>) -> ! {
    let mut slow = Slow::default();
    loop {
        host::clock::sleep(LOOK);
        let problems = slow.look(settings, latency, &|line| notes.journal(line));
        notes.set("disk", problems.unwrap_or_else(|err| vec![err.to_string()]));
        notes.set("room", room::look(&settings.data).unwrap_or_else(|err| vec![err.to_string()]));
    }
}

fn members(settings: &Settings, notes: &Notes<'_>) -> ! {
    let directory = Directory::new(&settings.data);
    let mut space = Space::default();
    let one = |result: Result<()>| result.err().map(|err| err.to_string()).into_iter().collect();
    loop {
        host::clock::sleep(PAUSE);
        notes.set("members", one(look(settings, &directory, &|line| notes.journal(line))));
        if metrics::is_unwell(&settings.metrics) {
            let quota = metrics::progress(&settings.metrics).quota;
            let problems = space.look(settings, quota, &|line| notes.journal(line));
            notes.set("space", problems.unwrap_or_else(|err| vec![err.to_string()]));
        } else {
            space = Space::default();
            notes.set("space", Vec::new());
        }
    }
}

/// Saves a snapshot immediately if there is none, and then at regular intervals.
fn snapshots(settings: &Settings, notes: &Notes<'_>) -> ! {
    let (shelf, directory) = (Shelf::of(settings), Directory::new(&settings.data));
    let running = Stopwatch::start();
    let mut last: Option<Stopwatch> = None;
    loop {
        host::clock::sleep(PAUSE);
        let is_due = || match last {
            Some(last) => last.elapsed() >= INTERVAL,
            None => running.elapsed() >= SETTLED || shelf.kept().is_ok_and(|kept| kept.is_empty()),
        };
        // A member without data, or without a quorum yet, has nothing worth keeping; other tasks report its
        // state.
        let lives = || Endpoint::new(settings, &settings.own().client_url).quorum().is_ok();
        if !is_due() || !directory.has_data().unwrap_or_default() || !lives() {
            continue;
        }
        match save(settings, &shelf, &directory) {
            Ok(line) => {
                last = Some(Stopwatch::start());
                notes.journal(&line);
                notes.set("snapshots", Vec::new());
            }
            Err(err) => {
                notes.set("snapshots", vec![format!("can't save a snapshot (earlier ones are kept): {err}")]);
                host::clock::sleep(AGAIN);
            }
        }
    }
}

fn save(settings: &Settings, shelf: &Shelf, directory: &Directory) -> Result<String> {
    let kept = shelf.save(settings)?;
    let waits_for_it = settings.ordered(directory.order()?.as_deref()).is_some();
    if !waits_for_it {
        shelf.forget_ordered()?;
    }
    Ok(format!("saved snapshot {} at revision {}, SHA-256 {}", kept.number, kept.revision, kept.sha256))
}

fn look(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    if !directory.has_data()? {
        return Ok(());
    }
    match Endpoint::new(settings, &settings.own().client_url).quorum() {
        Ok(header) => directory.runs_as(Member { cluster: header.cluster, id: header.member }),
        Err(_) => has_been_removed(settings, directory, journal),
    }
}

/// Records that a live cluster has removed this member: the data is of no use to the cluster, and etcd would
/// keep exiting.
fn has_been_removed(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    let Some(Record::Running { token, member, .. }) = directory.record()? else { return Ok(()) };
    let asking = Asking::new(&settings.identity())?;
    for (other, heard) in settings.members.iter().zip(peers::ask(settings, &asking)) {
        if !heard.has_quorum() {
            continue;
        }
        let Members { header, members } = Endpoint::new(settings, &other.client_url).members()?;
        // A list that lacks the answering member predates that member's own addition.
        let has = |id: u64| members.iter().any(|known| known.id == id);
        if header.cluster == member.cluster && has(header.member) && !has(member.id) {
            journal(&format!(
                "{}'s cluster has removed this member, {:x}: its data will be moved aside",
                other.name, member.id
            ));
            return directory.write(&Record::Removed { token, member });
        }
    }
    Ok(())
}
