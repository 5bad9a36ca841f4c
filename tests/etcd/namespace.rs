//! Network namespaces of the machines, managed with ip(8).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::approve;

/// A network namespace with a unique name, deleted on drop.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let name = format!("kiln-{}-{}-{name}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        approve(Command::new("ip").args(["netns", "add", &name]));
        Self(name)
    }

    /// Returns a command that runs in the namespace.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        // The program is killed when the test ends, even if the test crashes.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.0]).arg(program);
        command
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Returns the path of the namespace file, as created by ip-netns(8).
    pub(crate) fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    /// Runs ip(8) in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        approve(Command::new("ip").args(["-n", &self.0]).args(arguments.split(' ')));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}
