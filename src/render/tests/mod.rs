//! Output of a build of the profile `ha`, compared with golden files and checked by independent programs.

mod axis;
mod etcd;
mod firewall;
mod golden;
mod images;
mod judges;
mod kubeadm;
mod mistakes;
mod nodes;
mod programs;
mod variants;
mod versions;

use std::path::Path;

use crate::cluster::{self, Cluster, Node};
use crate::host;
use crate::overlay::Overlays;
use crate::pki::{self, Options, Pki};
use crate::profile;
use crate::tree::{EntryKind, ImagePath, Tree};

/// The cluster file that `kiln init` writes, and a worker. Other tests cover the parts that make an image
/// bootable.
fn cluster() -> Cluster {
    resolved(&cluster_file())
}

fn cluster_file() -> String {
    let worker = "[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n";
    format!("{}\n{worker}", include_str!("../../../profiles/ha/cluster.toml"))
}

fn resolved(text: &str) -> Cluster {
    let mut cluster = cluster::resolve(&profile::tests::read(text)).unwrap();
    cluster.overlays.values_mut().for_each(|names| names.retain(|name| name != "image"));
    cluster
}

fn vault(cluster: &Cluster) -> Pki {
    let (_directory, vault) = pki::tests::vault(cluster, Options::default());
    vault.pki(cluster).unwrap()
}

/// Every node with its tree.
fn rendered_with(cluster: &Cluster, pki: &Pki) -> Vec<(Node, Tree)> {
    let overlays = Overlays::load(&[]).unwrap();
    cluster
        .nodes
        .iter()
        .map(|node| (node.clone(), super::node(cluster, node, pki, &overlays).unwrap()))
        .collect()
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
            EntryKind::File(content) => {
                host::fs::write_atomic(&target, &content.read().unwrap(), entry.mode).unwrap();
            }
            EntryKind::Symlink(to) => std::os::unix::fs::symlink(to, &target).unwrap(),
        }
    }
}
