//! `computed.firewall` in templates: a node's ports as nftables rules, and the address sets that they use.
//!
//! The firewall accepts exactly what `kiln plan` lists: both come from [`crate::render::ports`].

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::overlay::{Dialler, Protocol};
use crate::render::context::NodeContext;
use crate::render::ports::{Listener, listeners};
use crate::words::Role;

/// Traffic that a firewall accepts in addition to its fixed rules.
#[derive(Serialize)]
pub(super) struct Firewall {
    sets: Vec<Set>,
    rules: Vec<Rule>,
}

/// Named set of addresses.
#[derive(Serialize)]
struct Set {
    name: String,
    /// `ipv4_addr` or `ipv6_addr`.
    kind: &'static str,
    /// Addresses, separated by commas.
    elements: String,
}

/// Rules for one port and its permitted sources.
#[derive(Serialize)]
struct Rule {
    what: String,
    /// Statements in nft(8) syntax, one per line.
    statements: Vec<String>,
}

/// Address family, as nft(8) names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Returns the rules of the node.
pub(super) fn data(context: &NodeContext<'_>) -> Firewall {
    let listeners = listeners(context.cluster, context.overlays);
    let wanted: BTreeSet<Dialler> = listeners.iter().flat_map(open_to).collect();
    let sets: BTreeMap<(Dialler, Family), BTreeSet<IpNet>> = wanted
        .into_iter()
        .flat_map(|dialler| addresses(context.cluster, dialler))
        .fold(BTreeMap::new(), |mut sets, (key, address)| {
            sets.entry(key).or_default().insert(address);
            sets
        });
    let rules = listeners.iter().map(|listener| Rule {
        what: listener.what.replace(char::is_control, " "),
        statements: open_to(listener)
            .into_iter()
            .flat_map(|dialler| statements(listener, dialler, &sets))
            .collect(),
    });
    Firewall {
        rules: rules.chain(services(context)).filter(|rule| !rule.statements.is_empty()).collect(),
        sets: sets.iter().map(|((dialler, family), elements)| set(*dialler, *family, elements)).collect(),
    }
}

/// Returns the rule for services under IPVS, which handles packets only after the input rules have accepted
/// them.
fn services(context: &NodeContext<'_>) -> Option<Rule> {
    let network = context.cluster.network.services.trunc();
    let word = Family::of(network).word();
    let from = [context.cluster.network.nodes.trunc(), context.cluster.network.pods.trunc()].into_iter();
    let from = from.filter(|source| Family::of(*source) == Family::of(network));
    context.cluster.has_ipvs(context.node).then(|| Rule {
        what: "services, forwarded by IPVS".to_owned(),
        statements: from
            .map(|source| format!("{word} saddr {source} {word} daddr {network} accept"))
            .collect(),
    })
}

/// Returns the remote sources that may connect; only `Clients` if any client may connect.
fn open_to(listener: &Listener<'_>) -> Vec<Dialler> {
    if listener.from.contains(&Dialler::Clients) {
        return vec![Dialler::Clients];
    }
    listener.from.iter().copied().filter(|dialler| *dialler != Dialler::Loopback).collect()
}

/// Returns the source addresses of a kind of client, each with its address family.
fn addresses(cluster: &Cluster, dialler: Dialler) -> Vec<((Dialler, Family), IpNet)> {
    let of_nodes = |nodes: Vec<&Node>| -> Vec<IpNet> {
        nodes
            .into_iter()
            .flat_map(|node| node.extra_addresses.iter().copied().chain([node.address]))
            .map(IpNet::from)
            .collect()
    };
    let networks = match dialler {
        Dialler::Loopback | Dialler::Clients => Vec::new(),
        Dialler::Etcd => of_nodes(cluster.etcd_members()),
        Dialler::ControlPlane => of_nodes(cluster.with_role(Role::ControlPlane).collect()),
        Dialler::Balancers => of_nodes(cluster.vip_carriers()),
        Dialler::Nodes => of_nodes(cluster.nodes.iter().collect()),
        Dialler::Pods => vec![cluster.network.pods.trunc()],
    };
    networks.into_iter().map(|network| ((dialler, Family::of(network)), network)).collect()
}

fn statements(
    listener: &Listener<'_>,
    dialler: Dialler,
    sets: &BTreeMap<(Dialler, Family), BTreeSet<IpNet>>,
) -> Vec<String> {
    let packet = packet(listener);
    if dialler == Dialler::Clients {
        return vec![format!("{packet} accept")];
    }
    let families = sets.keys().filter(|(of, _)| *of == dialler);
    families
        .map(|(_, family)| format!("{} saddr @{} {packet} accept", family.word(), name(dialler, *family)))
        .collect()
}

/// Returns the nft(8) match for the packets.
fn packet(listener: &Listener<'_>) -> String {
    let protocol = match listener.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        // /etc/protocols may not contain the name.
        Protocol::Vrrp => "112",
    };
    match listener.ports {
        Some(range) if range.first == range.last => format!("{protocol} dport {}", range.first),
        Some(range) => format!("{protocol} dport {range}"),
        None => format!("meta l4proto {protocol}"),
    }
}

fn set(dialler: Dialler, family: Family, elements: &BTreeSet<IpNet>) -> Set {
    let shown = |network: &IpNet| {
        if network.prefix_len() == network.max_prefix_len() {
            network.addr().to_string()
        } else {
            network.to_string()
        }
    };
    Set {
        name: name(dialler, family),
        kind: match family {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        },
        elements: elements.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}

fn name(dialler: Dialler, family: Family) -> String {
    format!("{}-{}", dialler.name(), if family == Family::V4 { "ipv4" } else { "ipv6" })
}

impl Family {
    fn of(network: IpNet) -> Self {
        match network {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// Returns the keyword before `saddr`.
    fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}
