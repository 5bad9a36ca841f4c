//! The local rehearsal of the exact artifacts: the cluster on the machine at hand, in namespaces that vanish with their supervisor.

mod backend;
mod client;
mod control;
mod cut;
mod delay;
mod disk;
mod image;
mod network;
mod nspawn;
mod qemu;
mod rehearse;
mod relay;
mod spec;
mod supervisor;

pub(crate) use backend::{Backend, Cable, Freezer};
pub(crate) use client::{Labs, NodeStatus};
pub(crate) use control::Disk;
pub(crate) use cut::{Cut, Direction, Protocol};
pub(crate) use delay::Delay;
pub(crate) use disk::{SYNC, TOOLS as DISK_TOOLS};
pub(crate) use qemu::is_native;
pub(crate) use rehearse::{COLUMNS, Report, Row, Wish, rehearse};
pub(crate) use spec::{Changes, Guest, Lab};
pub(crate) use supervisor::{Part, supervise};

/// Every backend, in the order `--help` lists them; the first is the default. Adding one means adding a line here.
pub(crate) static BACKENDS: &[&dyn Backend] = &[&nspawn::Nspawn, &qemu::Qemu];
