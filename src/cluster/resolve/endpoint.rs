//! Resolution of the endpoint: the VIP, the port, the VRRP identifier, and the settings that the balancer
//! supports.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Endpoint, Network};
use crate::profile::Document;
use crate::words::{Balancer, Bgp, Deployment, Mover, Placement, Role, Run, Service};

/// Default port of a balancer that runs on the same machines as API servers.
const BALANCED: u16 = 8443;

/// First minor version of Kubernetes 1.x that serves `coordination.k8s.io/v1`, which kube-vip uses.
const LEASES: u32 = 14;
/// First port that unprivileged programs may listen on.
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
        draft.wrong(
            "endpoint.vip",
            format!("the VIP `{vip}` is the gateway's address"),
            "choose an unused address",
        );
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

/// Checks that a VIP is set if the balancer needs one and not set if no machine would hold it, and that an
/// external balancer has a VIP or a name.
fn check_target(draft: &mut Draft<'_>, balancer: Balancer) {
    let section = &draft.profile.document.endpoint;
    if balancer.moves_vip() {
        draft.required("endpoint.vip", section.vip.as_ref(), "\"10.0.0.10\"");
    } else if balancer.private_vip {
        check_private(draft);
    } else if balancer.place == Placement::EveryNode && section.vip.is_some() {
        let message = format!(
            "no machine would hold the VIP: with `{}`, every machine uses its own balancer on loopback",
            balancer.name
        );
        draft.wrong(
            "endpoint.vip",
            message,
            "remove `vip`; external clients reach the API servers through `names`",
        );
    } else if balancer.place == Placement::Elsewhere
        && section.vip.is_none()
        && section.names.as_ref().is_none_or(Vec::is_empty)
    {
        draft.required("endpoint.names", None::<&()>, "[\"kubernetes.example.org\"]");
    }
}

/// Checks that a VIP local to every machine is outside the cluster's networks.
fn check_private(draft: &mut Draft<'_>) {
    const EXAMPLE: &str = "\"169.254.64.43\"";
    let document = &draft.profile.document;
    let vip = draft.required("endpoint.vip", document.endpoint.vip.as_ref(), EXAMPLE).copied();
    if let Some((vip, (name, network))) = vip.and_then(|vip| Some((vip, holding(document, vip)?))) {
        let message =
            format!("the VIP `{vip}` is local to every machine, but it is inside `{name}` = `{network}`");
        draft.wrong("endpoint.vip", message, format!("choose an unused address, such as {EXAMPLE}"));
    }
}

/// Returns the cluster network that contains `address`, with the name of its setting.
fn holding(document: &Document, address: IpAddr) -> Option<(&'static str, IpNet)> {
    let section = &document.network;
    let networks = [("nodes", section.nodes), ("pods", section.pods), ("services", section.services)];
    let mut known = networks.into_iter().filter_map(|(name, network)| Some((name, network?.trunc())));
    known.find(|(_, network)| network.contains(&address))
}

/// Checks that the VIP is in the nodes' address family: clients of the VIP have no addresses in the other
/// family.
fn check_family(draft: &mut Draft<'_>, network: Option<&Network>) {
    let Some((vip, nodes)) = draft.profile.document.endpoint.vip.zip(network.map(|network| network.nodes))
    else {
        return;
    };
    if vip.is_ipv6() != nodes.addr().is_ipv6() {
        let message = format!(
            "the VIP `{vip}` and the node network `{}` are in different address families",
            nodes.trunc()
        );
        draft.wrong("endpoint.vip", message, "choose an address in the nodes' address family");
    }
}

/// Checks that addresses translated by a router are outside the cluster's own networks.
fn check_external(draft: &mut Draft<'_>) {
    let document = &draft.profile.document;
    for (index, address) in document.endpoint.external_addresses.iter().enumerate() {
        if let Some((name, network)) = holding(document, *address) {
            let message = format!("`{address}` is inside `{name}` = `{network}`, so no router translates it");
            let hint = "set the address that external clients connect to; list a machine's additional \
                addresses in `extra-addresses`";
            draft.wrong(&format!("endpoint.external-addresses[{index}]"), message, hint);
        }
    }
}

/// Checks that `lb` nodes exist only with a balancer that can run on separate machines.
fn check_dedicated(draft: &mut Draft<'_>, balancer: Balancer) {
    let Some(reason) = balancer.place.without_lb() else { return };
    for (index, section) in draft.profile.document.nodes.iter().enumerate() {
        if section.roles.contains(&Role::Lb) {
            let message = format!("the balancer `{}` does not use the role `lb`: {reason}", balancer.name);
            draft.wrong(
                &format!("nodes[{index}].roles"),
                message,
                "remove the role, or choose a different `balancer` in `[endpoint]`",
            );
        }
    }
}

