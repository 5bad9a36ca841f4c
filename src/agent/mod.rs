//! Agent on the node: finds the machine's seed, configures `/etc` and `/var` from it, and reports the result.
//! No secret is ever printed.

mod apply;
pub(crate) mod clock;
mod discover;
mod etc;
pub(crate) mod etcd;
mod failure;
pub(crate) mod guard;
mod images;
mod init;
mod kubeadm;
mod kubectl;
mod machine;
mod nodes;
mod places;
mod report;
mod segment;
mod select;
mod state;
mod status;

pub(crate) use apply::{Request, apply};
pub(crate) use failure::failure;
pub(crate) use images::preload;
pub(crate) use init::init;
pub(crate) use kubeadm::join;
pub(crate) use nodes::describe;
pub(crate) use places::Places;
pub(crate) use report::report;
pub(crate) use segment::segment;
pub(crate) use status::Status;
