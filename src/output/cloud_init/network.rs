//! network-config, version 2
//! (<https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html>).

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::cluster::{Cluster, MatchRule, Node};

/// Any Ethernet interface, before and after it is renamed, but not loopback.
const ANY_INTERFACE: &str = "[el][!o]*";

/// Returns the node network's interface with the node's address, matched by its MAC address if the cluster
/// file sets one.
pub(super) fn config(cluster: &Cluster, node: &Node) -> Value {
    let network = &cluster.network;
    let mac =
        node.matches.iter().find_map(|rule| if let MatchRule::Mac(mac) = rule { Some(mac) } else { None });
    let mut interface = json!({
        "addresses": [format!("{}/{}", node.address, network.nodes.prefix_len())],
        "dhcp4": false,
        "dhcp6": false,
    });
    match mac {
        Some(mac) => {
            interface["match"] = json!({ "macaddress": mac });
            interface["set-name"] = json!(network.interface);
        }
        // cloud-init renames interfaces by MAC address only; the setup script sets the name.
        None => interface["match"] = json!({ "name": ANY_INTERFACE }),
    }
    if let Some(gateway) = network.gateway {
        let everywhere = if matches!(gateway, IpAddr::V4(_)) { "0.0.0.0/0" } else { "::/0" };
        interface["routes"] = json!([{ "to": everywhere, "via": gateway }]);
    }
    if !network.dns.is_empty() {
        interface["nameservers"] = json!({ "addresses": network.dns });
    }
    json!({ "version": 2, "ethernets": { &network.interface: interface } })
}