/// Checks the port of a VIP without a proxy: clients then connect directly to the API servers' port.
fn check_port(draft: &mut Draft<'_>, balancer: Balancer) {
    let port = draft.profile.document.endpoint.port.filter(|port| *port != Service::ApiServer.port());
    if let Some(port) = port.filter(|_| balancer.moves_vip() && balancer.proxy.is_none()) {
        let message = format!(
            "nothing listens on port {port} of the VIP: the balancer `{}` does not forward connections",
            balancer.name
        );
        draft.wrong(
            "endpoint.port",
            message,
            format!("remove `port`: the API servers listen on port {}", Service::ApiServer.port()),
        );
    }
}

/// Checks that the balancer supports `run`, and that static pods have a kubelet and an unprivileged port.
fn check_run(draft: &mut Draft<'_>, balancer: Balancer, run: Run) {
    if let Deployment::Never(reason) = balancer.means(run) {
        let message = format!("the balancer `{}` can't run as `{}`: {reason}", balancer.name, run.name());
        let hint =
            format!("set `run = \"{}\"`, or choose a different `balancer`", balancer.usual_run().name());
        draft.wrong("endpoint.run", message, hint);
        return;
    }
    if run == Run::Service {
        return;
    }
    let section = &draft.profile.document.endpoint;
    if let Some(port) = section.port.filter(|port| *port < UNPRIVILEGED && balancer.proxy.is_some()) {
        let message = format!("a static pod runs without privileges and can't listen on port {port}");
        draft.wrong(
            "endpoint.port",
            message,
            format!("choose port {UNPRIVILEGED} or higher, or set `run = \"service\"`"),
        );
    }
    for (index, node) in draft.profile.document.nodes.iter().enumerate() {
        let has = |role| node.roles.contains(&role);
        if has(Role::Lb)
            && !has(Role::ControlPlane)
            && !has(Role::Worker)
            && balancer.place == Placement::Front
        {
            let message = "a machine with only the role `lb` has no kubelet to start static pods".to_owned();
            let hint = "add the role `worker`, or set `run = \"service\"` in `[endpoint]`";
            draft.wrong(&format!("nodes[{index}].roles"), message, hint);
        }
    }
}

/// Checks that the Kubernetes version supports leases, which kube-vip uses to elect the VIP holder.
fn check_leases(draft: &mut Draft<'_>, balancer: Balancer) {
    let version = draft.profile.document.cluster.kubernetes.filter(|version| version.minor < LEASES);
    if let Some(version) = version.filter(|_| balancer.mover == Mover::KubeVip) {
        let message =
            format!("`{}` needs leases, which Kubernetes {version} does not support", balancer.name);
        draft.wrong(
            "endpoint.balancer",
            message,
            format!("use Kubernetes 1.{LEASES} or later, or set `balancer = \"keepalived\"`"),
        );
    }
}

/// Returns kube-vip's BGP settings, if any are set.
fn bgp(draft: &mut Draft<'_>, balancer: Balancer) -> Option<Bgp> {
    let section = &draft.profile.document.endpoint.bgp;
    let peers = section.peers.clone().filter(|peers| !peers.is_empty());
    if section.local_as.is_none() && peers.is_none() && section.multihop.is_none() {
        return None;
    }
    if balancer.mover != Mover::KubeVip {
        let message = format!("the balancer `{}` does not support BGP", balancer.name);
        draft.wrong("endpoint.bgp", message, "remove the table, or set `balancer = \"kube-vip\"`");
        return None;
    }
    let local_as = draft.required("endpoint.bgp.local-as", section.local_as.as_ref(), "64512").copied();
    let peers = draft.required("endpoint.bgp.peers", peers.as_ref(), "[\"10.0.0.1:64512\"]").cloned();
    Some(Bgp { local_as: local_as?, peers: peers?, multihop: section.multihop.unwrap_or(false) })
}

/// Returns the default port: the API servers' port, unless the balancer shares a machine with an API server.
fn port(draft: &Draft<'_>, balancer: Balancer) -> u16 {
    let nodes = &draft.profile.document.nodes;
    let front = balancer.place.roles(nodes.iter().any(|node| node.roles.contains(&Role::Lb)));
    let shared = nodes.iter().any(|node| {
        node.roles.contains(&Role::ControlPlane) && front.iter().any(|role| node.roles.contains(role))
    });
    if balancer.place == Placement::Front && balancer.proxy.is_some() && shared {
        BALANCED
    } else {
        Service::ApiServer.port()
    }
}

/// Returns the last byte of the VIP, which usually differs between clusters on the same network segment.
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
