//! HAProxy on every balancing node, with keepalived moving the VIP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use super::Kind;
use crate::cluster::{Balancer, Cluster, Role};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::render::context::{API_SERVER_PORT, Facts};

pub(super) const KIND: Kind = Kind {
    balancer: Balancer::Haproxy,
    name: "haproxy",
    summary: "HAProxy and keepalived on the control-plane nodes",
    overlays: &["haproxy", "keepalived"],
    check,
    data,
};

fn check(cluster: &Cluster) -> Result<()> {
    if cluster.endpoint.vip.is_none() {
        return Err(Error::new(ErrorKind::Input, "the balancer `haproxy` needs a VIP")
            .hint("set `vip` in `[endpoint]`, or `balancer = \"external\"`"));
    }
    Ok(())
}

fn data(facts: &Facts<'_>) -> Value {
    let Some(vip) = facts.cluster.endpoint.vip else { return json!({}) };
    let nodes = super::nodes(facts.cluster);
    let peers: Vec<IpAddr> = nodes.iter().filter(|node| node.name != facts.node.name).map(|node| node.address).collect();
    let servers = facts.control_plane().into_iter();
    json!({
        "binds": binds(facts, vip),
        "servers": servers.map(|node| json!({ "name": node.name, "address": SocketAddr::new(node.address, API_SERVER_PORT) })).collect::<Vec<_>>(),
        // Never preferred as the source of the node's own connections, which a shorter prefix could be.
        "vip": format!("{vip}/{}", if vip.is_ipv6() { 128 } else { 32 }),
        "peers": peers,
    })
}

/// The VIP, loopback, and the node's own address unless its API server has that port.
fn binds(facts: &Facts<'_>, vip: IpAddr) -> Vec<SocketAddr> {
    let port = facts.cluster.endpoint.port;
    let loopback = if vip.is_ipv6() { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let taken = port == API_SERVER_PORT && facts.node.roles.contains(&Role::ControlPlane);
    let own = (!taken).then_some(facts.node.address);
    [vip, loopback].into_iter().chain(own).map(|address| SocketAddr::new(address, port)).collect()
}
