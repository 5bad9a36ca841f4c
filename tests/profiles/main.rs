//! Every other profile on this machine: its cluster starts without help and survives the failures that the
//! profile claims to survive.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

mod additions;
#[path = "../common/mod.rs"]
mod common;
mod docker;
mod etcd;
mod external_endpoint;
mod external_lb;
mod kubeadm;
mod masters;
mod node_local;
mod running;
mod static_pods;
