//! Renders cluster, node, PKI and overlays to a tree: the files of a role image or of a node's `/etc`.
//!
//! Pure: the same input produces the same bytes. Differences between Kubernetes versions are in the tables of
//! `flags`, `fields` and `kinds` and in `words::COMPANIONS`, not in templates.

mod balancer;
mod context;
mod fields;
mod firewall;
mod flags;
mod kinds;
mod kube_vip;
mod layer;
mod node;
mod owners;
mod ports;
mod role;
mod template;
mod text;
mod units;

#[cfg(test)]
mod tests;

pub(crate) use flags::{Row as FlagRow, table as flag_table};
pub(crate) use kinds::{KINDS, Kind};
pub(crate) use node::node;
pub(crate) use ports::listeners;
pub(crate) use role::{Requirements, chosen as overlays_of, replaces, requirements, role};
pub(crate) use text::{TextFile, texts};
