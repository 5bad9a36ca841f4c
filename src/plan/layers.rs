//! The topology as floors, from those who dial the API down to what it stores: who dials whom, and where.

use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::words::{API_SERVER_PORT, Mover, Place, Role};

/// Port of etcd's clients.
const ETCD_PORT: u16 = 2379;

/// Most that are shown by name.
const SHOWN: usize = 8;

/// Names as a reader takes them in: all of a few, or the first of many and how many more there are.
pub(crate) fn few(names: &[String]) -> Vec<String> {
    if names.len() <= SHOWN {
        return names.to_vec();
    }
    let (shown, rest) = names.split_at(SHOWN - 1);
    shown.iter().cloned().chain([format!("… {} more", rest.len())]).collect()
}

/// One floor.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Layer {
    pub(crate) what: String,
    /// What the floor above dials to reach it; empty for the first.
    pub(crate) dialled: String,
    /// Names of the machines on it; empty for those that are not the cluster's.
    pub(crate) nodes: Vec<String>,
    pub(crate) note: String,
}

/// The floors of a cluster, clients first.
pub(super) fn layers(cluster: &Cluster) -> Vec<Layer> {
    let endpoint = format!("https://{}", cluster.endpoint_authority());
    let mut layers = vec![agents(cluster)];
    let balancer = cluster.endpoint.balancer;
    let vip = cluster.endpoint.vip.filter(|_| balancer.moves_vip());
    let mover = if balancer.mover == Mover::KubeVip { "kube-vip" } else { "VRRP" };
    let moves = |between: &str| vip.map_or_else(String::new, |vip| format!("{mover} moves {vip} between {between}"));
    if balancer.place == Place::Elsewhere {
        layers.push(layer("a balancer of yours", &endpoint, Vec::new(), String::new()));
    } else if let Some(proxy) = balancer.proxy {
        let (dialled, note) = match balancer.place {
            Place::EveryNode => (format!("https://{}", cluster.agent_authority()), "each for its own machine".to_owned()),
            _ => (endpoint.clone(), moves("them")),
        };
        layers.push(layer(proxy, &dialled, cluster.balancing(), note));
    }
    let straight = balancer.proxy.is_none() && balancer.place != Place::Elsewhere;
    let (dialled, note) = if straight { (endpoint, moves("them")) } else { (format!("port {API_SERVER_PORT}"), String::new()) };
    layers.push(layer("kube-apiserver", &dialled, cluster.with_role(Role::ControlPlane).collect(), note));
    let members = cluster.etcd_members();
    let note = format!("{} of {} must live", members.len() / 2 + 1, members.len());
    layers.push(layer("etcd", &format!("port {ETCD_PORT}"), members, note));
    layers
}

/// Everybody who dials the endpoint: people, and the agents of machines.
fn agents(cluster: &Cluster) -> Layer {
    let agents = cluster.nodes.iter().filter(|node| cluster.has_kubelet(node));
    layer("clients, kubelet, kube-proxy", "", agents.collect(), String::new())
}

fn layer(what: &str, dialled: &str, nodes: Vec<&Node>, note: String) -> Layer {
    let nodes = nodes.into_iter().map(|node| node.name.clone()).collect();
    Layer { what: what.to_owned(), dialled: dialled.to_owned(), nodes, note }
}
