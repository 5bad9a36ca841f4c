//! Resolution of nodes: unique names, addresses and match rules, and the order in which nodes hold the VIP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Endpoint, MatchRule, Network, Node};
use crate::profile::{MatchSection, NodeSection};
use crate::words::{Balancer, Role};

/// Highest VRRP priority that is not reserved (RFC 5798 section 5.2.4).
const HIGHEST_PRIORITY: u8 = 254;

pub(super) fn resolve(
    draft: &mut Draft<'_>,
    network: Option<&Network>,
    endpoint: Option<&Endpoint>,
) -> Option<Vec<Node>> {
    let sections = &draft.profile.document.nodes;
    if sections.is_empty() && !draft.profile.places.is_broken("nodes") {
        let hint = "add a table: `[[nodes]]`, `name = \"m1\"`, `roles = [\"control-plane\"]`, `address = \
            \"10.0.0.11\"`";
        draft.report.error("nodes", None, "the cluster has no nodes").hint(hint);
    }
    let nodes: Vec<Option<Node>> =
        sections.iter().enumerate().map(|(index, section)| node(draft, index, section)).collect();
    check_roles(draft);
    check_addresses(draft, network, endpoint);
    check_unique(draft);
    let mut nodes: Vec<Node> = nodes.into_iter().collect::<Option<_>>()?;
    set_priorities(&mut nodes, endpoint.map_or_else(Balancer::default, |endpoint| endpoint.balancer));
    Some(nodes)
}

fn node(draft: &mut Draft<'_>, index: usize, section: &NodeSection) -> Option<Node> {
    let path = format!("nodes[{index}]");
    let name = draft
        .required(&format!("{path}.name"), section.name.as_ref(), &format!("\"m{}\"", index + 1))
        .cloned();
    let address = draft
        .required(&format!("{path}.address"), section.address.as_ref(), &format!("\"10.0.0.{}\"", index + 11))
        .copied();
    draft.required(&format!("{path}.roles"), section.roles.first(), "[\"control-plane\"]");
    let name = name?;
    Some(Node {
        matches: rules(&name, &section.r#match),
        name,
        roles: section.roles.iter().copied().collect(),
        address: address?,
        extra_addresses: section.extra_addresses.clone(),
        priority: 0,
        labels: section.labels.clone(),
        taints: section.taints.clone(),
    })
}

/// Returns the match rules, normalized to the form in which the machine reports its identity.
fn rules(name: &str, section: &MatchSection) -> Vec<MatchRule> {
    let command_line =
        section.command_line.unwrap_or(false).then(|| MatchRule::KernelCommandLine(name.to_owned()));
    let serial = section.serial.clone().map(MatchRule::Serial);
    let uuid = section.uuid.as_ref().map(|uuid| MatchRule::Uuid(uuid.to_lowercase()));
    let mac = section.mac.as_ref().map(|mac| MatchRule::Mac(mac.to_lowercase().replace('-', ":")));
    [command_line, serial, uuid, mac].into_iter().flatten().collect()
}

fn check_roles(draft: &mut Draft<'_>) {
    let sections = &draft.profile.document.nodes;
    let unknown =
        (0..sections.len()).any(|index| draft.profile.places.is_broken(&format!("nodes[{index}].roles")));
    let controls = sections.iter().any(|section| section.roles.contains(&Role::ControlPlane));
    if !sections.is_empty() && !controls && !unknown {
        draft.wrong(
            "nodes",
            "no node has the role `control-plane`".into(),
            "set `roles = [\"control-plane\"]` on at least one node",
        );
    }
}

fn check_addresses(draft: &mut Draft<'_>, network: Option<&Network>, endpoint: Option<&Endpoint>) {
    let Some(network) = network else { return };
    let vip = endpoint.and_then(|endpoint| endpoint.vip);
    for (index, section) in draft.profile.document.nodes.iter().enumerate() {
        let path = format!("nodes[{index}].address");
        let Some(address) = section.address else { continue };
        if !network.has_room_for(address) {
            let message = format!(
                "`{address}` is not a usable address in the node network `{}`",
                network.nodes.trunc()
            );
            draft.wrong(&path, message, "choose a free address in that network, or correct `network.nodes`");
        }
        if vip == Some(address) {
            draft.wrong(
                &path,
                format!("`{address}` is the VIP"),
                "the VIP moves between nodes; choose a different address for this node",
            );
        } else if network.gateway == Some(address) {
            draft.wrong(&path, format!("`{address}` is the gateway's address"), "choose an unused address");
        }
    }
}

/// Reports names, addresses and match rules that two nodes share.
fn check_unique(draft: &mut Draft<'_>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, section) in draft.profile.document.nodes.iter().enumerate() {
        for (key, what, value) in claims(section) {
            let claim = format!("{what} `{value}`");
            match seen.get(&claim) {
                Some(first) => {
                    let message = match key.as_str() {
                        "name" => format!("two nodes have {claim}"),
                        _ => format!(
                            "two nodes have {claim}: {} and {}",
                            called(draft, *first),
                            called(draft, index)
                        ),
                    };
                    draft.wrong(
                        &format!("nodes[{index}].{key}"),
                        message,
                        "set a different value for each node",
                    );
                }
                None => _ = seen.insert(claim, index),
            }
        }
    }
}

/// Returns the values that must be unique to a node: the key in its table, a description, the value.
fn claims(section: &NodeSection) -> Vec<(String, &'static str, String)> {
    let mut claims = Vec::new();
    claims.extend(section.name.iter().map(|name| ("name".to_owned(), "the name", name.clone())));
    let own: BTreeSet<IpAddr> = section.address.into_iter().collect();
    claims.extend(own.iter().map(|address| ("address".to_owned(), "the address", address.to_string())));
    let extra = section.extra_addresses.iter().enumerate().filter(|(_, address)| !own.contains(address));
    claims.extend(
        extra.map(|(index, address)| {
            (format!("extra-addresses[{index}]"), "the address", address.to_string())
        }),
    );
    for rule in rules("", &MatchSection { command_line: None, ..section.r#match.clone() }) {
        claims.push(match rule {
            MatchRule::Serial(serial) => ("match.serial".to_owned(), "the serial number", serial),
            MatchRule::Uuid(uuid) => ("match.uuid".to_owned(), "the UUID", uuid),
            MatchRule::Mac(mac) => ("match.mac".to_owned(), "the MAC address", mac),
            MatchRule::KernelCommandLine(_) => continue,
        });
    }
    claims
}

fn called(draft: &Draft<'_>, index: usize) -> String {
    match &draft.profile.document.nodes[index].name {
        Some(name) => format!("`{name}`"),
        None => format!("node number {}", index + 1),
    }
}

/// Assigns the highest priorities to the balancing nodes, in order; the priorities of other nodes are not
/// used.
fn set_priorities(nodes: &mut [Node], balancer: Balancer) {
    let carriers = balancer.place.roles(nodes.iter().any(|node| node.roles.contains(&Role::Lb)));
    let mut next = HIGHEST_PRIORITY;
    for node in nodes {
        node.priority = next.max(1);
        if carriers.iter().any(|role| node.roles.contains(role)) {
            next = next.saturating_sub(1);
        } else {
            node.priority = 1;
        }
    }
}
