//! What a lab's supervisor and the command line say to each other.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lab::{Changes, Cut, Delay};

/// A client's wish.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// Tell about the nodes.
    List,
    /// Cut a node's power.
    Kill { node: String, disk: Disk },
    /// Switch a node on, with these changes from now on.
    Start { node: String, changes: Changes },
    /// Stop all of a node, or let it go on.
    Freeze { node: String, frozen: bool },
    /// Take a node's cable out, or put it in again.
    Unplug { node: String, unplugged: bool },
    /// Make a node's cable lose something.
    Cut { node: String, cut: Cut },
    /// Make a node's cable slow.
    Delay { node: String, delay: Delay },
    /// Make a sync of a node's disk take about this many milliseconds.
    Slow { node: String, sync: u32 },
    /// Take all the room of a node's disk.
    Fill { node: String },
    /// Make a node's cable whole, and its disk fast, with room.
    Mend { node: String },
    /// Send a signal to a program's processes in a node, or only find them.
    Signal { node: String, program: String, signal: Option<Word> },
    /// A handle to a node's first process, or to the supervisor itself.
    Enter(Option<String>),
    /// End everything.
    Down,
    /// The one who started the lab leaves it running.
    Detach,
}

/// What becomes of a node's disk when its power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Disk {
    Kept,
    /// The node begins anew, as a machine that was replaced.
    Lost,
    /// The same, and the disk is kept for [`Disk::Returned`].
    Aside,
    /// It goes, and the one that was kept takes its place.
    Returned,
}

/// The supervisor's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// Told to the one who starts the lab, before it is [`Reply::Done`].
    Step(String),
    Nodes(Vec<NodeState>),
    /// What a signal was sent to.
    Processes(Vec<Process>),
    Done,
    Failed(Failure),
}

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    Kill,
    End,
    Stop,
    Continue,
}

/// A process in a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Process {
    /// As the supervisor sees it.
    pub(crate) id: u32,
    /// `T` for one that is stopped, proc_pid_stat(5).
    pub(crate) state: char,
}

/// A node as the supervisor sees it from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// What runs it, now or last.
    pub(crate) backend: String,
    /// What its clock said when it was switched on, where that is not this machine's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<String>,
    pub(crate) running: bool,
    /// Whether it was stopped by `kiln lab freeze`.
    pub(crate) frozen: bool,
    /// Whether its cable is out.
    pub(crate) unplugged: bool,
    /// What its cable loses.
    pub(crate) cuts: Vec<String>,
    /// How much longer a round trip over its cable takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay: Option<String>,
    /// What is wrong with its disk.
    pub(crate) disk: Vec<String>,
    /// Seconds since it was switched on.
    pub(crate) uptime: u64,
    /// How it ended, if it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
}

/// An error on its way to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    message: String,
    hints: Vec<String>,
}

impl From<&Error> for Failure {
    fn from(err: &Error) -> Self {
        Self { message: err.to_string(), hints: err.hints().to_vec() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let err = Self::new(crate::error::Kind::Tool, failure.message);
        failure.hints.into_iter().fold(err, Self::hint)
    }
}
