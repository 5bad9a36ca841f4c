//! Nodes of a cluster that run the balancer, forward connections, or can hold the VIP.

use crate::cluster::{Cluster, Node};
use crate::words::Role;

impl Cluster {
    /// Returns the nodes that run the endpoint's balancer, in the order of the cluster file.
    pub(crate) fn balancing(&self) -> Vec<&Node> {
        let roles = self.endpoint.balancer.place.roles(self.with_role(Role::Lb).next().is_some());
        self.nodes.iter().filter(|node| roles.iter().any(|role| node.roles.contains(role))).collect()
    }

    /// Returns the nodes between which the VIP moves; empty if the balancer does not move a VIP.
    pub(crate) fn vip_carriers(&self) -> Vec<&Node> {
        if self.endpoint.balancer.moves_vip() { self.balancing() } else { Vec::new() }
    }

    /// Checks whether `node` can hold the VIP.
    pub(crate) fn carries_vip(&self, node: &Node) -> bool {
        self.vip_carriers().iter().any(|carrier| carrier.name == node.name)
    }

    /// Checks whether `node` forwards connections to API servers.
    pub(crate) fn forwards(&self, node: &Node) -> bool {
        self.endpoint.balancer.proxy.is_some() && self.balancing().iter().any(|other| other.name == node.name)
    }
}
