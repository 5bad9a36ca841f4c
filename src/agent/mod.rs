//! What runs on the node: finds the machine's seed, makes `/etc` and `/var` of it, and tells what it did. No secret is ever printed.

mod apply;
pub(crate) mod clock;
mod discover;
mod etc;
pub(crate) mod etcd;
mod failure;
pub(crate) mod guard;
mod init;
mod machine;
mod places;
mod report;
mod segment;
mod select;
mod state;
mod status;

pub(crate) use apply::{Request, apply};
pub(crate) use failure::failure;
pub(crate) use init::init;
pub(crate) use places::Places;
pub(crate) use report::report;
pub(crate) use segment::segment;
pub(crate) use status::Status;
