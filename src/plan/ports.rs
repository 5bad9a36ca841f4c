//! Listening ports of the nodes: the port matrix that the node firewalls accept.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::overlay::{Dialler, Overlays, Protocol};
use crate::render;

/// One port of one component.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PortUse {
    /// 0 for a protocol without ports.
    pub(crate) port: u16,
    /// Last port of a range; otherwise the same as `port`.
    pub(crate) last: u16,
    pub(crate) protocol: Protocol,
    pub(crate) what: String,
    /// Clients of the port, separated by commas: `loopback`, `etcd`, `control-plane`, `balancers`, `nodes`,
    /// `pods`, `clients`.
    pub(crate) from: String,
    pub(crate) overlay: String,
    /// Names of the nodes that listen.
    pub(crate) nodes: Vec<String>,
}

/// Returns every port that a component declares, and the endpoint's port, sorted by number.
pub(super) fn used(cluster: &Cluster, overlays: &Overlays) -> Result<Vec<PortUse>> {
    let mut uses: BTreeMap<(u16, Protocol, String), PortUse> = BTreeMap::new();
    for node in &cluster.nodes {
        for listener in render::listeners(cluster, &render::overlays_of(cluster, node, overlays)?) {
            let (port, last) = listener.ports.map_or((0, 0), |ports| (ports.first, ports.last));
            let there =
                uses.entry((port, listener.protocol, listener.overlay.to_owned())).or_insert_with(|| {
                    PortUse {
                        port,
                        last,
                        protocol: listener.protocol,
                        what: listener.what,
                        from: listener
                            .from
                            .iter()
                            .map(|dialler| Dialler::name(*dialler))
                            .collect::<Vec<_>>()
                            .join(", "),
                        overlay: listener.overlay.to_owned(),
                        nodes: Vec::new(),
                    }
                });
            there.nodes.push(node.name.clone());
        }
    }
    Ok(uses.into_values().collect())
}
