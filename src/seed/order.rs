//! An order: an administrator's one-time decision about etcd members, which it identifies by name. Seeds
//! deliver it as a file in the node's `/etc`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Path of a node's order, if it has one.
pub(crate) const ORDER: &str = "/etc/kiln/etcd-order.toml";

/// One order; every member receives the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Order {
    /// Random, 32 hexadecimal digits, to distinguish orders.
    pub(crate) id: String,
    /// Members that the others do not wait for: these can only join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
    /// Member whose copy of the data becomes the cluster's data; the other copies are moved aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recover_from: Option<String>,
    /// Members whose data is moved aside once they see another live cluster, which they then join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) set_aside: Vec<String>,
    /// Snapshot that becomes the cluster's data; the data of all members is moved aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restore: Option<Restore>,
}

impl Order {
    /// Returns every member that the order names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &String> {
        let one = self.recover_from.iter().chain(self.restore.iter().map(|restore| &restore.on));
        self.without.iter().chain(&self.set_aside).chain(one)
    }
}

/// A snapshot, and the member that restores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Restore {
    /// Member that restores it; the others join it.
    pub(crate) on: String,
    /// SHA-256 of the whole file.
    pub(crate) sha256: Digest,
}
