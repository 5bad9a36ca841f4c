//! Debian's `faked` beside the program: it answers for owners and modes that an ordinary user can't give to files.
//!
//! Root uses it too, so that both get the same bytes by construction.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// Where the parts of fakeroot are inside the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fakeroot {
    /// The daemon `faked-sysv`.
    pub(crate) daemon: String,
    /// `libfakeroot-sysv.so`, loaded into every program.
    pub(crate) library: String,
    /// What is known of owners and modes before, in faked's own text form.
    pub(crate) load: String,
    /// Where to write what is known afterwards.
    pub(crate) save: String,
}

/// The running daemon.
#[derive(Debug)]
pub(super) struct Faked {
    pid: Pid,
}

/// Starts the daemon and points `command` to it.
pub(super) fn start(fakeroot: &Fakeroot, command: &mut Command) -> Result<Faked> {
    let mut daemon = host::process::command(&fakeroot.daemon);
    daemon.env_clear().args(["--load", "--save-file", &fakeroot.save]);
    daemon.stdin(Stdio::from(host::fs::open(Path::new(&fakeroot.load))?));
    // It forks, and prints its message queue and process once both exist.
    let output = host::process::run(&mut daemon)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (key, pid) = said.trim().split_once(':').ok_or_else(|| unexpected(&said))?;
    let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or_else(|| unexpected(&said))?;
    command.env("FAKEROOTKEY", key).env("LD_PRELOAD", &fakeroot.library);
    // The ids of Debian's users are not mapped, and need not be.
    command.env("FAKEROOTDONTTRYCHOWN", "1");
    Ok(Faked { pid })
}

impl Faked {
    /// Ends the daemon, which then saves what it knows. Its parent is gone, so it is a child of the first process.
    pub(super) fn stop(self) -> Result<()> {
        let step = || "ending `faked`".into();
        kill_process(self.pid, Signal::TERM).doing(Kind::Tool, step)?;
        waitpid(Some(self.pid), WaitOptions::empty()).doing(Kind::Tool, step).map(drop)
    }
}

fn unexpected(said: &str) -> Error {
    Error::new(Kind::Tool, format!("`faked` answered `{}`, expected `key:process`", said.trim()))
}
