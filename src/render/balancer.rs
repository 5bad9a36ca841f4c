//! `computed.balancer` in templates: the same data for every kind of balancer; each overlay uses its part.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::cluster::Node;
use crate::render::context::NodeContext;
use crate::render::kube_vip;
use crate::words::{Mover, Placement, Role, Service};

/// Returns the addresses that the node's balancer binds to and forwards to, and the peers that share the VIP.
pub(super) fn data(context: &NodeContext<'_>) -> Value {
    let carriers = context.cluster.vip_carriers();
    let peers: Vec<IpAddr> =
        carriers.iter().filter(|node| node.name != context.node.name).map(|node| node.address).collect();
    let servers = context.control_plane().into_iter();
    json!({
        // The overlay that forwards; without one, clients connect directly to API servers.
        "proxy": context.cluster.endpoint.balancer.proxy,
        "binds": binds(context),
        "servers": servers.map(server).collect::<Vec<_>>(),
        // A host prefix, so that the VIP is never preferred as source address of the node's own connections.
        "vip": context.cluster.endpoint.vip.map(|vip| format!("{vip}/{}", if vip.is_ipv6() { 128 } else { 32 })),
        "peers": peers,
        "others": others(context, &peers),
        "elsewhere": elsewhere(context).collect::<Vec<_>>(),
        "virtual_router_id": (context.cluster.endpoint.balancer.mover == Mover::Keepalived).then_some(context.cluster.endpoint.virtual_router_id),
        "environment": kube_vip::environment(context),
    })
}

/// Returns an API server's address, whole and in parts.
fn server(node: &Node) -> Value {
    let address = api_server(node);
    json!({ "name": node.name, "address": address, "host": address.ip(), "port": address.port() })
}

fn api_server(node: &Node) -> SocketAddr {
    SocketAddr::new(node.address, Service::ApiServer.port())
}

/// Returns the API servers of other machines.
fn elsewhere(context: &NodeContext<'_>) -> impl Iterator<Item = SocketAddr> {
    context.control_plane().into_iter().filter(|node| node.name != context.node.name).map(api_server)
}

/// Returns the addresses of which at least one responds unless the node is isolated: API servers on other
/// machines, and balancers and etcd members on machines without an API server.
fn others(context: &NodeContext<'_>, peers: &[IpAddr]) -> Vec<SocketAddr> {
    let control_plane = context.control_plane();
    let is_another = |address: IpAddr| control_plane.iter().all(|node| node.address != address);
    let balancers = peers
        .iter()
        .filter(|peer| is_another(**peer))
        .map(|peer| SocketAddr::new(*peer, context.cluster.endpoint.port));
    // The firewall of etcd members accepts only control-plane nodes.
    let asks_etcd = context.node.roles.contains(&Role::ControlPlane);
    let members = context.cluster.etcd_members().into_iter().filter(|_| asks_etcd);
    let members =
        members.map(|node| node.address).filter(|address| is_another(*address) && !peers.contains(address));
    elsewhere(context)
        .chain(balancers)
        .chain(members.map(|address| SocketAddr::new(address, Service::Etcd.port())))
        .collect()
}

/// Returns the addresses to bind to: the VIP, loopback, and the node's own address unless its API server uses
/// that port; with a balancer on every machine only the VIP, if any, and loopback.
fn binds(context: &NodeContext<'_>) -> Vec<SocketAddr> {
    let endpoint = &context.cluster.endpoint;
    let private = endpoint.balancer.place == Placement::EveryNode;
    let taken =
        endpoint.port == Service::ApiServer.port() && context.node.roles.contains(&Role::ControlPlane);
    let own = (!private && !taken).then_some(context.node.address);
    endpoint
        .vip
        .into_iter()
        .chain([context.cluster.loopback()])
        .chain(own)
        .map(|address| SocketAddr::new(address, endpoint.port))
        .collect()
}
