//! Build plan: the images and the contents of each node, computed from the cluster and its overlays before
//! anything is built.
//!
//! The build does not use the plan; it computes the same values itself.

mod checks;
mod durations;
mod failover;
mod intervals;
mod layers;
mod order;
mod ports;
mod sizes;
mod svg;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::cluster::{Cluster, MatchRule, Node};
use crate::error::Result;
use crate::overlay::Overlays;
use crate::words::{Balancer, Mover, Output, Role};
use crate::{pki, render};

pub(crate) use checks::Check;
pub(crate) use failover::Failover;
pub(crate) use layers::{Layer, shortened};
pub(crate) use order::Start;
pub(crate) use ports::PortUse;
pub(crate) use sizes::Size;
pub(crate) use svg::draw;

/// The whole plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Plan {
    pub(crate) cluster: String,
    pub(crate) kubernetes: String,
    pub(crate) profile: String,
    /// Layers, from clients down to the API's storage.
    pub(crate) topology: Vec<Layer>,
    pub(crate) endpoint: EndpointPlan,
    pub(crate) quorum: Quorum,
    pub(crate) failovers: Vec<Failover>,
    pub(crate) capacity: Capacity,
    /// Names and addresses; if empty, the machines synchronize their clocks with each other.
    pub(crate) time_servers: Vec<String>,
    pub(crate) images: Vec<ImagePlan>,
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) sizes: Vec<Size>,
    pub(crate) ports: Vec<PortUse>,
    pub(crate) start_order: Vec<Start>,
    pub(crate) checks: Vec<Check>,
    /// Names of output formats.
    pub(crate) outputs: Vec<Output>,
}

/// Endpoint that clients connect to, and its failover.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EndpointPlan {
    /// `host:port`.
    pub(crate) authority: String,
    pub(crate) names: Vec<String>,
    pub(crate) balancer: Balancer,
    pub(crate) virtual_router_id: Option<u8>,
    /// Seconds until another node holds the VIP; `None` if kiln does not move a VIP or no other node can hold
    /// it.
    pub(crate) failover_seconds: Option<f64>,
}

/// etcd members, and the number of members that may fail.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Quorum {
    pub(crate) members: Vec<String>,
    pub(crate) needed: usize,
    pub(crate) tolerated: usize,
}

/// Network capacity.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Capacity {
    pub(crate) nodes: u64,
    pub(crate) pods_per_node: u64,
    pub(crate) services: u64,
    pub(crate) node_ports: u64,
    /// True if the cluster has more nodes than Kubernetes is tested with.
    pub(crate) untested: bool,
}

/// One role image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImagePlan {
    pub(crate) name: String,
    pub(crate) nodes: Vec<String>,
    /// Overlays in the order in which they are applied, including those required by other overlays.
    pub(crate) overlays: Vec<String>,
    pub(crate) packages: Vec<String>,
    pub(crate) binaries: Vec<String>,
    /// Container image references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) container_images: Vec<String>,
    pub(crate) units: Vec<String>,
}

/// One machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NodePlan {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) address: IpAddr,
    pub(crate) extra_addresses: Vec<IpAddr>,
    /// VRRP priority, if the node can hold the VIP.
    pub(crate) priority: Option<u8>,
    pub(crate) matches: Vec<MatchRule>,
    /// Names of the certificates in the vault.
    pub(crate) certificates: Vec<String>,
}

/// Computes the plan of `cluster`.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if an overlay is missing or two of them contradict each other.
pub(crate) fn plan(cluster: &Cluster, overlays: &Overlays) -> Result<Plan> {
    let images = cluster.images().into_iter().map(|(name, nodes)| image(cluster, &name, &nodes, overlays));
    let images: Vec<ImagePlan> = images.collect::<Result<_>>()?;
    let certificates = pki::plan(cluster);
    let of_node = |node: &Node| {
        let own = certificates.leaves.iter().filter(|leaf| leaf.id.node.as_deref() == Some(&node.name));
        own.map(|leaf| leaf.id.name.to_owned()).collect()
    };
    let failovers = failover::failovers(cluster, overlays)?;
    Ok(Plan {
        cluster: cluster.name.clone(),
        kubernetes: cluster.kubernetes.to_string(),
        profile: cluster.profile.clone(),
        endpoint: endpoint(cluster, &failovers),
        failovers,
        quorum: quorum(cluster),
        capacity: capacity(cluster),
        topology: layers::layers(cluster),
        start_order: order::order(&images),
        checks: checks::checks(cluster, &images),
        images,
        nodes: cluster.nodes.iter().map(|node| node_plan(cluster, node, of_node(node))).collect(),
        sizes: sizes::sizes(cluster),
        ports: ports::used(cluster, overlays)?,
        outputs: cluster.outputs.clone(),
        time_servers: cluster.network.ntp.clone(),
    })
}

fn image(cluster: &Cluster, name: &str, nodes: &[&Node], overlays: &Overlays) -> Result<ImagePlan> {
    let chosen = render::overlays_of(cluster, nodes[0], overlays)?;
    let requirements = render::requirements(cluster, name, overlays)?;
    Ok(ImagePlan {
        name: name.to_owned(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        units: chosen.iter().flat_map(|overlay| overlay.manifest.units.enable.iter().cloned()).collect(),
        overlays: chosen.iter().map(|overlay| overlay.name.clone()).collect(),
        packages: requirements.packages,
        binaries: requirements.binaries,
        container_images: requirements.images.into_keys().collect(),
    })
}

fn node_plan(cluster: &Cluster, node: &Node, certificates: Vec<String>) -> NodePlan {
    NodePlan {
        name: node.name.clone(),
        image: node.image(),
        roles: node.roles.clone(),
        address: node.address,
        extra_addresses: node.extra_addresses.clone(),
        priority: (cluster.endpoint.balancer.mover == Mover::Keepalived && cluster.carries_vip(node))
            .then_some(node.priority),
        matches: node.matches.clone(),
        certificates,
    }
}

fn endpoint(cluster: &Cluster, failovers: &[Failover]) -> EndpointPlan {
    EndpointPlan {
        authority: cluster.endpoint_authority(),
        names: cluster.endpoint.names.clone(),
        balancer: cluster.endpoint.balancer,
        virtual_router_id: (cluster.endpoint.balancer.mover == Mover::Keepalived
            && !cluster.vip_carriers().is_empty())
        .then_some(cluster.endpoint.virtual_router_id),
        failover_seconds: failover::of_vip(failovers),
    }
}

fn quorum(cluster: &Cluster) -> Quorum {
    let members: Vec<String> = cluster.etcd_members().into_iter().map(|node| node.name.clone()).collect();
    let needed = members.len() / 2 + 1;
    Quorum { tolerated: members.len().saturating_sub(needed), needed, members }
}

fn capacity(cluster: &Cluster) -> Capacity {
    let network = &cluster.network;
    Capacity {
        nodes: power(network.pods_per_node_prefix - network.pods.prefix_len()),
        pods_per_node: power(network.pods.max_prefix_len() - network.pods_per_node_prefix).saturating_sub(2),
        services: addresses(&network.services),
        node_ports: u64::from(network.node_ports.last - network.node_ports.first) + 1,
        untested: sizes::is_untested(cluster),
    }
}

/// Returns the number of service addresses: all except the network address and the last address.
fn addresses(network: &IpNet) -> u64 {
    power(network.max_prefix_len() - network.prefix_len()).saturating_sub(2)
}

/// Returns 2 to the power of `bits`, saturating.
fn power(bits: u8) -> u64 {
    1u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
