//! Networks and addresses: sizes, conflicts, probable typos.

pub(in crate::lint) mod files;

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::cluster::Network;
use crate::lint::Lint;
use crate::lint::endpoint::public_vips;
use crate::lint::vocabulary::is_private;

/// Number of pods that a kubelet runs by default (`maxPods`).
const PODS: u64 = 110;
/// The SSH port, which every machine uses.
const SSH: u16 = 22;
/// First port that Linux uses for outgoing connections (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: u16 = 32768;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA002", "a network has host bits set")
        .why(
            "programs disagree on the meaning of such a network; the first service address, which every API \
            server certificate lists, is computed from the masked network and not from the address in the \
            file",
        )
        .fix("use the network address")
        .files(files::host_bits)
        .cluster(|subject, findings| {
            for (path, network) in networks(&subject.cluster.network) {
                if network != network.trunc() {
                    findings.at(
                        path,
                        format!("`{network}` has host bits set: the network is `{}`", network.trunc()),
                    );
                }
            }
        }),
    Lint::error("HA003", "two networks overlap")
        .why(
            "an address in both networks is ambiguous: depending on the order of routes, traffic to a node, \
            pod or service reaches the wrong one",
        )
        .fix("choose networks that do not overlap")
        .files(files::overlap)
        .cluster(|subject, findings| {
            let networks = networks(&subject.cluster.network);
            for (index, (path, network)) in networks.iter().enumerate() {
                for (other_path, other) in &networks[..index] {
                    if network.contains(&other.network()) || other.contains(&network.network()) {
                        findings.at(*path, format!("`{path}` ({network}) overlaps `{other_path}` ({other})"));
                    }
                }
            }
        }),
    Lint::warning("HA004", "a node has too few pod addresses")
        .why("a kubelet runs up to 110 pods by default; pods without an address stay in ContainerCreating")
        .fix("use a shorter prefix: a /24 has 254 addresses")
        .files(files::pods_per_node)
        .cluster(|subject, findings| {
            let network = &subject.cluster.network;
            let addresses =
                power(network.pods.max_prefix_len() - network.pods_per_node_prefix).saturating_sub(2);
            if addresses < PODS {
                let prefix = network.pods_per_node_prefix;
                findings.at(
                    "network.pods-per-node-prefix",
                    format!(
                        "/{prefix} provides {addresses} pod addresses per node, but a node runs up to \
                        {PODS} pods"
                    ),
                );
            }
        }),
    Lint::error("HA005", "the pod network is too small for the number of nodes")
        .why(
            "the controller manager assigns each node a subnet of the pod network; once all are assigned, \
            further nodes receive none and run no pods",
        )
        .fix("use a larger `network.pods`, or a longer `network.pods-per-node-prefix`")
        .cluster(|subject, findings| {
            let network = &subject.cluster.network;
            let networks = power(network.pods_per_node_prefix.saturating_sub(network.pods.prefix_len()));
            let nodes = subject.cluster.nodes.len() as u64;
            if networks < nodes {
                let prefix = network.pods_per_node_prefix;
                findings.at(
                    "network.pods",
                    format!("`{}` has /{prefix} subnets for only {networks} of {nodes} nodes", network.pods),
                );
            }
        }),
    Lint::error("HA006", "the node port range includes ports that the nodes themselves need")
        .why(
            "once a service is assigned such a port, kube-proxy claims it on every node, and etcd, the API \
            server, the kubelet or outgoing connections can no longer use it",
        )
        .fix("use the default, `30000-32767`")
        .files(files::node_ports)
        .cluster(|subject, findings| {
            let range = subject.cluster.network.node_ports;
            let declared = subject.chosen().flat_map(|overlay| &overlay.manifest.ports).map(|port| port.port);
            let all: BTreeSet<u16> = declared.chain([SSH, subject.cluster.endpoint.port]).collect();
            let mut taken: Vec<String> =
                all.into_iter().filter(|port| range.contains(*port)).map(|port| port.to_string()).collect();
            if range.last >= EPHEMERAL {
                taken.push(format!("{EPHEMERAL} and higher (outgoing connections)"));
            }
            if !taken.is_empty() {
                findings.at(
                    "network.node-ports",
                    format!("`{range}` includes ports that every node needs: {}", taken.join(", ")),
                );
            }
        }),
    Lint::warning("HA008", "an address is public")
        .why(
            "an address outside the private ranges (RFC 1918, RFC 4193, RFC 6598) is usually a typo, such \
            as 172.38 for 172.18; if it is not, the control plane is exposed to the internet",
        )
        .fix("check the digits; if the address is intended, accept it with `# kiln: allow HA008 because …`")
        .files(|fleet, found| {
            public_vips(fleet, found);
            files::public_nodes(fleet, found);
        })
        .cluster(|subject, findings| {
            let cluster = subject.cluster;
            let nodes = cluster
                .nodes
                .iter()
                .enumerate()
                .map(|(index, node)| (format!("nodes[{index}].address"), node.address));
            let vip = cluster.endpoint.vip.map(|vip| ("endpoint.vip".to_owned(), vip));
            for (path, address) in vip.into_iter().chain(nodes) {
                if !is_private(address) {
                    findings.at(path, format!("`{address}` is a public address"));
                }
            }
        }),
    Lint::info("HA019", "the pod network uses a range that is common in homes and offices")
        .why(
            "most local networks use 192.168.0.0/16: traffic for machines in such a network, even one that \
            is connected to the cluster later, goes to pods instead",
        )
        .fix("use a network such as 10.244.0.0/16")
        .files(files::lan)
        .cluster(|subject, findings| {
            let pods = subject.cluster.network.pods;
            if pods.trunc().to_string() == files::LAN {
                findings.at("network.pods", format!("pods receive addresses from {}", files::LAN));
            }
        }),
    Lint::error("HA009", "the VIP is outside the node network")
        .why(
            "VRRP moves an address by announcing its new holder on the segment; an address in another \
            network is reached through a router, which does not receive the announcement",
        )
        .fix("choose an unused address in the node network")
        .cluster(|subject, findings| {
            let (network, endpoint) = (&subject.cluster.network, &subject.cluster.endpoint);
            if let Some(vip) = endpoint.vip.filter(|vip| {
                endpoint.balancer.moves_vip() && endpoint.bgp.is_none() && !network.has_room_for(*vip)
            }) {
                findings.at(
                    "endpoint.vip",
                    format!(
                        "the VIP `{vip}` is not a usable address in the node \
                        network `{}`",
                        network.nodes.trunc()
                    ),
                );
            }
        }),
];

fn networks(network: &Network) -> [(&'static str, IpNet); 3] {
    [("network.nodes", network.nodes), ("network.pods", network.pods), ("network.services", network.services)]
}

/// Returns 2 to the power of `bits`, or `u64::MAX` if that is too large.
fn power(bits: u8) -> u64 {
    1u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX)
}
