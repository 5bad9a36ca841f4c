//! The real kubeadm of 1.20.2 accepts the profile `kubeadm`: its configuration, the vault's certificates as
//! an external CA, and static pods that the real programs can read.

use std::collections::BTreeSet;

use super::judges::Root;
use super::programs::kubernetes;
use super::{rendered_with, resolved, vault};
use crate::cluster::{Cluster, Node};
use crate::host;
use crate::judge::{accepts, judge};
use crate::tree::Tree;
use crate::words::KubernetesVersion;

const FILE: &str = include_str!("../../../profiles/kubeadm/cluster.toml");

fn cluster() -> Cluster {
    resolved(FILE)
}

/// Returns the second control-plane node, whose files differ from the first node's.
fn second(cluster: &Cluster) -> (Node, Tree) {
    rendered_with(cluster, &vault(cluster)).swap_remove(1)
}

/// Returns a kubeadm command that sees a node's files as the root filesystem.
fn kubeadm(root: &Root, arguments: &[&str]) -> Option<std::process::Command> {
    let (kubeadm, mut unshare) = (kubernetes("kubeadm")?, judge("unshare")?);
    unshare.args(["--user", "--map-root-user"]).arg(kubeadm.get_program());
    unshare.arg("--rootfs").arg(root.path("/")).args(arguments);
    Some(unshare)
}

/// Returns the arguments of the commands that a unit runs, in order.
fn phases(root: &Root, unit: &str) -> Vec<Vec<String>> {
    let text = host::fs::read_to_string(&root.path(unit)).unwrap();
    let commands = text.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/kubeadm "));
    commands.map(|command| command.split(' ').map(str::to_owned).collect()).collect()
}

/// Runs the commands that the node runs at each boot; returns kubeadm's output.
fn boot(root: &Root) -> Option<String> {
    let mut said = String::new();
    for phase in phases(root, "/etc/systemd/system/kiln-kubeadm.service") {
        said += &accepts(&mut kubeadm(root, &phase.iter().map(String::as_str).collect::<Vec<_>>())?);
    }
    Some(said)
}

#[test]
fn kubeadm_takes_the_certificates_of_the_vault_and_makes_none() {
    let cluster = cluster();
    let (node, tree) = second(&cluster);
    let root = Root::of_node(&cluster, &node, &tree);
    let files = || -> BTreeSet<_> {
        let all = ["/etc/kubernetes", "/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd"];
        all.iter().flat_map(|directory| host::fs::list(&root.path(directory)).unwrap()).collect()
    };
    let before = files();
    let Some(said) = boot(&root) else { return };
    let one = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(
        (one("Using existing "), one("External CA mode: Using user provided "), one("External etcd mode: ")),
        (6, 4, 5),
        "{said}"
    );
    assert!(
        !["Generating", "unexpected API Server URL", "expired"].iter().any(|word| said.contains(word)),
        "{said}"
    );
    assert_eq!(files(), before);
    let pods: Vec<_> = host::fs::list(&root.path("/etc/kubernetes/manifests")).unwrap();
    assert_eq!(pods.len(), 3, "{pods:?}");
    assert_eq!(boot(&root).unwrap().lines().filter(|line| line.contains("Generating")).count(), 0);
}

