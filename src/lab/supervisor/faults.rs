//! Faults that a supervisor applies to a running node, other than power cuts: freezer, cable, disk.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::groups::{self, branch};
use super::{Running, Supervisor};
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::host::tap::Tap;
use crate::lab::control::{Process, Word};
use crate::lab::cut::{self, Cut};
use crate::lab::disk::{self, OwnDisk};
use crate::lab::relay::Relay;
use crate::lab::{Delay, Freezer, Guest, network};

impl Supervisor<'_> {
    /// Freezes a whole node, or resumes it.
    pub(super) fn freeze(&self, guest: &Guest, frozen: bool) -> Result<()> {
        let mut nodes = self.nodes();
        let node = running(&mut nodes, guest)?;
        match node.guest.backend.freezer() {
            Freezer::ControlGroup => branch(self.lab).below(&guest.name).freeze(frozen),
            Freezer::Monitor => {
                host::qmp::command(&self.lab.monitor_of(guest), if frozen { "stop" } else { "cont" })?;
                node.paused = frozen;
                Ok(())
            }
        }
    }

    /// Unplugs a node's cable, or plugs it back in. While the cable is unplugged, the node's interface has no
    /// carrier.
    pub(super) fn unplug(&self, guest: &Guest, unplugged: bool) -> Result<()> {
        let mut nodes = self.nodes();
        let node = running(&mut nodes, guest)?;
        network::switch(guest, !unplugged)?;
        node.unplugged = unplugged;
        Ok(())
    }

    /// Makes a node's cable drop frames, in addition to earlier cuts.
    pub(super) fn cut(&self, guest: &Guest, cut: &Cut) -> Result<()> {
        cut.check()?;
        if let Some(other) = &cut.from {
            self.lab.guest(other)?;
        }
        let mut nodes = self.nodes();
        running(&mut nodes, guest)?.cuts.push(cut.clone());
        let applied = self.apply_cuts(&nodes);
        if applied.is_err() {
            running(&mut nodes, guest)?.cuts.pop();
        }
        applied
    }

    /// Adds a delay to a node's cable, replacing an earlier delay. Frames in transit are lost.
    pub(super) fn delay(&self, guest: &Guest, delay: Delay) -> Result<()> {
        let mut nodes = self.nodes();
        let node = running(&mut nodes, guest)?;
        hasten(node)?;
        let [_, near] = guest.slow_bridge();
        let (near, far) = (Tap::open(&near)?, Tap::open(&guest.slow_port())?);
        let relay = Relay::start(near, far, delay)?;
        // After a failed attempt, the bridge is useless without its interfaces.
        network::lengthen(guest).inspect_err(|_| drop(network::shorten(guest)))?;
        node.delay = Some((delay, relay));
        Ok(())
    }

    /// Removes all faults from a node's cable and disk.
    pub(super) fn mend(&self, guest: &Guest) -> Result<()> {
        let mut nodes = self.nodes();
        let node = running(&mut nodes, guest)?;
        hasten(node)?;
        if node.slow.is_some() {
            self.set_pace(&node.guest, None)?;
            node.slow = None;
        }
        OwnDisk::of(self.lab, guest).relieve()?;
        self.forget_cuts(&mut nodes, guest)
    }

    /// Slows down a node's disk, so that a sync takes about `milliseconds`.
    pub(super) fn slow(&self, guest: &Guest, milliseconds: u32) -> Result<()> {
        let mut nodes = self.nodes();
        let node = running(&mut nodes, guest)?;
        require_disk(node)?;
        self.set_pace(&node.guest, Some(milliseconds))?;
        node.slow = Some(milliseconds);
        Ok(())
    }

    /// Fills a node's disk, including space that is freed later.
    pub(super) fn fill(&self, guest: &Guest) -> Result<()> {
        let mut nodes = self.nodes();
        require_disk(running(&mut nodes, guest)?)?;
        OwnDisk::of(self.lab, guest).fill()
    }

    /// Limits writes to a node's disk, so that a sync takes about this many milliseconds, or removes the
    /// limit.
    pub(super) fn set_pace(&self, guest: &Guest, slow: Option<u32>) -> Result<()> {
        let device = OwnDisk::of(self.lab, guest).device()?;
        groups::bound_writes(self.lab, &guest.name, &device, slow.map(disk::writes_per_second))
    }

    /// Returns a node's current disk faults.
    pub(super) fn faults_of_disk(&self, node: &Running) -> Vec<String> {
        let slow = node.slow.map(|milliseconds| format!("a sync takes {milliseconds} ms"));
        let is_full = node.guest.backend.has_disks() && OwnDisk::of(self.lab, &node.guest).is_full();
        let full = is_full.then(|| "full".to_owned());
        slow.into_iter().chain(full).collect()
    }

    /// Removes a node's cuts, as [`Supervisor::mend`] does. nft(8) is required only if there are any.
    pub(super) fn forget_cuts(&self, nodes: &mut BTreeMap<String, Running>, guest: &Guest) -> Result<()> {
        let cuts = nodes.get_mut(&guest.name).map(|node| std::mem::take(&mut node.cuts));
        if cuts.is_some_and(|cuts| !cuts.is_empty()) { self.apply_cuts(nodes) } else { Ok(()) }
    }

    fn apply_cuts(&self, nodes: &BTreeMap<String, Running>) -> Result<()> {
        let cuts_of = |guest: &Guest| nodes.get(&guest.name).map_or(&[][..], |node| &node.cuts);
        let cuts: Vec<_> = self
            .lab
            .guests
            .iter()
            .flat_map(|guest| cuts_of(guest).iter().map(move |cut| (guest, cut)))
            .collect();
        cut::apply(self.lab, &cuts)
    }

    /// Sends a signal to all processes of a program in a node, as simultaneously as possible, and returns
    /// their previous states.
    pub(super) fn signal(&self, guest: &Guest, program: &str, signal: Option<Word>) -> Result<Vec<Process>> {
        let backend = running(&mut self.nodes(), guest)?.guest.backend;
        if backend.freezer() != Freezer::ControlGroup {
            return Err(Error::new(
                Kind::Input,
                format!("the {} backend can't see the processes inside a node", backend.name()),
            ));
        }
        let processes = branch(self.lab).below(&guest.name).processes().into_iter();
        let found = processes.filter_map(|id| {
            host::process::program_of(id).map(|(name, state)| (name, Process { id, state }))
        });
        let found: Vec<Process> =
            found.filter(|(name, _)| name == program).map(|(_, process)| process).collect();
        let number = signal.map(|signal| match signal {
            Word::Kill => Signal::KILL,
            Word::End => Signal::TERM,
            Word::Stop => Signal::STOP,
            Word::Continue => Signal::CONT,
        });
        if let Some(number) = number {
            found.iter().try_for_each(|process| host::process::send(process.id, number))?;
        }
        Ok(found)
    }

    pub(super) fn is_frozen(&self, node: &Running) -> bool {
        match node.guest.backend.freezer() {
            Freezer::ControlGroup => branch(self.lab).below(&node.guest.name).is_frozen(),
            Freezer::Monitor => node.paused,
        }
    }
}

/// Removes the slow segment from a node's cable, if any.
fn hasten(node: &mut Running) -> Result<()> {
    let Some(slow) = node.delay.take() else { return Ok(()) };
    let shortened = network::shorten(&node.guest);
    drop(slow);
    shortened
}

fn running<'a>(nodes: &'a mut BTreeMap<String, Running>, guest: &Guest) -> Result<&'a mut Running> {
    let node = nodes.get_mut(&guest.name).filter(|node| node.ended.is_none());
    node.ok_or_else(|| {
        Error::new(Kind::Input, format!("`{}` is not running", guest.name))
            .hint(format!("kiln lab start {}", guest.name))
    })
}

/// Rejects a node whose disk is not visible to this machine's kernel.
fn require_disk(node: &Running) -> Result<()> {
    let backend = node.guest.backend;
    if backend.has_disks() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Input,
        format!("the {} backend can't slow down or fill a node's disk", backend.name()),
    ))
}
