//! Interface that lab backends implement to run nodes.

use std::fmt::Debug;
use std::process::Command;

use serde::{Deserialize as _, Deserializer, Serializer};

use crate::error::{Error, Kind, Result};
use crate::lab::{BACKENDS, Guest, Lab};

/// A way to run nodes. The lab's supervisor prepares and runs nodes inside the lab's namespaces.
pub(crate) trait Backend: Debug + Sync {
    /// Returns the `--backend` value; kebab-case, never renamed.
    fn name(&self) -> &'static str;

    /// Returns one line for `--help` and the README table.
    fn summary(&self) -> &'static str;

    /// Returns the host programs that the backend runs; `kiln doctor` checks them.
    fn tools(&self) -> Vec<&'static str>;

    /// Returns how a node is connected to the lab's bridge.
    fn cable(&self) -> Cable;

    /// Returns true if the backend requires root; otherwise the supervisor creates a user namespace.
    fn needs_root(&self) -> bool;

    /// Checks and prepares the files that a node starts from, before the node is connected. Nodes may share
    /// these files. Called again on each start.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Verify`] if an artifact does not match the manifest;
    /// [`crate::error::Kind::Tool`] if a program is missing.
    fn prepare(&self, lab: &Lab, guest: &Guest) -> Result<()>;

    /// Returns the command that runs the node. Its process stays in the foreground and writes the node's
    /// console to standard output; killing the process is a power cut. Called again after a power cut; files
    /// in [`Lab::directory_of`] persist.
    ///
    /// # Errors
    ///
    /// Same as [`Backend::prepare`].
    fn command(&self, lab: &Lab, guest: &Guest) -> Result<Command>;

    /// Returns true if programs can be run inside a node from outside (`kiln lab exec NODE`).
    fn can_exec(&self) -> bool;

    /// Returns how a whole node is frozen and resumed (`kiln lab freeze`).
    fn freezer(&self) -> Freezer;

    /// Returns true if this machine's kernel sees the nodes' disks, and can slow them down or fill them
    /// (`kiln lab slow`, `kiln lab fill`).
    fn has_disks(&self) -> bool;

    /// Returns true if each node has its own clock.
    fn has_clocks(&self) -> bool;
}

/// The node's end of its network cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    /// A network namespace, bound to [`Guest::namespace`], that contains the interface under its final name.
    Namespace,
    /// A tap device named [`Guest::tap`] in the supervisor's namespace, already a port of the bridge.
    Tap,
}

/// Method of freezing a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freezer {
    /// The node's cgroup: the node's processes stop, but the kernel, which belongs to this machine, keeps
    /// running.
    ControlGroup,
    /// The virtual machine's monitor, which listens at [`Lab::monitor_of`]: the guest's kernel and clock stop
    /// as well.
    Monitor,
}

/// Returns the backend with this name.
///
/// # Errors
///
/// [`Kind::Input`], listing the valid names.
pub(super) fn find(name: &str) -> Result<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
        Error::new(Kind::Input, format!("no lab backend named `{name}`"))
            .hint(format!("available backends: {}", names.join(", ")))
    })
}

/// Rejects a clock setting for nodes that share this machine's clock.
///
/// # Errors
///
/// [`Kind::Input`], listing the backends with per-node clocks.
pub(super) fn check_clock(backend: &dyn Backend, clock: Option<&str>) -> Result<()> {
    if clock.is_none() || backend.has_clocks() {
        return Ok(());
    }
    let able = BACKENDS
        .iter()
        .filter(|backend| backend.has_clocks())
        .map(|backend| format!("`--backend {}`", backend.name()));
    Err(Error::new(
        Kind::Input,
        format!("nodes on the {} backend share this machine's clock", backend.name()),
    )
    .hint(format!("use {}, which gives each node its own clock", able.collect::<Vec<_>>().join(", "))))
}

/// Serializes a backend as its name.
pub(super) fn serialize<S: Serializer>(
    backend: &&'static dyn Backend,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(backend.name())
}

/// Deserializes a backend from its name.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<&'static dyn Backend, D::Error> {
    find(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}
