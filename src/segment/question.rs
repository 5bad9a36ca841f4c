//! Parameters of a segment check. A node's own parameters are in its `/etc`, rendered by the `segment`
//! overlay.

use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use crate::cluster::Cluster;
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::words::Mover;

/// Addresses and identifier to check on a segment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Question {
    /// Interface to check.
    pub(crate) interface: String,
    pub(crate) vip: IpAddr,
    /// `None` if no virtual router moves the VIP.
    pub(crate) virtual_router_id: Option<u8>,
    /// Addresses of all nodes, which may use both.
    pub(crate) nodes: Vec<IpAddr>,
}

impl Question {
    /// Returns the parameters for a whole cluster; `None` if no node announces a VIP on the segment.
    pub(crate) fn of(cluster: &Cluster) -> Option<Self> {
        let endpoint = &cluster.endpoint;
        let reported = endpoint.balancer.moves_vip() && endpoint.bgp.is_none();
        let nodes = cluster
            .nodes
            .iter()
            .flat_map(|node| std::iter::once(node.address).chain(node.extra_addresses.iter().copied()));
        Some(Self {
            interface: cluster.network.interface.clone(),
            vip: endpoint.vip.filter(|_| reported)?,
            virtual_router_id: (endpoint.balancer.mover == Mover::Keepalived)
                .then_some(endpoint.virtual_router_id),
            nodes: nodes.collect(),
        })
    }

    /// Reads a node's parameters.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] or [`Kind::Input`], naming the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = host::fs::read_to_string(path)?;
        toml::from_str(&text).doing(Kind::Input, || format!("reading `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Question;
    use crate::cluster;
    use crate::overlay::Overlays;
    use crate::profile::tests::{SAMPLE, read};
    use crate::render;

    #[test]
    fn a_nodes_file_asks_what_its_cluster_asks() {
        let bgp = "vip = \"10.0.0.10\"\nbalancer = \"kube-vip\"\nbgp = { local-as = 64513, peers = \
            [\"10.0.0.1:64512\"] }";
        let cases = [
            ("keepalived", SAMPLE.to_owned()),
            (
                "kube-vip",
                SAMPLE.replace("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nbalancer = \"kube-vip\""),
            ),
            ("kube-vip that tells routers", SAMPLE.replace("vip = \"10.0.0.10\"", bgp)),
        ];
        for (what, text) in cases {
            let cluster =
                cluster::resolve(&read(&text)).unwrap_or_else(|err| panic!("{what}: {:#?}", err.report()));
            let texts = render::texts(&cluster, &cluster.nodes[0], &Overlays::load(&[]).unwrap()).unwrap();
            let file = texts.iter().find(|file| file.path.as_str() == "/etc/kiln/segment.toml");
            let asked: Option<Question> = file.map(|file| toml::from_str(&file.text).unwrap());
            assert_eq!(asked, Question::of(&cluster), "{what}");
            assert_eq!(asked.is_some(), !what.ends_with("routers"), "{what}");
        }
    }
}
