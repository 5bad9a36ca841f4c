//! What clients dial: the VIP, its port, its VRRP identifier, and whether the balancer behind it can do what it is asked.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Endpoint, Network};
use crate::profile::Document;
use crate::words::{API_SERVER_PORT, Balancer, Bgp, Means, Mover, Place, Role, Run};

/// The port of a balancer that shares machines with API servers.
const BALANCED: u16 = 8443;

/// The first `1.x` that serves `coordination.k8s.io/v1`, which kube-vip uses.
const LEASES: u32 = 14;
/// The first port that programs without privileges may listen on.
const UNPRIVILEGED: u16 = 1024;

pub(super) fn resolve(draft: &mut Draft<'_>, network: Option<&Network>) -> Option<Endpoint> {
    let section = &draft.profile.document.endpoint;
    let balancer = section.balancer.unwrap_or_default();
    check_target(draft, balancer);
    check_dedicated(draft, balancer);
    check_port(draft, balancer);
    check_external(draft);
    let run = section.run.unwrap_or_else(|| balancer.usual_run());
    check_run(draft, balancer, run);
    check_leases(draft, balancer);
    let bgp = bgp(draft, balancer);
    check_family(draft, network);
    if let (Some(vip), Some(gateway)) = (section.vip, network.and_then(|network| network.gateway))
        && vip == gateway
    {
        draft.wrong("endpoint.vip", format!("the VIP `{vip}` is the gateway's address"), "choose an address that nothing else has");
    }
    Some(Endpoint {
        vip: section.vip,
        names: section.names.clone().unwrap_or_default(),
        external_addresses: section.external_addresses.clone(),
        port: section.port.unwrap_or_else(|| port(draft, balancer)),
        balancer,
        run,
        images: section.images.references(),
        bgp,
        virtual_router_id: section.virtual_router_id.unwrap_or_else(|| router_id(section.vip)),
    })
}

/// A VIP that moves must be given, one that nothing moves must not; where nothing of ours balances, something else must be dialled.
fn check_target(draft: &mut Draft<'_>, balancer: Balancer) {
    let section = &draft.profile.document.endpoint;
    if balancer.moves_vip() {
        draft.required("endpoint.vip", section.vip.as_ref(), "\"10.0.0.10\"");
    } else if balancer.private_vip {
        check_private(draft);
    } else if balancer.place == Place::EveryNode && section.vip.is_some() {
        let message = format!("nothing holds the VIP: with `{}` every machine dials its own balancer on loopback", balancer.name);
        draft.wrong("endpoint.vip", message, "leave `vip` out; `names` tells clients outside where API servers are");
    } else if balancer.place == Place::Elsewhere && section.vip.is_none() && section.names.as_ref().is_none_or(Vec::is_empty) {
        draft.required("endpoint.names", None::<&()>, "[\"kubernetes.example.org\"]");
    }
}

/// An address that every machine has for itself leads nobody else anywhere.
fn check_private(draft: &mut Draft<'_>) {
    const EXAMPLE: &str = "\"169.254.64.43\"";
    let document = &draft.profile.document;
    let vip = draft.required("endpoint.vip", document.endpoint.vip.as_ref(), EXAMPLE).copied();
    if let Some((vip, (name, network))) = vip.and_then(|vip| Some((vip, holding(document, vip)?))) {
        let message = format!("every machine has the VIP `{vip}` for itself, and `{name}` = `{network}` is of all");
        draft.wrong("endpoint.vip", message, format!("choose an address that nothing else has, like {EXAMPLE}"));
    }
}

/// The network of the cluster that `address` is in, with the name of its setting.
fn holding(document: &Document, address: IpAddr) -> Option<(&'static str, IpNet)> {
    let section = &document.network;
    let networks = [("nodes", section.nodes), ("pods", section.pods), ("services", section.services)];
    let mut known = networks.into_iter().filter_map(|(name, network)| Some((name, network?.trunc())));
    known.find(|(_, network)| network.contains(&address))
}

/// Who dials the VIP has addresses of the nodes' family only.
fn check_family(draft: &mut Draft<'_>, network: Option<&Network>) {
    let Some((vip, nodes)) = draft.profile.document.endpoint.vip.zip(network.map(|network| network.nodes)) else { return };
    if vip.is_ipv6() != nodes.addr().is_ipv6() {
        let message = format!("the VIP `{vip}` is of another family than the node network `{}`", nodes.trunc());
        draft.wrong("endpoint.vip", message, "choose an address of the family that the nodes have");
    }
}

/// What a router translates to the cluster is none of the cluster's own addresses.
fn check_external(draft: &mut Draft<'_>) {
    let document = &draft.profile.document;
    for (index, address) in document.endpoint.external_addresses.iter().enumerate() {
        if let Some((name, network)) = holding(document, *address) {
            let message = format!("`{address}` is in `{name}` = `{network}`: no router translates it");
            let hint = "name the address that clients outside dial; a further address of a machine goes into its `extra-addresses`";
            draft.wrong(&format!("endpoint.external-addresses[{index}]"), message, hint);
        }
    }
}

