//! Power of the nodes: starts and power cuts, and what happens to a disk while the power is off.

use std::process::Command;

use super::{Running, Supervisor, groups};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::lab::control::Disk;
use crate::lab::disk::OwnDisk;
use crate::lab::{Changes, Guest, network};

impl Supervisor<'_> {
    pub(super) fn start(&self, guest: &Guest, changes: &Changes) -> Result<()> {
        let mut nodes = self.nodes();
        let guest = nodes.get(&guest.name).map_or(guest, |node| &node.guest).changed(changes)?;
        if nodes.get(&guest.name).is_some_and(|node| node.ended.is_none()) {
            return Err(Error::new(Kind::Input, format!("`{}` is already running", guest.name))
                .hint(format!("kiln lab kill {}", guest.name)));
        }
        guest.backend.prepare(self.lab, &guest)?;
        let mut command = self.command(&guest)?;
        // The new cable has no faults.
        self.forget_cuts(&mut nodes, &guest)?;
        network::plug(self.lab, &guest)?;
        // A process starts in its parent's cgroup; meanwhile, the lock blocks other starts.
        if self.lab.has_control_groups() {
            groups::join(self.lab, &guest.name)?;
        }
        // A disk that was slow before the power cut stays slow.
        let slow = nodes.get(&guest.name).and_then(|node| node.slow).filter(|_| guest.backend.has_disks());
        if slow.is_some() {
            self.set_pace(&guest, slow)?;
        }
        let process = command.spawn().doing(Kind::Tool, || format!("starting `{}`", guest.name));
        if self.lab.has_control_groups() {
            groups::join_own(self.lab)?;
        }
        let (process, name) = (process?, guest.name.clone());
        let node = Running {
            guest,
            process,
            since: Stopwatch::start(),
            ended: None,
            unplugged: false,
            paused: false,
            cuts: Vec::new(),
            delay: None,
            slow,
        };
        nodes.insert(name, node);
        Ok(())
    }

    /// Returns the command that runs the node, with output to the console file.
    fn command(&self, guest: &Guest) -> Result<Command> {
        host::fs::create_private_directory(&self.lab.directory_of(guest))?;
        let mut command = guest.backend.command(self.lab, guest)?;
        let console = || host::fs::open_to_append(&self.lab.console_of(guest), host::fs::PRIVATE);
        command.stdout(console()?).stderr(console()?);
        Ok(command)
    }

    pub(super) fn kill(&self, guest: &Guest, disk: Disk) -> Result<()> {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(&guest.name).filter(|node| node.ended.is_none()) else {
            return Err(Error::new(Kind::Input, format!("`{}` is not running", guest.name)));
        };
        network::pull(guest)?;
        // Dirty data is flushed when the last user of the disk exits; that must not be slowed down.
        if node.slow.is_some() {
            self.set_pace(&node.guest, None)?;
        }
        if self.lab.has_control_groups() {
            groups::branch(self.lab).below(&guest.name).kill()?;
        }
        node.process.kill().doing(Kind::Tool, || format!("killing `{}`", guest.name))?;
        node.process.wait().doing(Kind::Tool, || format!("waiting for `{}`", guest.name))?;
        let lost = matches!(disk, Disk::Lost | Disk::Aside);
        node.ended = Some(if lost { "disk was lost" } else { "power was cut" }.into());
        self.forget(node)?;
        if lost {
            node.slow = None;
        }
        self.swap_disk(guest, disk)
    }

    /// Keeps, discards, sets aside or restores the disk of a node that is off.
    fn swap_disk(&self, guest: &Guest, disk: Disk) -> Result<()> {
        let directory = self.lab.directory_of(guest);
        let own = OwnDisk::of(self.lab, guest);
        let aside = directory.with_file_name(format!("{}.aside", guest.name));
        match disk {
            Disk::Kept => Ok(()),
            Disk::Lost => {
                own.lose()?;
                host::fs::empty(&directory)
            }
            Disk::Aside => host::fs::rename(&directory, &aside),
            Disk::Returned => {
                own.lose()?;
                host::fs::remove(&directory)?;
                host::fs::rename(&aside, &directory)
            }
        }
    }

    /// Cleans up after a node that is off.
    pub(super) fn forget(&self, node: &mut Running) -> Result<()> {
        let guest = &node.guest;
        if node.delay.take().is_some() {
            network::remove_slow(guest)?;
        }
        if self.lab.has_control_groups() {
            groups::remove(self.lab, &guest.name)?;
        }
        network::forget(guest)
    }
}
