//! Machines that register as Kubernetes nodes, with their labels and taints.

use super::{first, rendered_with, resolved, text, vault};
use crate::tree::{ImagePath, Tree};

const HA: &str = include_str!("../../../profiles/ha/cluster.toml");

fn with_worker(settings: &str) -> String {
    format!("{HA}\n[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n{settings}\n")
}

fn has(tree: &Tree, path: &str) -> bool {
    tree.get(&ImagePath::new(path).unwrap()).is_some()
}

#[test]
fn reserved_labels_of_every_node_are_given_by_the_control_plane() {
    let text_of_cluster = with_worker("labels = { \"node-role.kubernetes.io/db\" = \"yes\", rack = \"r1\" }");
    let tree = first(&resolved(&text_of_cluster));
    let master = "node-role.kubernetes.io/control-plane= node-role.kubernetes.io/master=";
    let masters =
        ["m1", "m2", "m3"].map(|name| format!("{name} 10.244.1{}.0/24 {master}\n", &name[1..])).concat();
    let expected = format!("{masters}w1 10.244.21.0/24 node-role.kubernetes.io/db=yes\n");
    assert_eq!(text(&tree, "/etc/kubernetes/nodes"), expected);
}

#[test]
fn a_control_plane_without_kubelets_names_none_of_its_own_nodes() {
    let without = "\n[overlays.control-plane]\nremove = [\"kubelet\", \"containerd\", \"kube-proxy\"]\n";
    let cluster = resolved(&with_worker(without));
    for (node, tree) in rendered_with(&cluster, &vault(&cluster)) {
        let worker = node.name == "w1";
        for path in [
            "/etc/kubernetes/kubelet.conf",
            "/etc/systemd/system/kubelet.service",
            "/etc/containerd/config.toml",
        ] {
            assert_eq!(has(&tree, path), worker, "{path} of {}", node.name);
        }
        if !worker {
            assert_eq!(text(&tree, "/etc/kubernetes/nodes"), "w1 10.244.21.0/24\n", "{}", node.name);
            let routes = text(&tree, "/etc/systemd/network/10-node.network.d/pods.conf");
            assert!(
                routes.ends_with("[Route]\nDestination=10.244.21.0/24\nGateway=10.0.0.21\n\n"),
                "{routes}"
            );
        }
    }
}
