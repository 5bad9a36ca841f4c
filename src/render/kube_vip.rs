//! kube-vip settings: environment variables by version, one row per variable.
//! Sources: kube-vip's pkg/kubevip/config_environment.go and config_envvar.go by tag.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::render::context::NodeContext;
use crate::words::{Bgp, BgpPeer, Mover, Span};

/// Major and minor version: `0.9` of `v0.9.1`.
type Version = (u32, u32);

/// One environment variable.
struct Variable {
    name: &'static str,
    /// Versions that read the variable.
    span: Span<Version>,
    /// Value; none if the variable does not apply.
    value: fn(&NodeContext<'_>) -> Option<String>,
}

/// Version assumed for images without a version tag.
const NEWEST: Version = (u32::MAX, 0);

const fn always(name: &'static str, value: fn(&NodeContext<'_>) -> Option<String>) -> Variable {
    Variable { name, span: Span::since((0, 0)), value }
}

const fn spanning(
    name: &'static str,
    span: Span<Version>,
    value: fn(&NodeContext<'_>) -> Option<String>,
) -> Variable {
    Variable { name, span, value }
}

/// Variables, in the order in which they are written.
static VARIABLES: &[Variable] = &[
    always("cp_enable", |_| fixed("true")),
    always("cp_namespace", |_| fixed("kube-system")),
    always("svc_enable", |_| fixed("false")),
    always("address", |context| context.cluster.endpoint.vip.map(|vip| vip.to_string())),
    always("port", |context| Some(context.cluster.endpoint.port.to_string())),
    spanning("vip_cidr", Span::since((0, 0)).removed((0, 9)), prefix),
    spanning("vip_subnet", Span::since((0, 9)), prefix),
    // With BGP, routers learn the address, and no machine on the segment answers ARP requests for it.
    always("vip_interface", |context| {
        Some(bgp(context).map_or(context.cluster.network.interface.clone(), |_| "lo".to_owned()))
    }),
    always("vip_arp", |context| Some(bgp(context).is_none().to_string())),
    always("bgp_enable", |context| bgp(context).map(|_| "true".to_owned())),
    always("bgp_routerid", |context| bgp(context).map(|_| router_id(context.node.address).to_string())),
    always("bgp_as", |context| bgp(context).map(|bgp| bgp.local_as.to_string())),
    always("bgp_peers", |context| bgp(context).map(peers)),
    spanning("vip_nodename", Span::since((0, 9)), |context| Some(context.node.name.clone())),
    always("vip_leaderelection", |_| fixed("true")),
    always("vip_leasename", |_| fixed("plndr-cp-lock")),
    // Seconds, as in the project's own manifests; `kiln plan` reads them from the pod.
    always("vip_leaseduration", |_| fixed("5")),
    always("vip_renewdeadline", |_| fixed("3")),
    always("vip_retryperiod", |_| fixed("1")),
    // Otherwise the metrics are public.
    always("prometheus_server", |_| fixed("127.0.0.1:2112")),
];

/// Returns the environment variables of the node's kube-vip pod; empty with another balancer.
pub(super) fn environment(context: &NodeContext<'_>) -> Vec<Value> {
    let endpoint = &context.cluster.endpoint;
    if endpoint.balancer.mover != Mover::KubeVip {
        return Vec::new();
    }
    let version = endpoint.images.get("kube_vip").map_or(NEWEST, |image| version(image));
    let current = VARIABLES.iter().filter(|variable| variable.span.covers(version));
    current
        .filter_map(|variable| Some(json!({ "name": variable.name, "value": (variable.value)(context)? })))
        .collect()
}

#[expect(clippy::unnecessary_wraps, reason = "all rows have the same type")]
fn fixed(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn bgp<'a>(context: &NodeContext<'a>) -> Option<&'a Bgp> {
    context.cluster.endpoint.bgp.as_ref()
}

/// Returns the prefix length of a host route, because a shorter prefix would route the segment through the
/// holder.
fn prefix(context: &NodeContext<'_>) -> Option<String> {
    context.cluster.endpoint.vip.map(|vip| if vip.is_ipv6() { "128" } else { "32" }.to_owned())
}

/// Returns a router ID that is unique to the node, for either family (RFC 6286): its IPv4 address, or the
/// last four bytes of its IPv6 address.
fn router_id(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            Ipv4Addr::new(a, b, c, d)
        }
    }
}

/// Returns `address:AS:password:multihop` with an empty password; an IPv6 address is in brackets.
fn peers(bgp: &Bgp) -> String {
    let peer = |peer: &BgpPeer| format!("{peer}::{}", bgp.multihop);
    bgp.peers.iter().map(peer).collect::<Vec<_>>().join(",")
}

/// Returns the first two numbers of an image's tag.
fn version(image: &str) -> Version {
    let name = image.split('@').next().unwrap_or(image);
    let tag = name
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'))
        .map(|(_, tag)| tag.trim_start_matches('v'));
    let mut numbers = tag.unwrap_or_default().split('.').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => NEWEST,
    }
}

#[cfg(test)]
mod tests {
    use super::{NEWEST, version};

    #[test]
    fn the_tag_of_an_image_says_its_version() {
        for (image, expected) in [
            ("ghcr.io/kube-vip/kube-vip:v0.8.10", (0, 8)),
            ("docker.io/plndr/kube-vip:v0.4.1", (0, 4)),
            ("registry:5000/kube-vip:1.0.0@sha256:00", (1, 0)),
            ("ghcr.io/kube-vip/kube-vip@sha256:00", NEWEST),
            ("ghcr.io/kube-vip/kube-vip:latest", NEWEST),
        ] {
            assert_eq!(version(image), expected, "{image}");
        }
    }
}
