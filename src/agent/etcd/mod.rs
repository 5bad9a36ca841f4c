//! etcd membership (founding, rejoining, waiting), and maintenance of the running member: snapshots, space.

mod control;
#[expect(unreachable_pub, reason = "the model of all histories is a separate crate and includes this file")]
mod decide;
mod directory;
mod membership;
mod metrics;
mod notes;
mod peers;
mod reasons;
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

/// Path of the etcd settings on a node.
pub(crate) const SETTINGS: &str = "/etc/kiln/etcd.toml";
