//! BALANCERS: what can stand behind the endpoint. A new kind is a file and a line.

mod external;
mod haproxy;

use serde_json::Value;

use crate::cluster::{Balancer, Cluster, Node, Role};
use crate::error::Result;
use crate::render::context::Facts;

/// One kind of balancer.
pub(crate) struct Kind {
    pub(crate) balancer: Balancer,
    /// The word in cluster files.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// Overlays of the nodes that balance; no other kind's are laid.
    pub(crate) overlays: &'static [&'static str],
    /// Refuses a cluster that this kind cannot serve.
    check: fn(&Cluster) -> Result<()>,
    /// `computed.balancer` in templates.
    data: fn(&Facts<'_>) -> Value,
}

/// Every kind, in the order of `kiln list balancers`.
pub(crate) static BALANCERS: &[Kind] = &[haproxy::KIND, external::KIND];

/// The kind that a cluster chose.
fn kind(cluster: &Cluster) -> &'static Kind {
    BALANCERS.iter().find(|kind| kind.balancer == cluster.endpoint.balancer).expect("every balancer has its kind")
}

/// Refuses a cluster that its balancer cannot serve.
pub(super) fn check(cluster: &Cluster) -> Result<()> {
    (kind(cluster).check)(cluster)
}

/// What the cluster's kind of balancer computes for a node.
pub(super) fn data(facts: &Facts<'_>) -> Value {
    (kind(facts.cluster).data)(facts)
}

/// The nodes that balance: those with the role `lb`, or the control plane when none has it.
pub(super) fn nodes(cluster: &Cluster) -> Vec<&Node> {
    let dedicated: Vec<&Node> = cluster.with_role(Role::Lb).collect();
    if dedicated.is_empty() { cluster.with_role(Role::ControlPlane).collect() } else { dedicated }
}

/// The names of a role's overlays without those of other kinds, and with the chosen kind's where `balances` says so.
pub(super) fn overlays(cluster: &Cluster, balances: bool, mut names: Vec<String>) -> Vec<String> {
    let chosen = kind(cluster);
    names.retain(|name| {
        let foreign = |kind: &&Kind| kind.balancer != chosen.balancer && kind.overlays.contains(&name.as_str());
        !BALANCERS.iter().any(|kind| foreign(&kind))
    });
    if balances {
        let missing: Vec<&str> = chosen.overlays.iter().copied().filter(|overlay| !names.iter().any(|name| name == overlay)).collect();
        names.extend(missing.into_iter().map(str::to_owned));
    }
    names
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
