//! kube-vip's settings: environment variables that change with its version, one row a variable.
//! Sources: kube-vip's pkg/kubevip/config_environment.go and config_envvar.go by tag.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::render::context::Facts;
use crate::words::{Bgp, BgpPeer, Mover};

/// `0.9` of `v0.9.1`.
type Version = (u32, u32);

/// One environment variable.
struct Variable {
    name: &'static str,
    since: Version,
    /// The first version that ignores it.
    until: Version,
    /// Its value; none where it has nothing to say.
    value: fn(&Facts<'_>) -> Option<String>,
}

/// What an image without a version has: the newest.
const NEWEST: Version = (u32::MAX, 0);

const fn always(name: &'static str, value: fn(&Facts<'_>) -> Option<String>) -> Variable {
    Variable { name, since: (0, 0), until: NEWEST, value }
}

/// The variables, in the order in which they are written.
static VARIABLES: &[Variable] = &[
    always("cp_enable", |_| fixed("true")),
    always("cp_namespace", |_| fixed("kube-system")),
    always("svc_enable", |_| fixed("false")),
    always("address", |facts| facts.cluster.endpoint.vip.map(|vip| vip.to_string())),
    always("port", |facts| Some(facts.cluster.endpoint.port.to_string())),
    Variable { name: "vip_cidr", since: (0, 0), until: (0, 9), value: prefix },
    Variable { name: "vip_subnet", since: (0, 9), until: NEWEST, value: prefix },
    // Announced by a router's neighbour, the address is nobody's in the segment.
    always("vip_interface", |facts| Some(bgp(facts).map_or(facts.cluster.network.interface.clone(), |_| "lo".to_owned()))),
    always("vip_arp", |facts| Some(bgp(facts).is_none().to_string())),
    always("bgp_enable", |facts| bgp(facts).map(|_| "true".to_owned())),
    always("bgp_routerid", |facts| bgp(facts).map(|_| router_id(facts.node.address).to_string())),
    always("bgp_as", |facts| bgp(facts).map(|bgp| bgp.local_as.to_string())),
    always("bgp_peers", |facts| bgp(facts).map(peers)),
    Variable { name: "vip_nodename", since: (0, 9), until: NEWEST, value: |facts| Some(facts.node.name.clone()) },
    always("vip_leaderelection", |_| fixed("true")),
    always("vip_leasename", |_| fixed("plndr-cp-lock")),
    // Seconds, as the project's own manifests have them; `kiln plan` reads them from the pod.
    always("vip_leaseduration", |_| fixed("5")),
    always("vip_renewdeadline", |_| fixed("3")),
    always("vip_retryperiod", |_| fixed("1")),
    // Else everybody may read it.
    always("prometheus_server", |_| fixed("127.0.0.1:2112")),
];

/// The variables of the node's kube-vip, as a pod lists them; none where another balancer is.
pub(super) fn environment(facts: &Facts<'_>) -> Vec<Value> {
    let endpoint = &facts.cluster.endpoint;
    if endpoint.balancer.mover != Mover::KubeVip {
        return Vec::new();
    }
    let version = endpoint.images.get("kube_vip").map_or(NEWEST, |image| version(image));
    let current = VARIABLES
        .iter()
        .filter(|variable| (variable.since..variable.until).contains(&version) || version == NEWEST && variable.until == NEWEST);
    current.filter_map(|variable| Some(json!({ "name": variable.name, "value": (variable.value)(facts)? }))).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "rows have one shape")]
fn fixed(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn bgp<'a>(facts: &Facts<'a>) -> Option<&'a Bgp> {
    facts.cluster.endpoint.bgp.as_ref()
}

/// The VIP alone: a wider prefix would route the segment through its holder.
fn prefix(facts: &Facts<'_>) -> Option<String> {
    facts.cluster.endpoint.vip.map(|vip| if vip.is_ipv6() { "128" } else { "32" }.to_owned())
}

/// Four bytes that are the node's own, in every family (RFC 6286): its address, or the end of it.
fn router_id(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            Ipv4Addr::new(a, b, c, d)
        }
    }
}

/// `address:AS:password:multihop`, without a password; an IPv6 address stands in brackets.
fn peers(bgp: &Bgp) -> String {
    let peer = |peer: &BgpPeer| format!("{peer}::{}", bgp.multihop);
    bgp.peers.iter().map(peer).collect::<Vec<_>>().join(",")
}

/// The first two numbers of the tag of an image.
fn version(image: &str) -> Version {
    let name = image.split('@').next().unwrap_or(image);
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag.trim_start_matches('v'));
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
