//! From what files say about machines to the nodes of a cluster: one for each address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::Role;
use crate::pipeline::import::facts::{Facts, Mention, Naming};
use crate::pipeline::import::inventory;
use crate::pipeline::import::settings::{Setting, label};

/// The network in which machines of one segment usually are.
const USUAL_PREFIX: u8 = 24;

/// One machine.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Option<String>,
    naming: Naming,
    pub(super) address: Option<IpAddr>,
    pub(super) roles: BTreeSet<Role>,
    /// Whether a name alone told the role.
    pub(super) guessed: bool,
    /// `path:line` of whatever speaks of it.
    pub(super) origins: Vec<String>,
}

/// The machines with their roles, control-plane nodes first. Those without an address or a role are among them.
pub(super) fn nodes(facts: &Facts) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let vips: Vec<String> = facts.of(Setting::Vip).map(|fact| fact.value.clone()).collect();
    let own = |mention: &&Mention| !mention.address.is_some_and(|address| vips.contains(&address.to_string()));
    // Names of machines first, so that addresses find them.
    let (addressed, named): (Vec<&Mention>, Vec<&Mention>) = facts.mentions.iter().filter(own).partition(|one| one.address.is_some());
    addressed.into_iter().chain(named).for_each(|mention| add(&mut nodes, mention));
    // A member of etcd may well be something else beside.
    for node in nodes.iter_mut().filter(|node| node.roles.iter().all(|role| *role == Role::Etcd)) {
        let role = node.name.as_deref().and_then(inventory::role);
        node.guessed = role.is_some_and(|role| node.roles.insert(role));
    }
    stack_etcd(&mut nodes);
    name(&mut nodes);
    nodes.sort_by_key(|node| (node.roles.first().copied().is_none(), node.roles.first().copied(), node.address));
    nodes
}

fn add(nodes: &mut Vec<Node>, mention: &Mention) {
    let name = mention.name.as_deref().and_then(label);
    let same = |node: &&mut Node| match mention.address {
        Some(_) => node.address == mention.address,
        None => node.name == name,
    };
    let node = match nodes.iter_mut().find(same) {
        Some(node) => node,
        None => {
            let (address, naming) = (mention.address, Naming::Alias);
            nodes.push(Node { name: None, naming, address, roles: BTreeSet::new(), guessed: false, origins: Vec::new() });
            nodes.last_mut().expect("a node was just added")
        }
    };
    if node.name.is_none() || mention.naming > node.naming {
        (node.name, node.naming) = (name.or(node.name.take()), mention.naming);
    }
    node.roles.extend(mention.role);
    let origin = mention.origin.to_string();
    if !node.origins.contains(&origin) {
        node.origins.push(origin);
    }
}

/// Where etcd runs on the control-plane nodes and nowhere else, their role says so already.
fn stack_etcd(nodes: &mut [Node]) {
    let stacked = nodes.iter().all(|node| !node.roles.contains(&Role::Etcd) || node.roles.contains(&Role::ControlPlane));
    let everywhere = nodes.iter().all(|node| node.roles.contains(&Role::Etcd) || !node.roles.contains(&Role::ControlPlane));
    if stacked && everywhere {
        nodes.iter_mut().for_each(|node| _ = node.roles.remove(&Role::Etcd));
    }
}

/// Gives a name to machines that have an address only, and another one to those whose name is taken.
fn name(nodes: &mut [Node]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for node in nodes.iter_mut() {
        if node.name.as_ref().is_some_and(|name| !taken.insert(name.clone())) {
            node.name = None;
        }
    }
    for node in nodes.iter_mut().filter(|node| node.name.is_none()) {
        let letter = node.roles.first().map_or("n", |role| match role {
            Role::ControlPlane => "m",
            Role::Etcd => "e",
            Role::Lb => "lb",
            Role::Worker => "w",
        });
        node.name = (1..).map(|number| format!("{letter}{number}")).find(|name| taken.insert(name.clone()));
    }
}

/// The network of the VIP's interface, or else the usual one that holds every address; and whether that is a guess.
pub(super) fn network(facts: &Facts, nodes: &[Node]) -> Option<(IpNet, bool)> {
    if let Some(network) = facts.value(Setting::Nodes) {
        return Some((network.parse().ok()?, false));
    }
    let mut addresses = nodes.iter().filter_map(|node| node.address).chain(facts.vip());
    let first = addresses.next().filter(IpAddr::is_ipv4)?;
    let network = IpNet::new(first, USUAL_PREFIX).ok()?.trunc();
    addresses.all(|address| network.contains(&address)).then_some((network, true))
}
