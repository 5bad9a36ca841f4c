//! Debian's `faked` daemon, run alongside the program: it emulates owners and modes that an unprivileged user
//! can't set.
//!
//! It is used for root too, so that both produce the same bytes by construction.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// Paths of fakeroot's components inside the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fakeroot {
    /// The daemon `faked-sysv`.
    pub(crate) daemon: String,
    /// `libfakeroot-sysv.so`, loaded into every program.
    pub(crate) library: String,
    /// File with known owners and modes, in faked's own text format.
    pub(crate) load: String,
    /// File to save them to afterwards.
    pub(crate) save: String,
}

/// The running daemon.
#[derive(Debug)]
pub(super) struct Faked {
    pid: Pid,
}

/// Starts the daemon and configures `command` to use it.
pub(super) fn start(fakeroot: &Fakeroot, command: &mut Command) -> Result<Faked> {
    let mut daemon = host::process::command(&fakeroot.daemon);
    daemon.env_clear().args(["--load", "--save-file", &fakeroot.save]);
    daemon.stdin(Stdio::from(host::fs::open(Path::new(&fakeroot.load))?));
    // It forks, and prints the IDs of its message queue and process once both exist.
    let output = host::process::run(&mut daemon)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (key, pid) = said.trim().split_once(':').ok_or_else(|| unexpected(&said))?;
    let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or_else(|| unexpected(&said))?;
    command.env("FAKEROOTKEY", key).env("LD_PRELOAD", &fakeroot.library);
    // The IDs of Debian's users are not mapped, and need not be.
    command.env("FAKEROOTDONTTRYCHOWN", "1");
    Ok(Faked { pid })
}

impl Faked {
    /// Stops the daemon, which then saves its data. Its parent has exited, so it is a child of the first
    /// process.
    pub(super) fn stop(self) -> Result<()> {
        let step = || "stopping `faked`".into();
        kill_process(self.pid, Signal::TERM).doing(Kind::Tool, step)?;
        waitpid(Some(self.pid), WaitOptions::empty()).doing(Kind::Tool, step).map(drop)
    }
}

fn unexpected(said: &str) -> Error {
    Error::new(Kind::Tool, format!("`faked` printed `{}`, expected `key:process`", said.trim()))
}
