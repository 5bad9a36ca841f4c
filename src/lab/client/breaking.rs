//! Requests that break or repair a node.

use crate::error::{Doing, Error, Kind, Result};
use crate::lab::control::{Disk, Process, Reply, Request, Word};
use crate::lab::{Changes, Cut, Delay, Lab, backend};

impl Lab {
    /// Cuts a node's power and, if requested, discards its disk.
    pub(crate) fn kill(&self, node: &str, disk: Disk) -> Result<()> {
        self.ask(&Request::Kill { node: node.to_owned(), disk }).map(|_| ())
    }

    /// Powers a node on, and applies these changes from now on.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the seed does not exist; same as [`crate::lab::Labs::up`] for a backend that can't run
    /// here.
    pub(crate) fn start(&self, node: &str, mut changes: Changes) -> Result<()> {
        if let Some(seed) = &mut changes.seed {
            *seed = seed.canonicalize().doing(Kind::Io, || format!("opening `{}`", seed.display()))?;
        }
        if let Some(backend) = &changes.backend {
            super::require(backend::find(backend)?)?;
        }
        self.ask(&Request::Start { node: node.to_owned(), changes }).map(|_| ())
    }

    /// Freezes a whole node, or resumes it.
    pub(crate) fn freeze(&self, node: &str, frozen: bool) -> Result<()> {
        self.ask(&Request::Freeze { node: node.to_owned(), frozen }).map(|_| ())
    }

    /// Unplugs a node's cable, or plugs it back in.
    pub(crate) fn unplug(&self, node: &str, unplugged: bool) -> Result<()> {
        self.ask(&Request::Unplug { node: node.to_owned(), unplugged }).map(|_| ())
    }

    /// Makes a node's cable drop frames, in addition to earlier cuts.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if nft(8) is not installed on this machine.
    pub(crate) fn cut(&self, node: &str, cut: Cut) -> Result<()> {
        self.ask(&Request::Cut { node: node.to_owned(), cut }).map(|_| ())
    }

    /// Adds a delay to a node's cable, replacing an earlier delay.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the lab is not allowed to open `/dev/net/tun`.
    pub(crate) fn delay(&self, node: &str, delay: Delay) -> Result<()> {
        self.ask(&Request::Delay { node: node.to_owned(), delay }).map(|_| ())
    }

    /// Slows down a node's disk, so that a sync takes about `sync` milliseconds.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the node has no separate disk, or the kernel can't limit writes.
    pub(crate) fn slow(&self, node: &str, sync: u32) -> Result<()> {
        self.ask(&Request::Slow { node: node.to_owned(), sync }).map(|_| ())
    }

    /// Fills a node's disk.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the node has no separate disk.
    pub(crate) fn fill(&self, node: &str) -> Result<()> {
        self.ask(&Request::Fill { node: node.to_owned() }).map(|_| ())
    }

    /// Removes all faults from a node's cable and disk.
    pub(crate) fn mend(&self, node: &str) -> Result<()> {
        self.ask(&Request::Mend { node: node.to_owned() }).map(|_| ())
    }

    /// Sends a signal to all processes of a program in a node, or only lists them.
    pub(in crate::lab) fn signal(
        &self,
        node: &str,
        program: &str,
        signal: Option<Word>,
    ) -> Result<Vec<Process>> {
        match self.ask(&Request::Signal { node: node.to_owned(), program: program.to_owned(), signal })? {
            (Reply::Processes(processes), _) => Ok(processes),
            _ => Err(Error::new(Kind::Internal, "unexpected reply from the supervisor")),
        }
    }
}
