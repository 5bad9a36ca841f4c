//! Addresses and ports computed from a cluster: endpoints, service addresses, and usable node addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::cluster::{Cluster, Network};
use crate::words::{Placement, Role, Service};

impl Cluster {
    /// Returns the address of the `kubernetes` service: the first host of the service network.
    pub(crate) fn first_service_address(&self) -> IpAddr {
        nth_address(&self.network.services, 1)
    }

    /// Returns the address of the cluster's DNS service: the tenth host of the service network, as in
    /// kubeadm.
    pub(crate) fn dns_service_address(&self) -> IpAddr {
        nth_address(&self.network.services, 10)
    }

    /// Returns `host:port` for external clients: the VIP or, if there is none, the first name or, if there is
    /// no name either, the first control-plane node.
    pub(crate) fn endpoint_authority(&self) -> String {
        let vip = self.endpoint.vip.filter(|_| !self.endpoint.balancer.private_vip);
        let host = match (vip, self.endpoint.names.first()) {
            (Some(IpAddr::V6(vip)), _) => format!("[{vip}]"),
            (Some(vip), _) => vip.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => self
                .with_role(Role::ControlPlane)
                .next()
                .map(|node| node.address.to_string())
                .unwrap_or_default(),
        };
        let port = if self.endpoint.balancer.place == Placement::EveryNode {
            Service::ApiServer.port()
        } else {
            self.endpoint.port
        };
        format!("{host}:{port}")
    }

    /// Returns `host:port` for kubelets and kube-proxies: the balancer on their own machine, or the
    /// endpoint that all other clients use.
    pub(crate) fn agent_authority(&self) -> String {
        match self.endpoint.balancer.place {
            Placement::EveryNode => {
                SocketAddr::new(self.endpoint.vip.unwrap_or_else(|| self.loopback()), self.endpoint.port)
                    .to_string()
            }
            _ => self.endpoint_authority(),
        }
    }

    /// Returns the loopback address in the nodes' address family.
    pub(crate) fn loopback(&self) -> IpAddr {
        match self.network.nodes {
            IpNet::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpNet::V6(_) => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

impl Network {
    /// Checks whether a machine can use `address`: it must be in the node network, but not be the network or
    /// broadcast address.
    pub(crate) fn has_room_for(&self, address: IpAddr) -> bool {
        let reserved = match self.nodes {
            // RFC 3021: a /31 has neither a network nor a broadcast address.
            IpNet::V4(nodes) if nodes.prefix_len() < 31 => {
                address == nodes.network() || address == nodes.broadcast()
            }
            IpNet::V4(_) => false,
            IpNet::V6(nodes) => nodes.prefix_len() < 127 && address == nodes.network(),
        };
        self.nodes.contains(&address) && !reserved
    }
}

/// Returns the `n`-th address of a network, counted from its network address.
fn nth_address(network: &IpNet, n: u32) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + n).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(n)).into()),
    }
}
