//! Identity of a node, and the rules that match it to its machine.

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, MatchRule, Node};

/// A node's identity. Contains no secrets: it is shown in the status, in logs and on consoles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Name of the cluster, for display.
    pub(crate) cluster: String,
    /// Cluster identifier from the vault; distinguishes clusters with the same name.
    pub(crate) cluster_id: String,
    pub(crate) node: String,
    /// Names of the roles, as in the cluster file.
    pub(crate) roles: Vec<String>,
    /// Content of `/etc/machine-id`, machine-id(5).
    pub(crate) machine_id: String,
    /// Start of validity of the vault's newest certificate, in seconds since 1970: a correct clock is never
    /// earlier.
    #[serde(default)]
    pub(crate) not_before: u64,
    /// Match rules: one match is enough; without rules, the seed is valid for any machine that carries it.
    pub(crate) matches: Vec<MatchRule>,
}

impl Identity {
    /// Returns the identity of `node` in the cluster whose vault has the identifier `cluster_id`;
    /// `not_before` is the start of validity of its newest certificate.
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
