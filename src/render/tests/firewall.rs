//! The firewall of every profile: nft(8) accepts it, and it opens exactly the ports in the matrix of `kiln
//! plan`.

use super::variants::every_node;
use super::{resolved, text};
use crate::host;
use crate::judge::{accepts, judge};
use crate::overlay::Overlays;
use crate::render;
use crate::tree::{ImagePath, Tree};
use crate::words::Role;

const FILE: &str = "/etc/nftables/kiln.nft";
/// The other table, of nodes with pods.
const PODS: &str = "/etc/nftables/pods.nft";

/// Loads a node's rules twice next to an unrelated table, in a separate network namespace, and lists the
/// resulting ruleset.
fn loaded(tree: &Tree, rules: &str) -> Option<String> {
    let (mut unshare, _) = (judge("unshare")?, judge("nft")?);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kiln.nft");
    host::fs::write_atomic(&file, text(tree, rules).as_bytes(), 0o644).unwrap();
    let script = "nft add table ip nat && nft --check --file \"$0\" && nft --file \"$0\" && nft --file \
        \"$0\" && nft --stateless list ruleset";
    Some(accepts(unshare.args(["--user", "--map-root-user", "--net", "sh", "-c", script]).arg(&file)))
}

#[test]
fn nft_accepts_the_firewall_of_every_node_and_other_tables_outlive_it() {
    for (variant, _, node, tree) in every_node() {
        let Some(ruleset) = loaded(&tree, FILE) else { return };
        assert!(ruleset.starts_with("table ip nat {\n}\n"), "{variant} {}: {ruleset}", node.name);
        assert_eq!(ruleset.matches("table ").count(), 2, "{variant} {}: {ruleset}", node.name);
        assert_eq!(ruleset.matches("policy drop").count(), 1, "{variant} {}: {ruleset}", node.name);
    }
}

#[test]
fn pods_keep_their_address_among_pods_and_get_their_nodes_elsewhere() {
    let has_pods = |tree: &Tree| tree.get(&ImagePath::new(PODS).unwrap()).is_some();
    for (variant, _, node, tree) in every_node().into_iter().filter(|(_, _, _, tree)| has_pods(tree)) {
        let Some(ruleset) = loaded(&tree, PODS) else { return };
        let rule = format!(
            "ip saddr 10.244.{}.0/24 ip daddr != 10.244.0.0/16 masquerade",
            node.address.to_string().rsplit('.').next().unwrap()
        );
        assert_eq!(ruleset.matches(&rule).count(), 1, "{variant} {}: {ruleset}", node.name);
    }
}

#[test]
fn the_firewall_opens_the_matrix_and_nothing_else() {
    let overlays = Overlays::load(&[]).unwrap();
    for (variant, cluster, node, tree) in every_node() {
        let rules = text(&tree, FILE);
        let opened =
            rules.lines().filter(|line| line.contains("dport") || line.contains("meta l4proto")).count();
        let listeners =
            render::listeners(&cluster, &render::overlays_of(&cluster, &node, &overlays).unwrap());
        let open: Vec<_> = listeners
            .iter()
            .filter(|listener| listener.from != [crate::overlay::Dialler::Loopback])
            .collect();
        let statements = open.iter().map(|listener| {
            let everybody = listener.from.contains(&crate::overlay::Dialler::Clients);
            if everybody { 1 } else { listener.from.len() }
        });
        assert_eq!(opened, statements.sum::<usize>(), "{variant} {}: {rules}", node.name);
        for listener in open {
            assert!(
                rules.contains(&format!("# {}\n", listener.what)),
                "{variant} {}: {} is closed",
                node.name,
                listener.what
            );
        }
        let etcd = rules.contains("dport 2380");
        assert_eq!(
            etcd,
            cluster.etcd_members().iter().any(|member| member.name == node.name),
            "{variant} {}",
            node.name
        );
        assert_eq!(
            rules.contains("dport 10250"),
            !node.roles.iter().all(|role| [Role::Etcd, Role::Lb].contains(role))
        );
    }
}

#[test]
fn addresses_of_both_families_have_sets_of_their_own() {
    let text_of_cluster = include_str!("../../../profiles/ha/cluster.toml").replace(
        "address = \"10.0.0.12\"",
        "address = \"10.0.0.12\"\nextra-addresses = [\"192.168.7.12\", \"fd00::12\"]",
    );
    let tree = super::first(&resolved(&text_of_cluster));
    let rules = text(&tree, FILE);
    assert!(
        rules.contains(
            "set etcd-ipv6 {\n        type ipv6_addr\n        flags interval\n        elements = { fd00::12 }"
        ),
        "{rules}"
    );
    assert!(rules.contains("elements = { 10.0.0.11, 10.0.0.12, 10.0.0.13, 192.168.7.12 }"), "{rules}");
    assert!(rules.contains("        ip6 saddr @etcd-ipv6 tcp dport 2380 accept\n"), "{rules}");
    loaded(&tree, FILE);
}

#[test]
fn a_node_whose_cluster_file_removes_the_firewall_has_none() {
    let text = format!(
        "{}\n[overlays.control-plane]\nremove = [\"firewall\"]\n",
        include_str!("../../../profiles/ha/cluster.toml")
    );
    let tree = super::first(&resolved(&text));
    assert!(tree.get(&ImagePath::new(FILE).unwrap()).is_none() && !tree.dump().contains("kiln-firewall"));
}
