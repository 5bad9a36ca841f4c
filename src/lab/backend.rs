//! What a way to run nodes promises.

use std::process::Command;

use crate::error::{Error, Kind, Result};
use crate::lab::{BACKENDS, Guest, Lab};

/// One way to run nodes. All calls happen inside the lab's namespaces, by its supervisor.
pub(crate) trait Backend: Sync {
    /// The word after `--backend`; kebab-case, never renamed.
    fn name(&self) -> &'static str;

    /// One line for `--help` and the README table.
    fn summary(&self) -> &'static str;

    /// Host programs that the backend runs; `kiln doctor` checks them.
    fn tools(&self) -> &'static [&'static str];

    /// How a node is plugged into the lab's bridge.
    fn cable(&self) -> Cable;

    /// Whether only root can run it; otherwise the supervisor makes a user namespace.
    fn needs_root(&self) -> bool;

    /// Checks and prepares what the nodes share, before the first one starts.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Verify`] if an artifact is not what the manifest says; [`crate::error::Kind::Tool`] if a program is missing.
    fn prepare(&self, lab: &Lab) -> Result<()>;

    /// The process that is the running node: it stays in the foreground, writes the node's console to standard output, and killing
    /// it is a power cut. Called again after a power cut; what lies in [`Lab::directory_of`] lasts.
    ///
    /// # Errors
    ///
    /// As [`Backend::prepare`].
    fn command(&self, lab: &Lab, guest: &Guest) -> Result<Command>;

    /// Whether a program can be run inside a node from outside (`kiln lab exec NODE`).
    fn can_exec(&self) -> bool;

    /// Whether all of a node can be stopped and continued (`kiln lab freeze`).
    fn can_freeze(&self) -> bool;

    /// Whether nodes have clocks of their own.
    fn has_clocks(&self) -> bool;
}

/// The node's end of its network cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    /// A network namespace, bound to [`Guest::namespace`], that holds the interface under its final name.
    Namespace,
    /// A tap device named [`Guest::tap`] in the supervisor's namespace, already a port of the bridge.
    Tap,
}

/// The backend of that name.
///
/// # Errors
///
/// [`Kind::Input`] that lists the names there are.
pub(super) fn find(name: &str) -> Result<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
        Error::new(Kind::Input, format!("no lab backend named `{name}`")).hint(format!("the backends are {}", names.join(", ")))
    })
}
