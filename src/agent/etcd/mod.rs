//! Membership of etcd: who founds, who rejoins, who waits; and what is done for the member that runs: snapshots, room.

mod control;
#[expect(unreachable_pub, reason = "a model of all histories, which is a crate of its own, decides by the same file")]
mod decide;
mod directory;
mod metrics;
mod notes;
mod peers;
mod recover;
mod room;
mod settings;
mod slow;
mod snapshots;
mod space;
mod start;
mod streams;
mod upkeep;

pub(crate) use notes::problems;
pub(crate) use peers::serve;
pub(crate) use settings::Settings;
pub(crate) use snapshots::{Kept, kept, ordered_name, save};
pub(crate) use start::{Outlook, outlook, start, waits_for};
pub(crate) use streams::streams;

/// Where a node has its settings.
pub(crate) const SETTINGS: &str = "/etc/kiln/etcd.toml";
