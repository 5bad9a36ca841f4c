//! What clients dial: the VIP, its port, its VRRP identifier.

use std::net::IpAddr;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Balancer, Endpoint, Network};

/// The API server's own port, as everywhere.
const API_SERVER: u16 = 6443;
/// HAProxy's port where it shares a node with the API server.
const BALANCED: u16 = 8443;

pub(super) fn resolve(draft: &mut Draft<'_>, network: Option<&Network>) -> Option<Endpoint> {
    let section = &draft.profile.document.endpoint;
    let names = section.names.clone().unwrap_or_default();
    let balancer = section.balancer.unwrap_or(Balancer::Haproxy);
    match balancer {
        Balancer::Haproxy => {
            draft.required("endpoint.vip", section.vip.as_ref(), "\"10.0.0.10\"");
        }
        Balancer::External if section.vip.is_none() && names.is_empty() => {
            draft.required("endpoint.names", None::<&()>, "[\"kubernetes.example.org\"]");
        }
        Balancer::External => {}
    }
    if let (Some(vip), Some(gateway)) = (section.vip, network.and_then(|network| network.gateway))
        && vip == gateway
    {
        draft.wrong("endpoint.vip", format!("the VIP `{vip}` is the gateway's address"), "choose an address that nothing else has");
    }
    let port = if balancer == Balancer::Haproxy { BALANCED } else { API_SERVER };
    Some(Endpoint {
        vip: section.vip,
        names,
        port: section.port.unwrap_or(port),
        balancer,
        virtual_router_id: section.virtual_router_id.unwrap_or_else(|| router_id(section.vip)),
    })
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
