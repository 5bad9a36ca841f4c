//! What a command asks of a node that it wants broken, or whole again.

use crate::error::{Doing, Error, Kind, Result};
use crate::lab::control::{Disk, Process, Reply, Request, Word};
use crate::lab::{Changes, Cut, Delay, Lab, backend};

impl Lab {
    /// Cuts a node's power, and may lose its disk with it.
    pub(crate) fn kill(&self, node: &str, disk: Disk) -> Result<()> {
        self.ask(&Request::Kill { node: node.to_owned(), disk }).map(|_| ())
    }

    /// Switches a node on, with these changes from now on.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if there is no such seed; as [`crate::lab::Labs::up`] for a backend that can't run here.
    pub(crate) fn start(&self, node: &str, mut changes: Changes) -> Result<()> {
        if let Some(seed) = &mut changes.seed {
            *seed = seed.canonicalize().doing(Kind::Io, || format!("opening `{}`", seed.display()))?;
        }
        if let Some(backend) = &changes.backend {
            super::require(backend::find(backend)?)?;
        }
        self.ask(&Request::Start { node: node.to_owned(), changes }).map(|_| ())
    }

    /// Stops all of a node's processes, or lets them go on.
    pub(crate) fn freeze(&self, node: &str, frozen: bool) -> Result<()> {
        self.ask(&Request::Freeze { node: node.to_owned(), frozen }).map(|_| ())
    }

    /// Takes a node's cable out, or puts it in again.
    pub(crate) fn unplug(&self, node: &str, unplugged: bool) -> Result<()> {
        self.ask(&Request::Unplug { node: node.to_owned(), unplugged }).map(|_| ())
    }

    /// Makes a node's cable lose something, beside what it loses already.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if this machine has no nft(8).
    pub(crate) fn cut(&self, node: &str, cut: Cut) -> Result<()> {
        self.ask(&Request::Cut { node: node.to_owned(), cut }).map(|_| ())
    }

    /// Makes a node's cable slow, in place of what made it slow before.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the lab may not open `/dev/net/tun`.
    pub(crate) fn delay(&self, node: &str, delay: Delay) -> Result<()> {
        self.ask(&Request::Delay { node: node.to_owned(), delay }).map(|_| ())
    }

    /// Makes a sync of a node's disk take about `sync` milliseconds.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the node has no disk of its own, or the kernel bounds no writes.
    pub(crate) fn slow(&self, node: &str, sync: u32) -> Result<()> {
        self.ask(&Request::Slow { node: node.to_owned(), sync }).map(|_| ())
    }

    /// Takes all the room of a node's disk.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the node has no disk of its own.
    pub(crate) fn fill(&self, node: &str) -> Result<()> {
        self.ask(&Request::Fill { node: node.to_owned() }).map(|_| ())
    }

    /// Makes a node's cable whole, and its disk fast, with room.
    pub(crate) fn mend(&self, node: &str) -> Result<()> {
        self.ask(&Request::Mend { node: node.to_owned() }).map(|_| ())
    }

    /// Sends a signal to all processes of a program in a node, or only finds them.
    pub(in crate::lab) fn signal(&self, node: &str, program: &str, signal: Option<Word>) -> Result<Vec<Process>> {
        match self.ask(&Request::Signal { node: node.to_owned(), program: program.to_owned(), signal })? {
            (Reply::Processes(processes), _) => Ok(processes),
            _ => Err(Error::new(Kind::Internal, "the supervisor answered something else")),
        }
    }
}
