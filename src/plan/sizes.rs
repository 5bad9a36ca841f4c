//! Minimum machine sizes for the number of nodes, as recommended by the upstream projects.
//!
//! etcd: <https://etcd.io/docs/v3.5/op-guide/hardware/>. The control plane: the sizes that kube-up chose,
//! from "Considerations for large clusters"
//! (<https://kubernetes.io/docs/setup/best-practices/cluster-large/>), which also documents the
//! limits of a cluster.

use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::words::Role;

/// Recommended size of one image's machines.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Size {
    pub(crate) image: String,
    pub(crate) cpus: u32,
    pub(crate) memory_gib: u32,
    /// True if pods need additional resources.
    pub(crate) plus_pods: bool,
}

/// Maximum number of nodes, and the processors and GiB of memory recommended for it.
type Row = (usize, [u32; 2]);

const ETCD: &[Row] = &[(50, [2, 8]), (250, [4, 16]), (1000, [8, 32]), (usize::MAX, [16, 64])];
const CONTROL_PLANE: &[Row] =
    &[(5, [1, 4]), (10, [2, 8]), (100, [4, 15]), (250, [8, 30]), (500, [16, 60]), (usize::MAX, [36, 60])];
/// Minimum for any machine of a cluster.
const MIN_SIZE: [u32; 2] = [4, 4];
/// Maximum number of nodes that Kubernetes is tested with.
const MAX_TESTED_NODES: usize = 5000;

/// Returns the size of each image's machines.
pub(super) fn sizes(cluster: &Cluster) -> Vec<Size> {
    cluster.images().into_iter().map(|(image, nodes)| size(cluster, image, nodes[0])).collect()
}

/// Checks whether the cluster has more nodes than Kubernetes is tested with.
pub(super) fn is_untested(cluster: &Cluster) -> bool {
    kubelets(cluster) > MAX_TESTED_NODES
}

fn size(cluster: &Cluster, image: String, node: &Node) -> Size {
    let nodes = kubelets(cluster);
    let is_member = cluster.etcd_members().iter().any(|member| member.name == node.name);
    let wanted = [(is_member, ETCD), (node.roles.contains(&Role::ControlPlane), CONTROL_PLANE)];
    let sum = wanted
        .into_iter()
        .filter(|(has, _)| *has)
        .map(|(_, table)| of(table, nodes))
        .fold([0, 0], |[cpus, memory], [more, also]| [cpus + more, memory + also]);
    let runs_pods = cluster.has_kubelet(node) && cluster.taints(node).is_empty();
    Size { image, cpus: sum[0].max(MIN_SIZE[0]), memory_gib: sum[1].max(MIN_SIZE[1]), plus_pods: runs_pods }
}

fn kubelets(cluster: &Cluster) -> usize {
    cluster.nodes.iter().filter(|node| cluster.has_kubelet(node)).count()
}

fn of(table: &[Row], nodes: usize) -> [u32; 2] {
    table.iter().find(|(most, _)| nodes <= *most).map_or(MIN_SIZE, |(_, size)| *size)
}
