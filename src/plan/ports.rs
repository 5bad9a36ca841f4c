//! Who listens where: the matrix that a firewall is written from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::{Cluster, Place};
use crate::error::Result;
use crate::overlay::{Overlays, Protocol};
use crate::render;

/// One port of one component.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PortUse {
    /// 0 for a protocol without ports.
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) what: String,
    /// Who dials it: `loopback`, `control-plane`, `nodes`, `clients`.
    pub(crate) from: String,
    pub(crate) overlay: String,
    /// Names of the nodes that listen.
    pub(crate) nodes: Vec<String>,
}

/// Every port that a component declares, and the endpoint's, by number.
pub(super) fn used(cluster: &Cluster, overlays: &Overlays) -> Result<Vec<PortUse>> {
    let mut uses: BTreeMap<(u16, String), PortUse> = BTreeMap::new();
    for node in &cluster.nodes {
        for overlay in render::overlays_of(cluster, node, overlays)? {
            let endpoint = (Some(overlay.name.as_str()) == cluster.endpoint.balancer.proxy).then(|| PortUse {
                port: cluster.endpoint.port,
                protocol: Protocol::Tcp,
                what: "Kubernetes API of the endpoint".to_owned(),
                from: if cluster.endpoint.balancer.place == Place::EveryNode { "loopback" } else { "clients" }.to_owned(),
                overlay: overlay.name.clone(),
                nodes: Vec::new(),
            });
            let declared = overlay.manifest.ports.iter().map(|port| PortUse {
                port: port.port,
                protocol: port.protocol,
                what: port.what.clone(),
                from: port.from.clone(),
                overlay: overlay.name.clone(),
                nodes: Vec::new(),
            });
            for port in declared.chain(endpoint) {
                let there = uses.entry((port.port, overlay.name.clone())).or_insert(port);
                there.nodes.push(node.name.clone());
            }
        }
    }
    Ok(uses.into_values().collect())
}
