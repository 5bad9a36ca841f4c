//! Listening ports of a node: ports that its overlays declare, and ports set in the cluster file.

use crate::cluster::Cluster;
use crate::overlay::{Dialler, Overlay, Port, Protocol, Range};
use crate::words::{Placement, PortRange};

/// A port or port range of one component.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    /// Name of the overlay.
    pub(crate) overlay: &'a str,
    pub(crate) protocol: Protocol,
    /// `None` for a protocol without ports.
    pub(crate) ports: Option<PortRange>,
    pub(crate) from: Vec<Dialler>,
    pub(crate) what: String,
}

/// Returns the listeners of a node with these overlays, in their order.
pub(crate) fn listeners<'a>(cluster: &Cluster, chosen: &[&'a Overlay]) -> Vec<Listener<'a>> {
    let of_overlay = |overlay: &&'a Overlay| {
        let name = overlay.name.as_str();
        let endpoint = (cluster.endpoint.balancer.proxy == Some(name)).then(|| endpoint(cluster, name));
        overlay
            .manifest
            .ports
            .iter()
            .map(|port| declared(cluster, name, port))
            .chain(endpoint)
            .collect::<Vec<_>>()
    };
    chosen.iter().flat_map(of_overlay).collect()
}

fn declared<'a>(cluster: &Cluster, overlay: &'a str, port: &Port) -> Listener<'a> {
    let ports = match port.range {
        Some(Range::NodePorts) => Some(cluster.network.node_ports),
        None => (port.port != 0).then_some(PortRange { first: port.port, last: port.port }),
    };
    Listener { overlay, protocol: port.protocol, ports, from: port.from.clone(), what: port.what.clone() }
}

/// Returns the balancer's listener on the endpoint's port.
fn endpoint<'a>(cluster: &Cluster, overlay: &'a str) -> Listener<'a> {
    let port = cluster.endpoint.port;
    let private = cluster.endpoint.balancer.place == Placement::EveryNode;
    Listener {
        overlay,
        protocol: Protocol::Tcp,
        ports: Some(PortRange { first: port, last: port }),
        from: vec![if private { Dialler::Loopback } else { Dialler::Clients }],
        what: "Kubernetes API at the endpoint".to_owned(),
    }
}
