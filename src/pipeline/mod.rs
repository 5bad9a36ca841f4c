//! Build steps, in order; each step decides for itself whether there is anything to do.

mod build;
mod lock;
mod order;
mod role;
mod site;
mod snapshot;
mod stock;

pub(crate) use build::{Built, Request, build};
pub(crate) use lock::{fetch, load_lock, lock, lock_file};
pub(crate) use order::{Snapshot, Wanted, order};
#[cfg(test)]
pub(crate) use site::linted;
pub(crate) use site::{Site, Sources};
pub(crate) use snapshot::{Fetched, Member as SnapshotsOf, fetch_snapshot, snapshots};
