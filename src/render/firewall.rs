//! `computed.firewall` in templates: the ports of a node as rules of nftables, and the sets of addresses that they name.
//!
//! What `kiln plan` lists is what is let in: both come from [`crate::render::ports`].

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::overlay::{Dialler, Protocol};
use crate::render::context::Facts;
use crate::render::ports::{Listener, listeners};
use crate::words::Role;

/// What a firewall lets in beyond what it always does.
#[derive(Serialize)]
pub(super) struct Firewall {
    sets: Vec<Set>,
    rules: Vec<Rule>,
}

/// Addresses under a name.
#[derive(Serialize)]
struct Set {
    name: String,
    /// `ipv4_addr` or `ipv6_addr`.
    kind: &'static str,
    /// Separated by commas.
    elements: String,
}

/// One port, from where it may be dialled.
#[derive(Serialize)]
struct Rule {
    what: String,
    /// In the language of nft(8), one a line.
    statements: Vec<String>,
}

/// One family of addresses, as nft(8) names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// The rules of the node.
pub(super) fn data(facts: &Facts<'_>) -> Firewall {
    let listeners = listeners(facts.cluster, facts.overlays);
    let wanted: BTreeSet<Dialler> = listeners.iter().flat_map(open_to).collect();
    let sets: BTreeMap<(Dialler, Family), BTreeSet<IpNet>> =
        wanted.into_iter().flat_map(|dialler| addresses(facts.cluster, dialler)).fold(BTreeMap::new(), |mut sets, (key, address)| {
            sets.entry(key).or_default().insert(address);
            sets
        });
    let rules = listeners.iter().map(|listener| Rule {
        what: listener.what.replace(char::is_control, " "),
        statements: open_to(listener).into_iter().flat_map(|dialler| statements(listener, dialler, &sets)).collect(),
    });
    Firewall {
        rules: rules.chain(services(facts)).filter(|rule| !rule.statements.is_empty()).collect(),
        sets: sets.iter().map(|((dialler, family), elements)| set(*dialler, *family, elements)).collect(),
    }
}

/// IPVS takes packets to services after the rules have seen them, addressed to this machine.
fn services(facts: &Facts<'_>) -> Option<Rule> {
    let network = facts.cluster.network.services.trunc();
    let word = Family::of(network).word();
    let from = [facts.cluster.network.nodes.trunc(), facts.cluster.network.pods.trunc()].into_iter();
    let from = from.filter(|source| Family::of(*source) == Family::of(network));
    facts.cluster.has_ipvs(facts.node).then(|| Rule {
        what: "services, which IPVS leads on".to_owned(),
        statements: from.map(|source| format!("{word} saddr {source} {word} daddr {network} accept")).collect(),
    })
}

/// Who may dial from elsewhere; nobody else matters where everybody may.
fn open_to(listener: &Listener<'_>) -> Vec<Dialler> {
    if listener.from.contains(&Dialler::Clients) {
        return vec![Dialler::Clients];
    }
    listener.from.iter().copied().filter(|dialler| *dialler != Dialler::Loopback).collect()
}

/// Where connections of a kind of dialler come from, by family.
fn addresses(cluster: &Cluster, dialler: Dialler) -> Vec<((Dialler, Family), IpNet)> {
    let of_nodes = |nodes: Vec<&Node>| -> Vec<IpNet> {
        nodes.into_iter().flat_map(|node| node.extra_addresses.iter().copied().chain([node.address])).map(IpNet::from).collect()
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

fn statements(listener: &Listener<'_>, dialler: Dialler, sets: &BTreeMap<(Dialler, Family), BTreeSet<IpNet>>) -> Vec<String> {
    let packet = packet(listener);
    if dialler == Dialler::Clients {
        return vec![format!("{packet} accept")];
    }
    let families = sets.keys().filter(|(of, _)| *of == dialler);
    families.map(|(_, family)| format!("{} saddr @{} {packet} accept", family.word(), name(dialler, *family))).collect()
}

/// What nft(8) knows the packets by.
fn packet(listener: &Listener<'_>) -> String {
    let protocol = match listener.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        // /etc/protocols may lack the name.
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
        if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
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

    /// The word before `saddr`.
    fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}
