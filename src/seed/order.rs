//! An order: what a person decided about etcd's members, once and by name. It travels in seeds, and is a file of the node's `/etc`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Where a node has its order, if it has one.
pub(crate) const ORDER: &str = "/etc/kiln/etcd-order.toml";

/// One order; every member gets the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Order {
    /// Random, 32 hexadecimal digits: no order is mistaken for another one.
    pub(crate) id: String,
    /// Members that the others do not wait for: these can only join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
    /// The member whose copy of the data becomes the cluster's; the others' are moved aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recover_from: Option<String>,
    /// Members whose data are moved aside once they see another cluster that lives, and that join it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) set_aside: Vec<String>,
    /// A snapshot becomes the cluster's data; those of all members are moved aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restore: Option<Restore>,
}

impl Order {
    /// Every member that it is about.
    pub(crate) fn named(&self) -> impl Iterator<Item = &String> {
        let one = self.recover_from.iter().chain(self.restore.iter().map(|restore| &restore.on));
        self.without.iter().chain(&self.set_aside).chain(one)
    }
}

/// A snapshot, and who restores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Restore {
    /// The member that does it; the others join it.
    pub(crate) on: String,
    /// Of the whole file.
    pub(crate) sha256: Digest,
}
