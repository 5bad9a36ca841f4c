//! `computed.balancer` in templates: the same facts for every kind, of which each overlay uses its part.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::cluster::Node;
use crate::render::context::Facts;
use crate::render::kube_vip;
use crate::words::{API_SERVER_PORT, Mover, Place, Role};

/// Where etcd answers its clients.
const ETCD_PORT: u16 = 2379;

/// Where the node's balancer listens, where it forwards to, and with whom it shares the VIP.
pub(super) fn data(facts: &Facts<'_>) -> Value {
    let carriers = facts.cluster.vip_carriers();
    let peers: Vec<IpAddr> = carriers.iter().filter(|node| node.name != facts.node.name).map(|node| node.address).collect();
    let servers = facts.control_plane().into_iter();
    json!({
        // The overlay that forwards; with none, clients reach API servers straight.
        "proxy": facts.cluster.endpoint.balancer.proxy,
        "binds": binds(facts),
        "servers": servers.map(server).collect::<Vec<_>>(),
        // Never preferred as the source of the node's own connections, which a shorter prefix could be.
        "vip": facts.cluster.endpoint.vip.map(|vip| format!("{vip}/{}", if vip.is_ipv6() { 128 } else { 32 })),
        "peers": peers,
        "others": others(facts, &peers),
        "elsewhere": elsewhere(facts).collect::<Vec<_>>(),
        "virtual_router_id": (facts.cluster.endpoint.balancer.mover == Mover::Keepalived).then_some(facts.cluster.endpoint.virtual_router_id),
        "environment": kube_vip::environment(facts),
    })
}

/// An API server, whole and in parts.
fn server(node: &Node) -> Value {
    let address = api_server(node);
    json!({ "name": node.name, "address": address, "host": address.ip(), "port": address.port() })
}

fn api_server(node: &Node) -> SocketAddr {
    SocketAddr::new(node.address, API_SERVER_PORT)
}

/// API servers of other machines.
fn elsewhere(facts: &Facts<'_>) -> impl Iterator<Item = SocketAddr> {
    facts.control_plane().into_iter().filter(|node| node.name != facts.node.name).map(api_server)
}

/// What a node that isn't cut off gets some answer from: API servers of other machines, and what balances or is etcd on machines without
/// one.
fn others(facts: &Facts<'_>, peers: &[IpAddr]) -> Vec<SocketAddr> {
    let control_plane = facts.control_plane();
    let is_another = |address: IpAddr| control_plane.iter().all(|node| node.address != address);
    let balancers = peers.iter().filter(|peer| is_another(**peer)).map(|peer| SocketAddr::new(*peer, facts.cluster.endpoint.port));
    // The firewall lets no other machines in.
    let asks_etcd = facts.node.roles.contains(&Role::ControlPlane);
    let members = facts.cluster.etcd_members().into_iter().filter(|_| asks_etcd);
    let members = members.map(|node| node.address).filter(|address| is_another(*address) && !peers.contains(address));
    elsewhere(facts).chain(balancers).chain(members.map(|address| SocketAddr::new(address, ETCD_PORT))).collect()
}

/// The VIP, loopback, and the node's own address unless its API server has that port; loopback alone where every machine balances.
fn binds(facts: &Facts<'_>) -> Vec<SocketAddr> {
    let endpoint = &facts.cluster.endpoint;
    let private = endpoint.balancer.place == Place::EveryNode;
    let taken = endpoint.port == API_SERVER_PORT && facts.node.roles.contains(&Role::ControlPlane);
    let own = (!private && !taken).then_some(facts.node.address);
    endpoint.vip.into_iter().chain([facts.cluster.loopback()]).chain(own).map(|address| SocketAddr::new(address, endpoint.port)).collect()
}