#[test]
fn kubeadm_refuses_a_node_that_lacks_one_of_them() {
    let cluster = cluster();
    let (node, tree) = second(&cluster);
    for missing in [
        "/etc/kubernetes/pki/apiserver.key",
        "/etc/kubernetes/pki/front-proxy-client.crt",
        "/etc/kubernetes/scheduler.conf",
    ] {
        let root = Root::of_node(&cluster, &node, &tree);
        std::fs::remove_file(root.path(missing)).unwrap();
        let Some(mut first) =
            kubeadm(&root, &["init", "phase", "certs", "all", "--config=/etc/kubernetes/kubeadm/init.yaml"])
        else {
            return;
        };
        let output = first.output().unwrap();
        assert!(!output.status.success(), "without {missing}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_static_pods_start_programs_that_read_all_their_arguments() {
    let cluster = cluster();
    let (node, tree) = second(&cluster);
    let root = Root::of_node(&cluster, &node, &tree);
    if boot(&root).is_none() {
        return;
    }
    for program in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let pod = host::fs::read_to_string(&root.path(&format!("/etc/kubernetes/manifests/{program}.yaml")))
            .unwrap();
        assert!(pod.contains(&format!("image: k8s.gcr.io/{program}:v1.20.2")), "{pod}");
        let arguments: Vec<&str> = pod.lines().filter_map(|line| line.trim().strip_prefix("- --")).collect();
        assert!(
            arguments.len() > 10
                && arguments
                    .iter()
                    .any(|argument| argument.ends_with("10.0.0.12") || program != "kube-apiserver"),
            "{pod}"
        );
        for file in arguments
            .iter()
            .filter_map(|argument| argument.split_once("=/etc/kubernetes/"))
            .map(|(_, file)| file)
        {
            let path = format!("/etc/kubernetes/{file}");
            let mounted = pod
                .lines()
                .filter_map(|line| line.trim().strip_prefix("path: "))
                .any(|mount| path.starts_with(mount));
            assert!(mounted && root.path(&path).exists(), "{program} does not see {path}:\n{pod}");
        }
        let mut real = kubernetes(program).unwrap();
        let said =
            accepts(real.args(arguments.iter().map(|argument| format!("--{argument}"))).arg("--version"));
        assert!(said.lines().any(|line| line == "Kubernetes v1.20.2"), "{program}: {said}");
    }
}

#[test]
fn kubeadm_names_the_images_that_the_nodes_need() {
    let file = FILE.replace("# image-repository", "image-repository");
    let own = format!("{FILE}\n[cluster.images]\ncoredns = \"k8s.gcr.io/ours/coredns:9\"\n");
    for (file, registry, dns) in [
        (FILE, "k8s.gcr.io", "/coredns:1.7.0"),
        (&file, "registry.example.org/kubernetes", "/coredns:1.7.0"),
        (&own, "k8s.gcr.io", "/ours/coredns:9"),
    ] {
        let cluster = resolved(file);
        let (node, tree) = second(&cluster);
        let root = Root::of_node(&cluster, &node, &tree);
        let arguments = ["config", "images", "list", "--config=/etc/kubernetes/kubeadm/init.yaml"];
        let Some(mut list) = kubeadm(&root, &arguments) else { return };
        let images: Vec<String> = accepts(&mut list)
            .lines()
            .filter_map(|line| line.strip_prefix(registry).map(str::to_owned))
            .collect();
        let expected = [
            "/kube-apiserver:v1.20.2",
            "/kube-controller-manager:v1.20.2",
            "/kube-scheduler:v1.20.2",
            "/kube-proxy:v1.20.2",
        ];
        assert_eq!(images, [&expected[..], &["/pause:3.2", dns]].concat());
        let containerd = super::text(&tree, "/etc/containerd/config.toml");
        assert!(containerd.contains(&format!("sandbox_image = \"{registry}/pause:3.2\"")), "{containerd}");
    }
}

/// Migration reads the old version strictly and writes it in the newest version that the program knows:
/// nothing is lost.
#[test]
fn kubeadm_reads_the_configuration_of_a_node_that_joins() {
    let cluster = cluster();
    let (node, tree) = second(&cluster);
    let root = Root::of_node(&cluster, &node, &tree);
    let arguments = ["config", "migrate", "--old-config=/etc/kubernetes/kubeadm/join.yaml"];
    let Some(mut migrate) = kubeadm(&root, &arguments) else { return };
    insta::assert_snapshot!(accepts(&mut migrate));
}

#[test]
fn what_nodes_record_of_the_cluster_is_the_same_on_each() {
    let cluster = cluster();
    let texts: Vec<String> = rendered_with(&cluster, &vault(&cluster))
        .iter()
        .take(3)
        .map(|(_, tree)| {
            super::text(tree, "/etc/kubernetes/kubeadm/init.yaml").split_once("---\n").unwrap().1.to_owned()
        })
        .collect();
    assert!(texts[0].contains("kind: ClusterConfiguration") && texts.iter().all(|text| *text == texts[0]));
}

#[test]
fn versions_without_phases_get_no_configuration_and_later_ones_theirs() {
    for (minor, expected) in [
        (12, None),
        (13, Some("v1beta1")),
        (20, Some("v1beta2")),
        (30, Some("v1beta3")),
        (36, Some("v1beta4")),
    ] {
        let mut cluster = cluster();
        cluster.kubernetes = KubernetesVersion { major: 1, minor, patch: 0 };
        let (node, tree) = second(&cluster);
        for file in ["init", "join"] {
            let path = format!("/etc/kubernetes/kubeadm/{file}.yaml");
            let there = tree.get(&crate::tree::ImagePath::new(&path).unwrap()).is_some();
            assert_eq!(there, expected.is_some(), "1.{minor}: {path} of {}", node.name);
            if let Some(version) = expected {
                assert!(
                    super::text(&tree, &path).contains(&format!("apiVersion: kubeadm.k8s.io/{version}\n")),
                    "1.{minor}"
                );
            }
        }
    }
}
