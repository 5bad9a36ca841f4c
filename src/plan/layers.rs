//! Topology in layers, from the API's clients down to its storage, with the address that each layer connects
//! to.

use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::words::{Mover, Placement, Role, Service};

/// Maximum number of names shown.
const SHOWN: usize = 8;

/// Shortens a long list of names to the first names and the number of the others; a short list is unchanged.
pub(crate) fn shortened(names: &[String]) -> Vec<String> {
    if names.len() <= SHOWN {
        return names.to_vec();
    }
    let (shown, rest) = names.split_at(SHOWN - 1);
    shown.iter().cloned().chain([format!("… {} more", rest.len())]).collect()
}

/// One layer.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Layer {
    pub(crate) what: String,
    /// Address that the layer above connects to; empty for the first layer.
    pub(crate) dialled: String,
    /// Names of the layer's machines; empty if they do not belong to the cluster.
    pub(crate) nodes: Vec<String>,
    pub(crate) note: String,
}

/// Returns the layers of a cluster, clients first.
pub(super) fn layers(cluster: &Cluster) -> Vec<Layer> {
    let endpoint = format!("https://{}", cluster.endpoint_authority());
    let mut layers = vec![agents(cluster)];
    let balancer = cluster.endpoint.balancer;
    let vip = cluster.endpoint.vip.filter(|_| balancer.moves_vip());
    let mover = if balancer.mover == Mover::KubeVip { "kube-vip" } else { "VRRP" };
    let moves =
        |between: &str| vip.map_or_else(String::new, |vip| format!("{mover} moves {vip} between {between}"));
    if balancer.place == Placement::Elsewhere {
        layers.push(layer("an external balancer", &endpoint, Vec::new(), String::new()));
    } else if let Some(proxy) = balancer.proxy {
        let (dialled, note) = match balancer.place {
            Placement::EveryNode => (
                format!("https://{}", cluster.agent_authority()),
                "each serves only its own machine".to_owned(),
            ),
            _ => (endpoint.clone(), moves("these machines")),
        };
        layers.push(layer(proxy, &dialled, cluster.balancing(), note));
    }
    let straight = balancer.proxy.is_none() && balancer.place != Placement::Elsewhere;
    let (dialled, note) = if straight {
        (endpoint, moves("these machines"))
    } else {
        (format!("port {}", Service::ApiServer.port()), String::new())
    };
    layers.push(layer("kube-apiserver", &dialled, cluster.with_role(Role::ControlPlane).collect(), note));
    let members = cluster.etcd_members();
    let note = format!("{} of {} must be up", members.len() / 2 + 1, members.len());
    layers.push(layer("etcd", &format!("port {}", Service::Etcd.port()), members, note));
    layers
}

/// Returns the endpoint's clients: users, and each machine's kubelet and kube-proxy.
fn agents(cluster: &Cluster) -> Layer {
    let agents = cluster.nodes.iter().filter(|node| cluster.has_kubelet(node));
    layer("clients, kubelet, kube-proxy", "", agents.collect(), String::new())
}

fn layer(what: &str, dialled: &str, nodes: Vec<&Node>, note: String) -> Layer {
    let nodes = nodes.into_iter().map(|node| node.name.clone()).collect();
    Layer { what: what.to_owned(), dialled: dialled.to_owned(), nodes, note }
}
