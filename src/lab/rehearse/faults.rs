//! Faults: injecting, verifying and healing them.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::lab::control::{Disk, Word};
use crate::lab::rehearse::cases::{Fault, Program};
use crate::lab::rehearse::world::World;
use crate::lab::{Changes, Cut, Delay, Lab, SYNC};

/// Time limit for a fault to become visible.
const SEEN: Duration = Duration::from_secs(3);
/// Time limit for a graceful exit to become visible: an API server may take up to a minute to finish
/// requests.
const ENDED: Duration = Duration::from_secs(90);
/// Time limit for a machine to shut down.
const OFF: Duration = Duration::from_secs(120);
/// Message that etcd logs if its disk is full, errno(3).
const NO_SPACE: &str = "no space left on device";
/// Duration of an outage of all machines.
const OUTAGE: Duration = Duration::from_secs(2);

/// A fault in effect on some nodes.
pub(super) struct Struck {
    fault: Fault,
    nodes: Vec<String>,
    /// Processes before the fault.
    before: Vec<u32>,
    burden: Vec<Burden>,
}

/// A program that keeps a CPU busy until this value is dropped.
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

/// Injects a fault on some nodes.
///
/// # Errors
///
/// Errors from the lab.
pub(super) fn strike(lab: &Lab, fault: Fault, nodes: &[String]) -> Result<Struck> {
    let mut before = Vec::new();
    let burden = if let Fault::Busy(count) = fault {
        (0..count).map(|_| Burden::new()).collect::<Result<_>>()?
    } else {
        Vec::new()
    };
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

/// Returns all machines except the one that stays off.
fn but_last(nodes: &[String]) -> &[String] {
    nodes.split_last().map_or(&[], |(_, others)| others)
}

/// Returns the majority that loses its disks.
fn lost(members: &[String]) -> &[String] {
    &members[..members.len() / 2 + 1]
}

/// Restarts a program through its unit, as an update does; if kubelet runs the program, sends it SIGTERM
/// instead.
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
    /// Checks whether the fault is in effect; returns the reason if not.
    ///
    /// # Errors
    ///
    /// If the lab has stopped.
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
                return Ok(Err(format!("the fault is not visible on {node}: {:?}", self.fault)));
            }
        }
        Ok(Ok(()))
    }

    fn are_gone(&self, lab: &Lab, node: &str, program: Program) -> Result<bool> {
        let now = signal(lab, node, program, None)?;
        Ok(!self.before.is_empty() && self.before.iter().all(|id| !now.contains(id)))
    }

    /// Ends the fault, unless it ends on its own.
    ///
    /// # Errors
    ///
    /// Errors from the lab.
    fn heal(&mut self, lab: &Lab) -> Result<()> {
        self.burden.clear();
        match self.fault {
            Fault::OutageButOne => {
                return self.nodes.last().map_or(Ok(()), |node| lab.start(node, Changes::default()));
            }
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

    /// Powers all machines off, then on again with their old disks.
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

    /// Returns the members whose disks were lost, and those that still have their disks.
    pub(super) fn parted(&self) -> (&[String], &[String]) {
        let lost = lost(&self.nodes);
        (lost, &self.nodes[lost.len()..])
    }

    /// Checks whether the fault affected the nodes at all, based on their messages since `begin`, in seconds
    /// since 1970: on a full disk, etcd can keep writing to preallocated space for a long time.
    ///
    /// # Errors
    ///
    /// If the lab has stopped.
    pub(super) fn was_met(&self, lab: &Lab, begin: f64) -> Result<Result<(), String>> {
        let since = format!("--since=@{begin}");
        for node in self.nodes.iter().filter(|_| self.fault == Fault::FullDisk) {
            let said = lab.transcript(node, &["journalctl", "--no-pager", "--unit=etcd.service", &since])?;
            if !said.contains(NO_SPACE) && !self.are_gone(lab, node, Program::Etcd)? {
                return Ok(Err(format!("the etcd member on {node} did not run out of disk space")));
            }
        }
        Ok(Ok(()))
    }

    /// Returns true if the fault lasts until it is healed.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self.fault, Fault::Kill(_) | Fault::Restart(_) | Fault::Outage)
    }
}

fn is_stopping(lab: &Lab, node: &str) -> bool {
    lab.answer(node, &["systemctl", "is-system-running"]).is_some_and(|word| word.trim() == "stopping")
}

/// Waits until a machine has shut down, and cuts its power if it takes too long.
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
    /// Like [`strike`], on the nodes of this lab.
    pub(super) fn strike(&self, fault: Fault, nodes: &[String]) -> Result<Struck> {
        let struck = strike(self.lab, fault, nodes)?;
        if fault == Fault::FullDisk {
            self.grow(nodes)?;
        }
        Ok(struck)
    }

    /// Like [`Struck::heal`].
    pub(super) fn heal(&self, struck: &mut Struck) -> Result<()> {
        struck.heal(self.lab)?;
        if struck.fault == Fault::FullDisk { self.shrink(&struck.nodes) } else { Ok(()) }
    }
}
