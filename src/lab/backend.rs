//! What a way to run nodes promises.

use std::fmt::Debug;
use std::process::Command;

use serde::{Deserialize as _, Deserializer, Serializer};

use crate::error::{Error, Kind, Result};
use crate::lab::{BACKENDS, Guest, Lab};

/// One way to run nodes. All calls happen inside the lab's namespaces, by its supervisor.
pub(crate) trait Backend: Debug + Sync {
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

    /// Checks and prepares what a node is started from, before it is connected. Nodes may share it; called again at each start.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Verify`] if an artifact is not what the manifest says; [`crate::error::Kind::Tool`] if a program is missing.
    fn prepare(&self, lab: &Lab, guest: &Guest) -> Result<()>;

    /// The process that is the running node: it stays in the foreground, writes the node's console to standard output, and killing
    /// it is a power cut. Called again after a power cut; what lies in [`Lab::directory_of`] lasts.
    ///
    /// # Errors
    ///
    /// As [`Backend::prepare`].
    fn command(&self, lab: &Lab, guest: &Guest) -> Result<Command>;

    /// Whether a program can be run inside a node from outside (`kiln lab exec NODE`).
    fn can_exec(&self) -> bool;

    /// How all of a node is stopped and continued (`kiln lab freeze`).
    fn freezer(&self) -> Freezer;

    /// Whether nodes have disks that this machine's kernel knows, and can make slow or full (`kiln lab slow`, `kiln lab fill`).
    fn has_disks(&self) -> bool;

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

/// What stops a node between two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freezer {
    /// That of the node's control group, which has its processes: programs stop, and their kernel, which is this machine's, goes on.
    ControlGroup,
    /// A virtual machine's monitor, listening at [`Lab::monitor_of`]: its kernel and its clock stop as well.
    Monitor,
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

/// Refuses a clock for nodes that have this machine's.
///
/// # Errors
///
/// [`Kind::Input`] with the backends that have one for each node.
pub(super) fn check_clock(backend: &dyn Backend, clock: Option<&str>) -> Result<()> {
    if clock.is_none() || backend.has_clocks() {
        return Ok(());
    }
    let able = BACKENDS.iter().filter(|backend| backend.has_clocks()).map(|backend| format!("`--backend {}`", backend.name()));
    Err(Error::new(Kind::Input, format!("nodes of the {} backend have this machine's clock", backend.name()))
        .hint(format!("{} has a clock for each", able.collect::<Vec<_>>().join(", "))))
}

/// Writes a backend as its name, for serde.
pub(super) fn serialize<S: Serializer>(backend: &&'static dyn Backend, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(backend.name())
}

/// Reads a backend by its name, for serde.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<&'static dyn Backend, D::Error> {
    find(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}
