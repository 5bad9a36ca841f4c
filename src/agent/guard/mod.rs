//! Decides whether this machine is allowed to hold the VIP, and ensures that it does not hold the VIP
//! otherwise (`docs/guard.md`).
//!
//! keepalived detects the loss of a machine. It takes seconds to detect a balancer that hangs or a machine
//! that is isolated but keeps running, and it can't detect its own hangs: its checks run at most once a
//! second (`interval` in keepalived.conf(5)). The guard therefore checks more often and writes its verdict to
//! a file that keepalived tracks.

mod cluster;
mod own;
mod rival;
mod settings;
mod verdict;
mod vip;
mod watch;

pub(crate) use watch::{reason, watch};

/// Path of the guard settings on a node.
pub(crate) const SETTINGS: &str = "/etc/kiln/guard.toml";
