//! What a build of the profile `ha` writes, kept as golden files, and what independent programs say about it.

mod golden;
mod judges;

use std::collections::BTreeMap;
use std::path::Path;

use crate::cluster::{Cluster, Node, Role};
use crate::host;
use crate::overlay::Overlays;
use crate::pki::{self, Options, Pki};
use crate::tree::{EntryKind, ImagePath, Tree};

const CONTROL_PLANE: [&str; 12] = [
    "base",
    "node-prep",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "haproxy",
    "keepalived",
    "rbac",
];
const WORKER: [&str; 5] = ["base", "node-prep", "containerd", "kubelet", "kube-proxy"];

/// Three control-plane nodes behind a VIP, and a worker.
fn cluster() -> Cluster {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut cluster = pki::tests::sample();
    cluster.overlays = BTreeMap::from([(Role::ControlPlane, owned(&CONTROL_PLANE)), (Role::Worker, owned(&WORKER))]);
    for (node, priority) in cluster.nodes.iter_mut().zip((1..=254).rev()) {
        node.priority = priority;
    }
    cluster
}

fn vault(cluster: &Cluster) -> Pki {
    let (_directory, vault) = pki::tests::vault(cluster, Options::default());
    vault.pki(cluster).unwrap()
}

/// Every node with its tree.
fn rendered_with(cluster: &Cluster, pki: &Pki) -> Vec<(Node, Tree)> {
    let overlays = Overlays::load(&[]).unwrap();
    cluster.nodes.iter().map(|node| (node.clone(), super::node(cluster, node, pki, &overlays).unwrap())).collect()
}

/// The first control-plane node's tree.
fn first(cluster: &Cluster) -> Tree {
    rendered_with(cluster, &vault(cluster)).swap_remove(0).1
}

fn text(tree: &Tree, path: &str) -> String {
    let entry = tree.get(&ImagePath::new(path).unwrap()).unwrap_or_else(|| panic!("no {path}"));
    let EntryKind::File(content) = &entry.kind else { panic!("{path} is no file") };
    String::from_utf8(content.read().unwrap()).unwrap()
}

/// Writes the files of a tree below `root`, as a judge needs them.
fn unpack(tree: &Tree, root: &Path) {
    for (path, entry) in tree.iter() {
        let target = root.join(path.relative());
        match &entry.kind {
            EntryKind::Directory => host::fs::create_directories(&target).unwrap(),
            EntryKind::File(content) => host::fs::write_atomic(&target, &content.read().unwrap(), entry.mode).unwrap(),
            EntryKind::Symlink(to) => std::os::unix::fs::symlink(to, &target).unwrap(),
        }
    }
}