/// Machines of their own make sense only for a balancer that can stand in front of API servers.
fn check_dedicated(draft: &mut Draft<'_>, balancer: Balancer) {
    let Some(reason) = balancer.place.without_lb() else { return };
    for (index, section) in draft.profile.document.nodes.iter().enumerate() {
        if section.roles.contains(&Role::Lb) {
            let message = format!("the balancer `{}` has no use for the role `lb`: {reason}", balancer.name);
            draft.wrong(&format!("nodes[{index}].roles"), message, "leave the role out, or choose another `balancer` in `[endpoint]`");
        }
    }
}

/// Where kiln puts an address before API servers and nothing in between, clients reach the port of the API servers.
fn check_port(draft: &mut Draft<'_>, balancer: Balancer) {
    let port = draft.profile.document.endpoint.port.filter(|port| *port != API_SERVER_PORT);
    if let Some(port) = port.filter(|_| balancer.moves_vip() && balancer.proxy.is_none()) {
        let message = format!("nothing listens on port {port} of the VIP: the balancer `{}` forwards nothing", balancer.name);
        draft.wrong("endpoint.port", message, format!("leave `port` out: API servers listen on {API_SERVER_PORT}"));
    }
}

/// Static pods need a kubelet, and a balancer that comes as a pod.
fn check_run(draft: &mut Draft<'_>, balancer: Balancer, run: Run) {
    if let Means::Never(reason) = balancer.means(run) {
        let message = format!("the balancer `{}` can't run as `{}`: {reason}", balancer.name, run.name());
        let hint = format!("write `run = \"{}\"`, or choose another `balancer`", balancer.usual_run().name());
        draft.wrong("endpoint.run", message, hint);
        return;
    }
    if run == Run::Service {
        return;
    }
    let section = &draft.profile.document.endpoint;
    if let Some(port) = section.port.filter(|port| *port < UNPRIVILEGED && balancer.proxy.is_some()) {
        let message = format!("a static pod runs without privileges and can't listen on port {port}");
        draft.wrong("endpoint.port", message, format!("choose a port from {UNPRIVILEGED} on, or `run = \"service\"`"));
    }
    for (index, node) in draft.profile.document.nodes.iter().enumerate() {
        let has = |role| node.roles.contains(&role);
        if has(Role::Lb) && !has(Role::ControlPlane) && !has(Role::Worker) && balancer.place == Place::Front {
            let message = "a machine with no other role than `lb` has no kubelet, which starts static pods".to_owned();
            let hint = "give it the role `worker` too, or choose `run = \"service\"` in `[endpoint]`";
            draft.wrong(&format!("nodes[{index}].roles"), message, hint);
        }
    }
}

/// kube-vip elects the holder of the VIP by a lease.
fn check_leases(draft: &mut Draft<'_>, balancer: Balancer) {
    let version = draft.profile.document.cluster.kubernetes.filter(|version| version.minor < LEASES);
    if let Some(version) = version.filter(|_| balancer.mover == Mover::KubeVip) {
        let message = format!("`{}` needs leases, which Kubernetes {version} lacks", balancer.name);
        draft.wrong("endpoint.balancer", message, format!("use Kubernetes 1.{LEASES} or later, or `balancer = \"keepalived\"`"));
    }
}

/// What kube-vip tells routers, if it shall.
fn bgp(draft: &mut Draft<'_>, balancer: Balancer) -> Option<Bgp> {
    let section = &draft.profile.document.endpoint.bgp;
    let peers = section.peers.clone().filter(|peers| !peers.is_empty());
    if section.local_as.is_none() && peers.is_none() && section.multihop.is_none() {
        return None;
    }
    if balancer.mover != Mover::KubeVip {
        let message = format!("the balancer `{}` speaks no BGP", balancer.name);
        draft.wrong("endpoint.bgp", message, "leave the table out, or choose `balancer = \"kube-vip\"`");
        return None;
    }
    let local_as = draft.required("endpoint.bgp.local-as", section.local_as.as_ref(), "64512").copied();
    let peers = draft.required("endpoint.bgp.peers", peers.as_ref(), "[\"10.0.0.1:64512\"]").cloned();
    Some(Bgp { local_as: local_as?, peers: peers?, multihop: section.multihop.unwrap_or(false) })
}

/// The usual port wherever no API server of the same machine has it.
fn port(draft: &Draft<'_>, balancer: Balancer) -> u16 {
    let nodes = &draft.profile.document.nodes;
    let front = balancer.place.roles(nodes.iter().any(|node| node.roles.contains(&Role::Lb)));
    let shared = nodes.iter().any(|node| node.roles.contains(&Role::ControlPlane) && front.iter().any(|role| node.roles.contains(role)));
    if balancer.place == Place::Front && balancer.proxy.is_some() && shared { BALANCED } else { API_SERVER_PORT }
}

/// The last byte of the VIP: two clusters in one segment have different VIPs, and mostly so different identifiers.
fn router_id(vip: Option<IpAddr>) -> u8 {
    let last = match vip {
        Some(IpAddr::V4(vip)) => vip.octets()[3],
        Some(IpAddr::V6(vip)) => vip.octets()[15],
        None => 0,
    };
    last.max(1)
}

#[cfg(test)]
mod tests {
    use super::router_id;

    #[test]
    fn the_router_identifier_follows_the_vip_and_is_never_zero() {
        let id = |vip: &str| router_id(Some(vip.parse().unwrap()));
        assert_eq!((id("10.0.0.10"), id("10.0.1.0"), id("fd00::a:1")), (10, 1, 1));
    }
}
