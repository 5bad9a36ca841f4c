//! Messages between a lab's supervisor and the command line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lab::{Changes, Cut, Delay};

/// Client request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// List the nodes.
    List,
    /// Cut a node's power.
    Kill { node: String, disk: Disk },
    /// Power a node on, and apply these changes from now on.
    Start { node: String, changes: Changes },
    /// Freeze a whole node, or resume it.
    Freeze { node: String, frozen: bool },
    /// Unplug a node's cable, or plug it back in.
    Unplug { node: String, unplugged: bool },
    /// Make a node's cable drop frames.
    Cut { node: String, cut: Cut },
    /// Add a delay to a node's cable.
    Delay { node: String, delay: Delay },
    /// Slow down a node's disk, so that a sync takes about this many milliseconds.
    Slow { node: String, sync: u32 },
    /// Fill a node's disk.
    Fill { node: String },
    /// Remove all faults from a node's cable and disk.
    Mend { node: String },
    /// Send a signal to a program's processes in a node, or only list them.
    Signal { node: String, program: String, signal: Option<Word> },
    /// Return a handle to a node's first process, or to the supervisor itself.
    Enter(Option<String>),
    /// Stop the lab.
    Down,
    /// Keep the lab running when the process that started it exits.
    Detach,
}

/// State of a node's disk after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Disk {
    Kept,
    /// Lost: the node starts with an empty disk, like a replacement machine.
    Lost,
    /// Lost for now, but set aside for [`Disk::Returned`].
    Aside,
    /// Lost, and replaced by the disk that was set aside.
    Returned,
}

/// Reply from the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// Progress, sent to the process that starts the lab before [`Reply::Done`].
    Step(String),
    Nodes(Vec<NodeState>),
    /// Processes that a signal was sent to.
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
    /// Process ID as the supervisor sees it.
    pub(crate) id: u32,
    /// State letter, `T` if stopped, proc_pid_stat(5).
    pub(crate) state: char,
}

/// Node state, as the supervisor sees it from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// Backend that runs the node, or ran it last.
    pub(crate) backend: String,
    /// Clock time at power-on, unless it is this machine's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<String>,
    pub(crate) running: bool,
    /// True if stopped by `kiln lab freeze`.
    pub(crate) frozen: bool,
    /// True if the cable is unplugged.
    pub(crate) unplugged: bool,
    /// Frames that the cable drops.
    pub(crate) cuts: Vec<String>,
    /// Round-trip time added by the cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay: Option<String>,
    /// Disk faults.
    pub(crate) disk: Vec<String>,
    /// Seconds since power-on.
    pub(crate) uptime: u64,
    /// Why the node stopped, if it has stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
}

/// An error that is sent to another process.
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
