//! Golden files: the dump of every node's tree, and the text of every file that is not secret.
//!
//! Certificates differ with every vault, so their lines show no digest; the vault's identifier is
//! `CLUSTER-ID`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{cluster, rendered_with, vault};
use crate::cluster::Node;
use crate::overlay::Overlays;
use crate::pki::Pki;
use crate::render;
use crate::tree::{Entry, EntryKind, Tree};

/// Returns the tree without the random values of a vault.
pub(super) fn settled(tree: &Tree, pki: &Pki, machine_id: &str) -> Tree {
    let mut settled = Tree::new();
    for (path, entry) in tree.iter() {
        let mut entry = entry.clone();
        if let EntryKind::File(content) = &entry.kind {
            let text = String::from_utf8(content.read().unwrap()).unwrap();
            let text = text.replace(pki.cluster_id(), "CLUSTER-ID").replace(machine_id, "MACHINE-ID");
            let bytes = if &*entry.origin == "pki" { Vec::new() } else { text.into_bytes() };
            entry.kind = Entry::file(bytes, entry.mode, &Arc::clone(&entry.origin)).kind;
        }
        settled.insert(path.clone(), entry);
    }
    settled
}

/// Returns the text of every file that is neither secret nor a certificate, each below its path.
pub(super) fn texts(tree: &Tree) -> String {
    let mut out = String::new();
    for (path, entry) in tree.iter().filter(|(_, entry)| !entry.secret && &*entry.origin != "pki") {
        if let EntryKind::File(content) = &entry.kind {
            let _ = write!(out, "=== {path}\n{}", String::from_utf8(content.read().unwrap()).unwrap());
        }
    }
    out
}

/// Compares `text` with the file `name` of a directory of golden files.
pub(super) fn golden(directory: &str, name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => format!("../../../tests/golden/{directory}"), prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

pub(super) fn machine_id(tree: &Tree) -> String {
    super::text(tree, "/etc/machine-id").trim().to_owned()
}

#[test]
fn every_node_gets_exactly_the_golden_tree() {
    let cluster = cluster();
    let pki = vault(&cluster);
    for (Node { name, .. }, tree) in rendered_with(&cluster, &pki) {
        let tree = settled(&tree, &pki, &machine_id(&tree));
        golden("ha", &format!("{name}.dump"), &tree.dump());
        // The other control-plane nodes differ in names and addresses only; their dumps show that.
        if name == "m1" || name == "w1" {
            golden("ha", &format!("{name}.files"), &texts(&tree));
        }
    }
}

#[test]
fn a_role_image_holds_nothing_of_a_node() {
    let (cluster, overlays) = (cluster(), Overlays::load(&[]).unwrap());
    let tree = render::role(&cluster, "control-plane", &overlays).unwrap();
    golden("ha", "control-plane.dump", &tree.dump());
    for (path, entry) in tree.iter() {
        assert!(!path.is_under("/etc") && !entry.secret, "{path}");
    }
    for node in &cluster.nodes {
        assert!(!texts(&tree).contains(&node.address.to_string()), "{} is in the image", node.address);
    }
    golden(
        "ha",
        "control-plane.requirements",
        &format!("{:#?}\n", render::requirements(&cluster, "control-plane", &overlays).unwrap()),
    );
}

#[test]
fn rendering_twice_gives_the_same_tree() {
    let cluster = cluster();
    let pki = vault(&cluster);
    for ((node, first), (_, second)) in
        rendered_with(&cluster, &pki).into_iter().zip(rendered_with(&cluster, &pki))
    {
        assert_eq!(first.digest(), second.digest(), "{}", node.name);
    }
}

#[test]
fn no_node_holds_the_key_of_an_authority() {
    let cluster = cluster();
    for (node, tree) in rendered_with(&cluster, &vault(&cluster)) {
        let keys: Vec<_> = tree.iter().filter(|(path, _)| path.as_str().ends_with("ca.key")).collect();
        assert!(keys.is_empty(), "{}: {keys:?}", node.name);
        for (path, entry) in tree
            .iter()
            .filter(|(path, _)| path.as_str().ends_with(".key") || path.as_str().ends_with(".conf"))
        {
            let private = path.is_under("/etc/kubernetes")
                && (path.as_str().ends_with(".key") || path.parent().unwrap().as_str() == "/etc/kubernetes");
            assert!(
                !private || (entry.secret && entry.mode & 0o137 == 0),
                "{path} has mode {:04o}",
                entry.mode
            );
        }
    }
}

#[test]
fn an_external_balancer_leaves_ours_out_and_frees_the_port_of_the_api_server() {
    let text = include_str!("../../../profiles/ha/cluster.toml");
    let cluster = super::resolved(&text.replace(
        "vip = \"10.0.0.10\"",
        "names = [\"api.example.org\"]\nbalancer = \"external\"\nport = 6443",
    ));
    let tree = super::first(&cluster);
    assert!(!tree.dump().contains("haproxy") && !tree.dump().contains("keepalived"), "{}", tree.dump());
    assert!(
        super::text(&tree, "/etc/systemd/system/kube-apiserver.service").contains("--bind-address=0.0.0.0")
    );
}

#[test]
fn dedicated_members_and_balancers_take_their_components_from_the_control_plane() {
    let node = |name: &str, role: &str, last: u8| {
        format!("[[nodes]]\nname = \"{name}\"\nroles = [\"{role}\"]\naddress = \"10.0.0.{last}\"\n")
    };
    let others =
        [("e1", "etcd", 31), ("e2", "etcd", 32), ("e3", "etcd", 33), ("l1", "lb", 41), ("l2", "lb", 42)];
    let others: String = others.into_iter().map(|(name, role, last)| node(name, role, last)).collect();
    let cluster =
        super::resolved(&format!("{}\n{others}", include_str!("../../../profiles/ha/cluster.toml")));
    let units = |tree: &Tree| {
        let units = ["etcd", "kube-apiserver", "haproxy", "keepalived"].into_iter();
        units
            .filter(|unit| tree.dump().contains(&format!("/etc/systemd/system/{unit}.service [")))
            .collect::<Vec<_>>()
    };
    for (node, tree) in rendered_with(&cluster, &vault(&cluster)) {
        let expected: &[&str] = match node.name.as_bytes()[0] {
            b'e' => &["etcd"],
            b'l' => &["haproxy", "keepalived"],
            _ => &["kube-apiserver"],
        };
        assert_eq!(units(&tree), expected, "{}", node.name);
        if node.name == "l1" {
            let keepalived = super::text(&tree, "/etc/keepalived/keepalived.conf");
            assert!(keepalived.contains("unicast_peer {\n        10.0.0.42\n    }"), "{keepalived}");
        }
    }
}
