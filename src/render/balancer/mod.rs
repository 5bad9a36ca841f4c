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
    /// Overlays of the nodes that balance.
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

/// Whether an overlay belongs to a kind of balancer that the cluster did not choose.
pub(super) fn is_foreign(cluster: &Cluster, overlay: &str) -> bool {
    BALANCERS.iter().any(|kind| kind.balancer != cluster.endpoint.balancer && kind.overlays.contains(&overlay))
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
