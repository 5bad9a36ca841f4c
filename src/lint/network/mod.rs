//! Networks and addresses: what fits, what collides, what was probably a typo.

pub(in crate::lint) mod files;

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::cluster::Network;
use crate::lint::Lint;
use crate::lint::endpoint::public_vips;
use crate::lint::vocabulary::is_private;

/// Pods that a kubelet accepts by default (`maxPods`).
const PODS: u64 = 110;
/// The port by which people reach a machine whatever else runs on it.
const SSH: u16 = 22;
/// First port that Linux gives to outgoing connections (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: u16 = 32768;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA002", "a network is written with host bits")
        .why("programs disagree about what such a network means; the first service address, which every API server certificate names, is computed from the masked network and is then not the one that the file seems to say")
        .fix("write the network's own address")
        .files(files::host_bits)
        .cluster(|subject, findings| {
            for (path, network) in networks(&subject.cluster.network) {
                if network != network.trunc() {
                    findings.at(path, format!("`{network}` has host bits: the network is `{}`", network.trunc()));
                }
            }
        }),
    Lint::error("HA003", "two networks overlap")
        .why("an address in both has two meanings: traffic to a node, a pod or a service goes to the wrong one, and which depends on the order of routes")
        .fix("choose networks that share no address")
        .files(files::overlap)
        .cluster(|subject, findings| {
            let networks = networks(&subject.cluster.network);
            for (index, (path, network)) in networks.iter().enumerate() {
                for (other_path, other) in &networks[..index] {
                    if network.contains(&other.network()) || other.contains(&network.network()) {
                        findings.at(*path, format!("`{path}` {network} overlaps `{other_path}` {other}"));
                    }
                }
            }
        }),
    Lint::warning("HA004", "a node has fewer pod addresses than pods")
        .why("a kubelet accepts 110 pods; those beyond the last address stay in ContainerCreating")
        .fix("use a shorter prefix: /24 has 254 addresses")
        .files(files::pods_per_node)
        .cluster(|subject, findings| {
            let network = &subject.cluster.network;
            let addresses = power(network.pods.max_prefix_len() - network.pods_per_node_prefix).saturating_sub(2);
            if addresses < PODS {
                let prefix = network.pods_per_node_prefix;
                findings.at(
                    "network.pods-per-node-prefix",
                    format!("/{prefix} gives {addresses} pod addresses for each node, which runs up to {PODS} pods"),
                );
            }
        }),
    Lint::error("HA005", "the pod network is too small for the nodes")
        .why("the controller manager cuts one network for each node out of it; nodes beyond the last one get none and run no pods")
        .fix("widen `network.pods`, or lengthen `network.pods-per-node-prefix`")
        .cluster(|subject, findings| {
            let network = &subject.cluster.network;
            let networks = power(network.pods_per_node_prefix.saturating_sub(network.pods.prefix_len()));
            let nodes = subject.cluster.nodes.len() as u64;
            if networks < nodes {
                let prefix = network.pods_per_node_prefix;
                findings.at("network.pods", format!("`{}` holds {networks} networks of /{prefix}, and there are {nodes} nodes", network.pods));
            }
        }),
    Lint::error("HA006", "the range of node ports holds ports that nodes need themselves")
        .why("kube-proxy takes such a port on every node as soon as some service gets it, and etcd, the API server, the kubelet or an outgoing connection loses it")
        .fix("use the default, `30000-32767`")
        .files(files::node_ports)
        .cluster(|subject, findings| {
            let range = subject.cluster.network.node_ports;
            let declared = subject.chosen().flat_map(|overlay| &overlay.manifest.ports).map(|port| port.port);
            let all: BTreeSet<u16> = declared.chain([SSH, subject.cluster.endpoint.port]).collect();
            let mut taken: Vec<String> = all.into_iter().filter(|port| range.contains(*port)).map(|port| port.to_string()).collect();
            if range.last >= EPHEMERAL {
                taken.push(format!("those from {EPHEMERAL} on, which outgoing connections use"));
            }
            if !taken.is_empty() {
                findings.at("network.node-ports", format!("`{range}` holds ports that every node needs: {}", taken.join(", ")));
            }
        }),
    Lint::warning("HA008", "an address is public")
        .why("outside the private ranges (RFC 1918, RFC 4193, RFC 6598) an address belongs to somebody: most often it is a typo, such as 172.38 for 172.18, else the control plane faces the internet")
        .fix("check the digits; if it is meant, accept it with `# kiln: allow HA008 because …`")
        .files(|fleet, found| {
            public_vips(fleet, found);
            files::public_nodes(fleet, found);
        })
        .cluster(|subject, findings| {
            let cluster = subject.cluster;
            let nodes = cluster.nodes.iter().enumerate().map(|(index, node)| (format!("nodes[{index}].address"), node.address));
            let vip = cluster.endpoint.vip.map(|vip| ("endpoint.vip".to_owned(), vip));
            for (path, address) in vip.into_iter().chain(nodes) {
                if !is_private(address) {
                    findings.at(path, format!("`{address}` is a public address"));
                }
            }
        }),
    Lint::info("HA019", "pods get addresses that homes and offices use")
        .why("most local networks number their machines from 192.168.0.0/16: whoever works from one, or links one to the cluster later, reaches pods instead of machines")
        .fix("use a network such as 10.244.0.0/16")
        .files(files::lan)
        .cluster(|subject, findings| {
            let pods = subject.cluster.network.pods;
            if pods.trunc().to_string() == files::LAN {
                findings.at("network.pods", format!("pods get addresses of {}", files::LAN));
            }
        }),
    Lint::error("HA009", "the VIP is outside the node network")
        .why("VRRP moves an address by telling the machines of one segment who has it; an address of another network is reached through a router that never hears of it")
        .fix("choose a free address of the node network")
        .cluster(|subject, findings| {
        let (network, endpoint) = (&subject.cluster.network, &subject.cluster.endpoint);
        if let Some(vip) = endpoint.vip.filter(|vip| endpoint.balancer.moves_vip() && endpoint.bgp.is_none() && !network.has_room_for(*vip)) {
            findings.at("endpoint.vip", format!("the VIP `{vip}` is no usable address of the node network `{}`", network.nodes.trunc()));
        }
    }),
];

fn networks(network: &Network) -> [(&'static str, IpNet); 3] {
    [("network.nodes", network.nodes), ("network.pods", network.pods), ("network.services", network.services)]
}

/// 2 to the power of `bits`, as far as it can be counted.
fn power(bits: u8) -> u64 {
    1u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX)
}
