//! Per-node pod networks, where kiln assigns them.

use ipnet::IpNet;

use crate::cluster::{Cluster, Network, Node};
use crate::words::NetworkPlugin;

impl Cluster {
    /// Returns the pod network of `node`, if kiln, not the controller manager, assigns it.
    ///
    /// The network is derived from the node's address, so that it does not change when other nodes are added
    /// or removed. If there are fewer pod networks than node addresses, the network is derived from the
    /// node's position in the cluster file.
    pub(crate) fn pods_of(&self, node: &Node) -> Option<IpNet> {
        if self.network.plugin != NetworkPlugin::Bridge || !self.has_kubelet(node) {
            return None;
        }
        let place = || self.nodes.iter().position(|other| other.name == node.name).map(|place| place as u128);
        self.network.pods_at(self.network.host_part(node).or_else(place)?)
    }
}

impl Network {
    /// Returns the host part of a node's address, if there is a pod network for every host part.
    fn host_part(&self, node: &Node) -> Option<u128> {
        let networks = self.pods_per_node_prefix - self.pods.prefix_len();
        let hosts = self.nodes.max_prefix_len() - self.nodes.prefix_len();
        (hosts <= networks).then(|| number(IpNet::from(node.address)) - number(self.nodes.trunc()))
    }

    /// Returns the pod network with the number `index`.
    fn pods_at(&self, index: u128) -> Option<IpNet> {
        let bits = self.pods.max_prefix_len() - self.pods_per_node_prefix;
        let first = number(self.pods.trunc()) + (index << bits);
        let address = match self.pods {
            IpNet::V4(_) => std::net::Ipv4Addr::from(u32::try_from(first).ok()?).into(),
            IpNet::V6(_) => std::net::Ipv6Addr::from(first).into(),
        };
        IpNet::new(address, self.pods_per_node_prefix).ok().filter(|network| self.pods.contains(network))
    }
}

/// Returns the network's address as a number.
fn number(network: IpNet) -> u128 {
    match network {
        IpNet::V4(network) => u32::from(network.addr()).into(),
        IpNet::V6(network) => network.addr().into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::resolve;
    use crate::profile::tests::{SAMPLE, edited, problems, read};
    use crate::words::Role;

    fn pods(text: &str) -> Vec<String> {
        let cluster = resolve(&read(text)).unwrap();
        cluster
            .nodes
            .iter()
            .map(|node| cluster.pods_of(node).map_or("-".into(), |network| network.to_string()))
            .collect()
    }

    #[test]
    fn pods_have_the_network_that_follows_from_their_nodes_address() {
        assert_eq!(pods(SAMPLE), ["10.244.11.0/24", "10.244.12.0/24", "10.244.13.0/24"]);
        let few = edited("[network]", "[network]\npods = \"10.244.0.0/20\"");
        assert_eq!(pods(&few), ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]);
        let v6 = edited("[network]", "[network]\npods = \"fd00:10::/48\"\nservices = \"fd00:96::/112\"");
        assert_eq!(pods(&v6)[0], "fd00:10:0:b::/64");
        assert_eq!(
            pods(&v6.replacen("pods =", "pods-per-node-prefix = 60\npods =", 1))[0],
            "fd00:10:0:b0::/60"
        );
    }

    #[test]
    fn another_plugin_and_nodes_without_kubelets_have_none() {
        assert_eq!(pods(&edited("[network]", "[network]\nplugin = \"none\"")), ["-"; 3]);
        assert_eq!(pods(&format!("{SAMPLE}\n[overlays.control-plane]\nremove = [\"kubelet\"]\n")), ["-"; 3]);
    }

    #[test]
    fn flannel_is_on_every_node_and_applied_by_the_control_plane() {
        let flannel =
            |version: &str| edited("[network]", "[network]\nplugin = \"flannel\"").replace("1.20.2", version);
        let cluster = resolve(&read(&flannel("1.20.2"))).unwrap();
        let has = |role: Role, name: &str| cluster.overlays[&role].iter().any(|overlay| overlay == name);
        assert!(has(Role::ControlPlane, "flannel") && has(Role::ControlPlane, "flannel-node"));
        assert!(
            has(Role::Worker, "flannel-node")
                && !has(Role::Worker, "flannel")
                && !has(Role::Lb, "flannel-node")
        );
        assert_eq!(cluster.pods_of(&cluster.nodes[0]), None);
        let refused = "`\"flannel\"`: Kubernetes 1.8.15 does not support the API objects of this network \
            plugin (remove the setting, or use Kubernetes 1.9 or later)";
        assert_eq!(problems(&flannel("1.8.15")), [refused]);
    }
}
