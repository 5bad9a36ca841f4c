//! Labs: the built cluster, run on this machine from its exact artifacts, in namespaces that disappear with
//! their supervisor.

mod backend;
mod client;
mod control;
mod cut;
mod delay;
mod disk;
mod image;
mod network;
mod nspawn;
mod overlay;
mod qemu;
mod rehearse;
mod relay;
mod spec;
mod supervisor;

pub(crate) use backend::{Backend, Cable, Freezer};
pub(crate) use client::{Labs, NodeStatus, Wanted};
pub(crate) use control::Disk;
pub(crate) use cut::{Cut, Direction, Protocol};
pub(crate) use delay::Delay;
pub(crate) use disk::{SYNC, TOOLS as DISK_TOOLS};
pub(crate) use qemu::is_native;
pub(crate) use rehearse::{COLUMNS, Report, Row, Wish, rehearse};
pub(crate) use spec::{Changes, Guest, Lab};
pub(crate) use supervisor::{Part, supervise};

/// All backends, in `--help` order; the first is the default. To add a backend, add a line here.
pub(crate) static BACKENDS: &[&dyn Backend] = &[&nspawn::Nspawn, &qemu::Qemu];
