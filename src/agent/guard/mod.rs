//! Decides whether this machine may hold the VIP, and sees to it that it does not hold it wrongly (`docs/guard.md`).
//!
//! keepalived notices that a machine is gone. What it can't notice in less than seconds is a balancer that hangs, a machine that is cut off
//! while it goes on, and that it hangs itself: its checks run once a second at most (`interval` of keepalived.conf(5)). So the guard looks
//! more often and leaves its verdict in a file that keepalived tracks.

mod cluster;
mod own;
mod rival;
mod settings;
mod verdict;
mod vip;
mod watch;

pub(crate) use watch::{reason, watch};

/// Where a node's settings are.
pub(crate) const SETTINGS: &str = "/etc/kiln/guard.toml";
