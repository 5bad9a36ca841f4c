//! Membership of etcd: who founds, who rejoins, who waits; and what is asked of the member that runs.

mod control;
#[expect(unreachable_pub, reason = "a model of all histories, which is a crate of its own, decides by the same file")]
mod decide;
mod directory;
mod metrics;
mod peers;
mod recover;
mod settings;
mod start;
mod upkeep;

pub(crate) use peers::serve;
pub(crate) use settings::Settings;
pub(crate) use start::{Outlook, outlook, start, waits_for};

/// Where a node has its settings.
pub(crate) const SETTINGS: &str = "/etc/kiln/etcd.toml";
