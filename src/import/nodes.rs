//! Cluster nodes, derived from the machines in the files: one for each address.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::import::facts::{Facts, Mention, Naming, Origin};
use crate::import::inventory;
use crate::import::settings::{Setting, label};
use crate::words::Role;

/// Usual prefix length of a segment's network.
const USUAL_PREFIX: u8 = 24;

/// One machine.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Option<String>,
    pub(super) naming: Naming,
    pub(super) address: Option<IpAddr>,
    pub(super) roles: BTreeSet<Role>,
    /// Role if the machine is not a control-plane node.
    otherwise: Option<Role>,
    /// True if the role was inferred from the name alone.
    pub(super) guessed: bool,
    /// keepalived priority, and its position in the files.
    pub(super) priority: Option<(u8, Origin)>,
    /// Positions at which the machine is mentioned.
    pub(super) origins: Vec<Origin>,
}

/// Returns the machines with their roles, control-plane nodes first, including those without an address or a
/// role.
pub(super) fn nodes(facts: &Facts) -> Vec<Node> {
    let vips: BTreeSet<&str> = facts.of(Setting::Vip).map(|fact| fact.value.as_str()).collect();
    let own = |mention: &&Mention| {
        !mention.address.is_some_and(|address| vips.contains(address.to_string().as_str()))
    };
    // Mentions without an address come last, so that their names can be matched to machines with addresses.
    let (addressed, named): (Vec<&Mention>, Vec<&Mention>) =
        facts.mentions.iter().filter(own).partition(|one| one.address.is_some());
    let mut nodes = by_address(&addressed);
    by_name(&mut nodes, &named);
    for node in nodes.iter_mut().filter(|node| !node.roles.contains(&Role::ControlPlane)) {
        node.roles.extend(node.otherwise);
    }
    // An etcd member may also have another role.
    for node in nodes.iter_mut().filter(|node| node.roles.iter().all(|role| *role == Role::Etcd)) {
        let role = node.name.as_deref().and_then(inventory::role);
        node.guessed = role.is_some_and(|role| node.roles.insert(role));
    }
    stack_etcd(&mut nodes);
    name(&mut nodes);
    // The first machine of a role receives the highest priority.
    let rank = |node: &Node| node.priority.as_ref().map(|(priority, _)| Reverse(*priority));
    nodes.sort_by_key(|node| {
        (node.roles.first().is_none(), node.roles.first().copied(), rank(node), node.address)
    });
    nodes
}

fn by_address(mentions: &[&Mention]) -> Vec<Node> {
    let (mut nodes, mut known) = (Vec::new(), BTreeMap::new());
    for mention in mentions {
        let index = *known.entry(mention.address).or_insert(nodes.len());
        learn(&mut nodes, index, mention);
    }
    nodes
}

/// Merges mentions without an address into the machines with the same names; mentions without a valid name
/// are dropped.
fn by_name(nodes: &mut Vec<Node>, mentions: &[&Mention]) {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        node.name.iter().for_each(|name| _ = known.entry(name.clone()).or_insert(index));
    }
    for mention in mentions {
        if let Some(name) = mention.name.as_deref().and_then(label) {
            let index = *known.entry(name).or_insert(nodes.len());
            learn(nodes, index, mention);
        }
    }
}

fn learn(nodes: &mut Vec<Node>, index: usize, mention: &Mention) {
    if index == nodes.len() {
        let (naming, roles, origins) = (Naming::Alias, BTreeSet::new(), Vec::new());
        nodes.push(Node {
            name: None,
            naming,
            address: mention.address,
            roles,
            otherwise: None,
            guessed: false,
            priority: None,
            origins,
        });
    }
    let (node, name) = (&mut nodes[index], mention.name.as_deref().and_then(label));
    if name.is_some() && (node.name.is_none() || mention.naming > node.naming) {
        (node.name, node.naming) = (name, mention.naming);
    }
    node.roles.extend(mention.role);
    node.otherwise = node.otherwise.or(mention.otherwise);
    node.priority = node.priority.take().or_else(|| Some((mention.priority?, mention.origin.clone())));
    if !node.origins.contains(&mention.origin) {
        node.origins.push(mention.origin.clone());
    }
}

/// Removes the role `etcd` if etcd runs on all control-plane nodes and nowhere else: the role `control-plane`
/// implies it.
fn stack_etcd(nodes: &mut [Node]) {
    let stacked = nodes
        .iter()
        .all(|node| !node.roles.contains(&Role::Etcd) || node.roles.contains(&Role::ControlPlane));
    let everywhere = nodes
        .iter()
        .all(|node| node.roles.contains(&Role::Etcd) || !node.roles.contains(&Role::ControlPlane));
    if stacked && everywhere {
        nodes.iter_mut().for_each(|node| _ = node.roles.remove(&Role::Etcd));
    }
}

/// Names machines that have only an address, and renames those whose name is already taken.
fn name(nodes: &mut [Node]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for node in nodes.iter_mut() {
        if node.name.as_ref().is_some_and(|name| !taken.insert(name.clone())) {
            node.name = None;
        }
    }
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for node in nodes.iter_mut().filter(|node| node.name.is_none()) {
        let letter = node.roles.first().map_or("n", |role| match role {
            Role::ControlPlane => "m",
            Role::Etcd => "e",
            Role::Lb => "lb",
            Role::Worker => "w",
        });
        let last = last.entry(letter).or_default();
        let free = (*last + 1..).find(|number| taken.insert(format!("{letter}{number}")));
        *last = free.expect("there is always another number");
        (node.name, node.naming) = (Some(format!("{letter}{last}")), Naming::None);
    }
}

/// Returns the network of the VIP's interface or, if there is none, a network of the usual size that contains
/// every address; the flag is true if the network is a guess.
pub(super) fn network(facts: &Facts, nodes: &[Node]) -> Option<(IpNet, bool)> {
    if let Some(network) = facts.value(Setting::Nodes) {
        return Some((network.parse().ok()?, false));
    }
    let mut addresses =
        nodes.iter().filter(|node| !node.roles.is_empty()).filter_map(|node| node.address).chain(facts.vip());
    let first = addresses.next().filter(IpAddr::is_ipv4)?;
    let network = IpNet::new(first, USUAL_PREFIX).ok()?.trunc();
    addresses.all(|address| network.contains(&address)).then_some((network, true))
}
