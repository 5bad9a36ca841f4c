//! Which nodes of a cluster balance, forward, and carry the VIP.

use crate::cluster::{Cluster, Node};
use crate::words::Role;

impl Cluster {
    /// Nodes that run what stands behind the endpoint, in the order of the cluster file.
    pub(crate) fn balancing(&self) -> Vec<&Node> {
        let roles = self.endpoint.balancer.place.roles(self.with_role(Role::Lb).next().is_some());
        self.nodes.iter().filter(|node| roles.iter().any(|role| node.roles.contains(role))).collect()
    }

    /// Nodes between which the VIP moves; none where kiln moves none.
    pub(crate) fn vip_carriers(&self) -> Vec<&Node> {
        if self.endpoint.balancer.moves_vip() { self.balancing() } else { Vec::new() }
    }

    /// Whether the VIP may be an address of `node`.
    pub(crate) fn carries_vip(&self, node: &Node) -> bool {
        self.vip_carriers().iter().any(|carrier| carrier.name == node.name)
    }

    /// Whether `node` forwards connections to API servers.
    pub(crate) fn forwards(&self, node: &Node) -> bool {
        self.endpoint.balancer.proxy.is_some() && self.balancing().iter().any(|other| other.name == node.name)
    }
}
