//! Who a node is, and how its machine recognises it.

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, MatchRule, Node};

/// A node's identity. Holds no secret: it is shown in status, in logs and on the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The cluster's name, for people.
    pub(crate) cluster: String,
    /// The vault's identifier of the cluster; two clusters of one name differ in it.
    pub(crate) cluster_id: String,
    pub(crate) node: String,
    /// The words of the cluster file.
    pub(crate) roles: Vec<String>,
    /// What `/etc/machine-id` holds, machine-id(5).
    pub(crate) machine_id: String,
    /// When the newest of the vault's certificates became valid, in seconds since 1970: no right clock is behind it.
    #[serde(default)]
    pub(crate) not_before: u64,
    /// Any one rule suffices; none means any machine that carries the seed.
    pub(crate) matches: Vec<MatchRule>,
}

impl Identity {
    /// The identity of `node` in the cluster whose vault is named `cluster_id`, with the newest of its certificates.
    pub(crate) fn of(cluster: &Cluster, node: &Node, cluster_id: &str, not_before: u64) -> Self {
        Self {
            cluster: cluster.name.clone(),
            cluster_id: cluster_id.to_owned(),
            node: node.name.clone(),
            roles: node.roles.iter().map(|role| role.name().to_owned()).collect(),
            machine_id: node.machine_id(cluster_id),
            not_before,
            matches: node.matches.clone(),
        }
    }
}
