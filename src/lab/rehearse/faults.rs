//! Breaking, finding out that it is broken, and mending.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::lab::control::{Disk, Word};
use crate::lab::rehearse::cases::{Fault, Program};
use crate::lab::rehearse::world::World;
use crate::lab::{Changes, Cut, Delay, Lab, SYNC};

/// How long a fault may need until it can be seen.
const SEEN: Duration = Duration::from_secs(3);
/// The same of what ends in its own time: an API server finishes requests for up to a minute.
const ENDED: Duration = Duration::from_secs(90);
/// How long a machine may take to shut down.
const OFF: Duration = Duration::from_secs(120);
/// What etcd says where it can't write, errno(3).
const NO_SPACE: &str = "no space left on device";
/// How long an outage of all machines lasts.
const OUTAGE: Duration = Duration::from_secs(2);

/// A fault that was made on some nodes.
pub(super) struct Struck {
    fault: Fault,
    nodes: Vec<String>,
    /// Processes as they were.
    before: Vec<u32>,
    burden: Vec<Burden>,
}

/// A program that computes for as long as this lives.
struct Burden(Child);

impl Burden {
    fn new() -> Result<Self> {
        let mut command = host::process::command("yes");
        command.stdout(Stdio::null()).spawn().map(Self).doing(Kind::Tool, || "starting `yes`".into())
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Breaks something.
///
/// # Errors
///
/// What the lab said.
pub(super) fn strike(lab: &Lab, fault: Fault, nodes: &[String]) -> Result<Struck> {
    let mut before = Vec::new();
    let burden = if let Fault::Busy(count) = fault { (0..count).map(|_| Burden::new()).collect::<Result<_>>()? } else { Vec::new() };
    for node in nodes {
        match fault {
            Fault::Kill(program) => before.extend(signal(lab, node, program, Some(Word::Kill))?),
            Fault::Hang(program) => before.extend(signal(lab, node, program, Some(Word::Stop))?),
            Fault::Restart(program) => before.extend(restart(lab, node, program)?),
            Fault::ShutDown => drop(lab.answer(node, &["systemctl", "poweroff"])),
            Fault::Power | Fault::Outage | Fault::OutageButOne => lab.kill(node, Disk::Kept)?,
            Fault::LostDisks if lost(nodes).contains(node) => lab.kill(node, Disk::Aside)?,
            Fault::LostDisks => lab.kill(node, Disk::Kept)?,
            Fault::Freeze => lab.freeze(node, true)?,
            Fault::FreezeUnplugged => {
                lab.unplug(node, true)?;
                lab.freeze(node, true)?;
            }
            Fault::Unplug => lab.unplug(node, true)?,
            Fault::Busy(_) => {}
            Fault::SlowDisk => lab.slow(node, SYNC)?,
            Fault::FullDisk => {
                before.extend(signal(lab, node, Program::Etcd, None)?);
                lab.fill(node)?;
            }
            Fault::Loss { percent, milliseconds } => {
                lab.delay(node, Delay { milliseconds, direction: None })?;
                lab.cut(node, Cut { loss: percent, ..Cut::whole() })?;
            }
        }
    }
    let back = match fault {
        Fault::Outage => nodes,
        Fault::OutageButOne => but_last(nodes),
        Fault::LostDisks => lost(nodes),
        _ => &[],
    };
    if !back.is_empty() {
        host::clock::sleep(OUTAGE);
        back.iter().try_for_each(|node| lab.start(node, Changes::default()))?;
    }
    Ok(Struck { fault, nodes: nodes.to_vec(), before, burden })
}

/// All machines but the one that stays off.
fn but_last(nodes: &[String]) -> &[String] {
    nodes.split_last().map_or(&[], |(_, others)| others)
}

/// The majority, which loses its disks.
fn lost(members: &[String]) -> &[String] {
    &members[..members.len() / 2 + 1]
}

/// By its unit, which is how an update does it; where a kubelet runs it, by a signal that asks it to end.
fn restart(lab: &Lab, node: &str, program: Program) -> Result<Vec<u32>> {
    let before = signal(lab, node, program, None)?;
    let unit = format!("{}.service", program.names(lab)[0]);
    if lab.answer(node, &["systemctl", "is-active", &unit]).is_some_and(|word| word.trim() == "active") {
        drop(lab.answer(node, &["systemctl", "--no-block", "restart", &unit]));
        return Ok(before);
    }
    signal(lab, node, program, Some(Word::End))
}

fn signal(lab: &Lab, node: &str, program: Program, word: Option<Word>) -> Result<Vec<u32>> {
    for name in program.names(lab) {
        let found = lab.signal(node, name, word)?;
        if !found.is_empty() {
            return Ok(found.into_iter().map(|process| process.id).collect());
        }
    }
    Ok(Vec::new())
}

impl Struck {
    /// Whether the fault is there; the reason if it is not.
    ///
    /// # Errors
    ///
    /// If the lab is gone.
    pub(super) fn verify(&self, lab: &Lab) -> Result<Result<(), String>> {
        let watch = Stopwatch::start();
        let limit = if matches!(self.fault, Fault::ShutDown | Fault::Restart(_)) { ENDED } else { SEEN };
        loop {
            match self.look(lab)? {
                Err(_) if watch.elapsed() < limit => host::clock::sleep(Duration::from_millis(20)),
                other => return Ok(other),
            }
        }
    }

    fn look(&self, lab: &Lab) -> Result<Result<(), String>> {
        let states = lab.nodes()?;
        for node in &self.nodes {
            let Some(state) = states.iter().find(|state| state.name == *node) else { continue };
            let seen = match self.fault {
                Fault::Kill(program) | Fault::Restart(program) => self.are_gone(lab, node, program)?,
                Fault::Hang(program) => are_stopped(lab, node, program)?,
                Fault::ShutDown => !state.running || is_stopping(lab, node),
                Fault::Power => !state.running,
                Fault::Freeze => state.frozen,
                Fault::FreezeUnplugged => state.frozen && state.unplugged,
                Fault::Unplug => state.unplugged,
                Fault::Loss { .. } => !state.cuts.is_empty() && state.delay.is_some(),
                Fault::SlowDisk | Fault::FullDisk => !state.disk.is_empty(),
                Fault::Outage => state.running,
                Fault::OutageButOne => state.running == but_last(&self.nodes).contains(node),
                Fault::LostDisks => state.running == lost(&self.nodes).contains(node),
                Fault::Busy(count) => self.burden.len() == usize::from(count),
            };
            if !seen {
                return Ok(Err(format!("the fault is not seen on {node}: {:?}", self.fault)));
            }
        }
        Ok(Ok(()))
    }

    fn are_gone(&self, lab: &Lab, node: &str, program: Program) -> Result<bool> {
        let now = signal(lab, node, program, None)?;
        Ok(!self.before.is_empty() && self.before.iter().all(|id| !now.contains(id)))
    }

    /// Ends the fault, as far as it does not end by itself.
    ///
    /// # Errors
    ///
    /// What the lab said.
    fn heal(&mut self, lab: &Lab) -> Result<()> {
        self.burden.clear();
        match self.fault {
            Fault::OutageButOne => return self.nodes.last().map_or(Ok(()), |node| lab.start(node, Changes::default())),
            Fault::LostDisks => return self.give_back(lab),
            _ => {}
        }
        for node in &self.nodes {
            match self.fault {
                Fault::Hang(program) => drop(signal(lab, node, program, Some(Word::Continue))?),
                Fault::ShutDown => {
                    wait_until_off(lab, node)?;
                    lab.start(node, Changes::default())?;
                }
                Fault::Power => lab.start(node, Changes::default())?,
                Fault::Freeze => lab.freeze(node, false)?,
                Fault::FreezeUnplugged => {
                    lab.unplug(node, false)?;
                    lab.freeze(node, false)?;
                }
                Fault::Unplug => lab.unplug(node, false)?,
                Fault::Loss { .. } | Fault::SlowDisk | Fault::FullDisk => lab.mend(node)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// All are switched off, and on again with the disks that they had.
    fn give_back(&self, lab: &Lab) -> Result<()> {
        let states = lab.nodes()?;
        for node in &self.nodes {
            let is_on = states.iter().any(|state| state.name == *node && state.running);
            if lost(&self.nodes).contains(node) {
                lab.kill(node, Disk::Returned)?;
            } else if is_on {
                lab.kill(node, Disk::Kept)?;
            }
        }
        self.nodes.iter().try_for_each(|node| lab.start(node, Changes::default()))
    }

    /// Members whose disks were lost, and those that have theirs.
    pub(super) fn parted(&self) -> (&[String], &[String]) {
        let lost = lost(&self.nodes);
        (lost, &self.nodes[lost.len()..])
    }

    /// Whether what runs on the node was harmed at all, by what it said since `begin`, in seconds since 1970: etcd writes for long into what
    /// it has reserved on a disk that is full.
    ///
    /// # Errors
    ///
    /// If the lab is gone.
    pub(super) fn was_met(&self, lab: &Lab, begin: f64) -> Result<Result<(), String>> {
        let since = format!("--since=@{begin}");
        for node in self.nodes.iter().filter(|_| self.fault == Fault::FullDisk) {
            let said = lab.transcript(node, &["journalctl", "--no-pager", "--unit=etcd.service", &since])?;
            if !said.contains(NO_SPACE) && !self.are_gone(lab, node, Program::Etcd)? {
                return Ok(Err(format!("the member of etcd on {node} did not run out of room")));
            }
        }
        Ok(Ok(()))
    }

    /// Whether what is broken can't be whole before it is mended.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self.fault, Fault::Kill(_) | Fault::Restart(_) | Fault::Outage)
    }
}

fn is_stopping(lab: &Lab, node: &str) -> bool {
    lab.answer(node, &["systemctl", "is-system-running"]).is_some_and(|word| word.trim() == "stopping")
}

/// A machine ends its programs in its own time; one that never does loses its power.
fn wait_until_off(lab: &Lab, node: &str) -> Result<()> {
    let watch = Stopwatch::start();
    while lab.nodes()?.iter().any(|state| state.name == node && state.running) {
        host::signal::check()?;
        if watch.elapsed() > OFF {
            return lab.kill(node, Disk::Kept);
        }
        host::clock::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn are_stopped(lab: &Lab, node: &str, program: Program) -> Result<bool> {
    for name in program.names(lab) {
        let found = lab.signal(node, name, None)?;
        if !found.is_empty() {
            return Ok(found.iter().all(|process| matches!(process.state, 'T' | 't')));
        }
    }
    Ok(false)
}

impl World<'_> {
    /// As [`strike`], on the nodes of this lab.
    pub(super) fn strike(&self, fault: Fault, nodes: &[String]) -> Result<Struck> {
        let struck = strike(self.lab, fault, nodes)?;
        if fault == Fault::FullDisk {
            self.grow(nodes)?;
        }
        Ok(struck)
    }

    /// As [`Struck::heal`].
    pub(super) fn heal(&self, struck: &mut Struck) -> Result<()> {
        struck.heal(self.lab)?;
        if struck.fault == Fault::FullDisk { self.shrink(&struck.nodes) } else { Ok(()) }
    }
}
