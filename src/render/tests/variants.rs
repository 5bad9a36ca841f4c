//! Every profile and every kind of balancer: golden files of each image's first node, and independent checks
//! of the balancers' configuration.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::judges::Root;
use super::{rendered_with, resolved, text, vault};
use crate::cluster::{Cluster, Node};
use crate::host;
use crate::judge::{accepts, judge};
use crate::render::tests::golden::{golden, machine_id, settled, texts};
use crate::tree::{ImagePath, Tree};
use crate::words::{Role, Runtime};

/// A profile's starting file with one change.
struct Variant {
    name: &'static str,
    file: &'static str,
    change: (&'static str, &'static str),
}

const HA: &str = include_str!("../../../profiles/ha/cluster.toml");
const EXTERNAL_LB: &str = include_str!("../../../profiles/external-lb/cluster.toml");
const EXTERNAL_ENDPOINT: &str = include_str!("../../../profiles/external-endpoint/cluster.toml");
const TWO_MASTERS: &str = include_str!("../../../profiles/two-masters/cluster.toml");
const KUBEADM: &str = include_str!("../../../profiles/kubeadm/cluster.toml");
const STATIC_PODS: &str = include_str!("../../../profiles/ha-static-pods/cluster.toml");
const KUBE_VIP: &str = include_str!("../../../profiles/kube-vip/cluster.toml");
/// An older kube-vip that announces the VIP to routers.
const BGP: (&str, &str) = (
    "# The image tag",
    "[endpoint.images]
kube-vip = \"ghcr.io/kube-vip/kube-vip:v0.8.10\"
[endpoint.bgp]
local-as = 64512
peers = [\"10.0.0.1:64513\", \"10.0.0.2:64513\"]
multihop = true
# The image tag",
);
const NODE_LOCAL: &str = include_str!("../../../profiles/node-local-lb/cluster.toml");
/// Docker instead of containerd.
const DOCKER: (&str, &str) = ("[cluster]", "[cluster]\nruntime = \"docker\"");
/// A change that changes nothing.
const NONE: (&str, &str) = ("[cluster]", "[cluster]");
/// Three machines that are only etcd members, inserted after the other nodes.
const ETCD: (&str, &str) = (
    "# Keys and certificates;",
    "[[nodes]]
name = \"e1\"
roles = [\"etcd\"]
address = \"10.0.0.31\"

[[nodes]]
name = \"e2\"
roles = [\"etcd\"]
address = \"10.0.0.32\"

[[nodes]]
name = \"e3\"
roles = [\"etcd\"]
address = \"10.0.0.33\"

# Keys and certificates;",
);

static VARIANTS: &[Variant] = &[
    Variant {
        name: "ha-nginx",
        file: HA,
        change: (
            "vip = ",
            "balancer = \"nginx\"
vip = ",
        ),
    },
    Variant {
        name: "ha-coredns",
        file: HA,
        change: (
            "[endpoint]",
            "[overlays.control-plane]
add = [\"coredns\"]

[endpoint]",
        ),
    },
    Variant {
        name: "external-lb-flannel",
        file: EXTERNAL_LB,
        change: ("[network]", "[network]\nplugin = \"flannel\""),
    },
    Variant { name: "ha-docker", file: HA, change: DOCKER },
    Variant { name: "kubeadm-docker", file: KUBEADM, change: DOCKER },
    Variant { name: "ha-ipvs", file: HA, change: ("[network]", "[network]\nproxy-mode = \"ipvs\"") },
    Variant { name: "external-lb", file: EXTERNAL_LB, change: NONE },
    Variant { name: "external-lb-etcd", file: EXTERNAL_LB, change: ETCD },
    Variant {
        name: "external-lb-nginx",
        file: EXTERNAL_LB,
        change: ("# balancer = \"haproxy\"", "balancer = \"nginx\""),
    },
    Variant { name: "external-endpoint", file: EXTERNAL_ENDPOINT, change: NONE },
    Variant { name: "two-masters", file: TWO_MASTERS, change: NONE },
    Variant {
        name: "two-masters-haproxy",
        file: TWO_MASTERS,
        change: ("# balancer = \"keepalived\"", "balancer = \"haproxy\""),
    },
    Variant { name: "kubeadm", file: KUBEADM, change: NONE },
    Variant { name: "ha-static-pods", file: STATIC_PODS, change: NONE },
    Variant {
        name: "node-local-static-pods",
        file: NODE_LOCAL,
        change: ("# balancer = \"node-local\"", "run = \"static-pod\""),
    },
    Variant { name: "kube-vip", file: KUBE_VIP, change: NONE },
    Variant { name: "kube-vip-bgp", file: KUBE_VIP, change: BGP },
    Variant { name: "node-local-lb", file: NODE_LOCAL, change: NONE },
    Variant {
        name: "node-local-lb-ipvs",
        file: NODE_LOCAL,
        change: ("# balancer = \"node-local\"", "balancer = \"node-local-ipvs\"\nvip = \"169.254.64.43\""),
    },
    Variant {
        name: "ha-nginx-static-pods",
        file: STATIC_PODS,
        change: ("vip = ", "balancer = \"nginx\"\nvip = "),
    },
    Variant {
        name: "ha-keepalived-static-pods",
        file: STATIC_PODS,
        change: ("vip = ", "balancer = \"keepalived\"\nvip = "),
    },
    Variant {
        name: "node-local-nginx-static-pods",
        file: NODE_LOCAL,
        change: ("# balancer = \"node-local\"", "balancer = \"node-local-nginx\"\nrun = \"static-pod\""),
    },
    Variant {
        name: "node-local-lb-nginx",
        file: NODE_LOCAL,
        change: ("# balancer = \"node-local\"", "balancer = \"node-local-nginx\""),
    },
];

impl Variant {
    fn cluster(&self) -> Cluster {
        let (from, to) = self.change;
        assert!(self.file.contains(from), "{} has no {from:?}", self.name);
        resolved(&self.file.replacen(from, to, 1))
    }
}

/// The first node of each image, with its tree.
fn first_of_images(cluster: &Cluster, nodes: Vec<(Node, Tree)>) -> Vec<(Node, Tree)> {
    let images = cluster.images();
    nodes.into_iter().filter(|(node, _)| images[&node.image()][0].name == node.name).collect()
}

/// The first node of each image of every variant.
pub(super) fn every_node() -> Vec<(&'static str, Cluster, Node, Tree)> {
    let of_variant = |variant: &Variant| {
        let (name, cluster) = (variant.name, variant.cluster());
        let nodes = first_of_images(&cluster, rendered_with(&cluster, &vault(&cluster)));
        nodes.into_iter().map(move |(node, tree)| (name, cluster.clone(), node, tree)).collect::<Vec<_>>()
    };
    VARIANTS.iter().flat_map(of_variant).collect()
}

/// Returns the part of a tree that comes from the balancer's overlays.
pub(super) fn of_balancer(cluster: &Cluster, tree: &Tree) -> Tree {
    of_overlays(tree, cluster.endpoint.balancer.overlays(cluster.endpoint.run))
}

/// Returns the part of a tree that comes from some overlays.
fn of_overlays(tree: &Tree, overlays: &[&str]) -> Tree {
    let mut part = Tree::new();
    for (path, entry) in tree.iter().filter(|(_, entry)| overlays.contains(&&*entry.origin)) {
        part.insert(path.clone(), entry.clone());
    }
    part
}

fn text_of(tree: &Tree, path: &str) -> Option<String> {
    tree.get(&ImagePath::new(path).unwrap()).map(|_| text(tree, path))
}

#[test]
fn every_variant_gets_exactly_the_golden_tree() {
    for variant in VARIANTS {
        let cluster = variant.cluster();
        let pki = vault(&cluster);
        for (node, tree) in first_of_images(&cluster, rendered_with(&cluster, &pki)) {
            let tree = settled(&tree, &pki, &machine_id(&tree));
            golden(variant.name, &format!("{}.dump", node.name), &tree.dump());
            for addon in ["coredns", "flannel"] {
                if let Some(manifest) = text_of(&tree, &format!("/etc/kubernetes/bootstrap/20-{addon}.yaml"))
                {
                    golden(variant.name, &format!("{}.{addon}", node.name), &manifest);
                }
            }
            let docker = texts(&of_overlays(&tree, &["docker", "kubelet", "kubeadm"]));
            if cluster.runtime == Runtime::Docker {
                golden(variant.name, &format!("{}.docker", node.name), &docker);
            }
            let balancer = texts(&of_balancer(&cluster, &tree));
            if !balancer.is_empty() {
                golden(variant.name, &format!("{}.balancer", node.name), &balancer);
            }
        }
    }
}

#[test]
fn every_balancer_accepts_its_configuration_without_a_warning() {
    for variant in VARIANTS {
        let cluster = variant.cluster();
        for (node, tree) in first_of_images(&cluster, rendered_with(&cluster, &vault(&cluster))) {
            judge_balancers(&cluster, &node, &tree).assert_units_are_sound();
        }
    }
}

/// Lets every balancer of a node read its configuration.
pub(super) fn judge_balancers(cluster: &Cluster, node: &Node, tree: &Tree) -> Root {
    let root = Root::of_node(cluster, node, tree);
    let network =
        Network { address: node.address.to_string(), vip: cluster.endpoint.vip.map(|vip| vip.to_string()) };
    for (file, judge_it) in [
        ("/etc/haproxy/haproxy.cfg", haproxy as fn(&Root, &Network)),
        ("/etc/nginx/nginx.conf", nginx),
        ("/etc/keepalived/keepalived.conf", keepalived),
    ] {
        if tree.get(&ImagePath::new(file).unwrap()).is_some() {
            judge_it(&root, &network);
        }
    }
    root
}

/// Returns the host of a kubeconfig's server, without the port.
fn server(kubeconfig: &str) -> String {
    let url = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: \"https://")).unwrap();
    url.rsplit_once(':').unwrap().0.to_owned()
}

#[test]
fn whatever_a_kubeconfig_dials_is_in_the_certificate_of_every_api_server() {
    for variant in VARIANTS {
        let cluster = variant.cluster();
        let pki = vault(&cluster);
        let nodes = rendered_with(&cluster, &pki);
        let kubelets = nodes
            .iter()
            .filter(|(_, tree)| tree.get(&ImagePath::new("/etc/kubernetes/kubelet.conf").unwrap()).is_some());
        let mut dialled: BTreeSet<String> =
            kubelets.map(|(_, tree)| server(&text(tree, "/etc/kubernetes/kubelet.conf"))).collect();
        assert_eq!(dialled.len(), 1, "{}: kubelets dial {dialled:?}", variant.name);
        dialled.insert(server(&pki.admin_kubeconfig().unwrap()));
        for (node, tree) in nodes.iter().filter(|(node, _)| node.roles.contains(&Role::ControlPlane)) {
            let root = Root::of_node(&cluster, node, tree);
            for host in &dialled {
                let Some(mut openssl) = judge("openssl") else { return };
                let option = if host.parse::<IpAddr>().is_ok() { "-checkip" } else { "-checkhost" };
                let command = openssl
                    .args(["x509", "-noout", option, host, "-in"])
                    .arg(root.path("/etc/kubernetes/pki/apiserver.crt"));
                let said = accepts(command);
                assert!(said.contains("does match certificate"), "{} {}: {said}", variant.name, node.name);
            }
        }
    }
}

/// Addresses that a balancer binds to, in a separate network namespace.
pub(super) struct Network {
    pub(super) address: String,
    pub(super) vip: Option<String>,
}

impl Network {
    /// Runs a program with a file where the node's addresses exist; returns the program's output.
    fn run(&self, program: &std::process::Command, arguments: &[&str], file: &Path) -> Option<String> {
        let (mut unshare, _) = (judge("unshare")?, judge("ip")?);
        let script = "ip link set lo up && ip link add lan0 type bridge && ip link set lan0 up && \
                      for address in $0; do case $address in
                        *:*) ip address add \"$address/64\" dev lan0 nodad ;;
                        *) ip address add \"$address/24\" dev lan0 ;;
                      esac; done && exec \"$@\"";
        let addresses = [Some(&self.address), self.vip.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        let inside = unshare.args(["--user", "--map-root-user", "--net", "sh", "-c", script, &addresses]);
        Some(accepts(inside.arg(program.get_program()).args(arguments).arg(file)))
    }
}

pub(super) fn haproxy(root: &Root, network: &Network) {
    let Some(haproxy) = judge("haproxy") else { return };
    let file = root.rewritten("/etc/haproxy/haproxy.cfg", &["/etc/kubernetes", "/etc/haproxy/sessions.lua"]);
    let said = network.run(&haproxy, &["-c", "-f"], &file).unwrap_or_default();
    assert!(!said.contains("WARNING"), "{said}");
}

fn nginx(root: &Root, network: &Network) {
    let Some(nginx) = judge("nginx") else { return };
    host::fs::create_directories(&root.path("/run/nginx")).unwrap();
    let file = root
        .rewritten("/etc/nginx/nginx.conf", &["/etc/kubernetes", "/etc/nginx/modules-enabled", "/run/nginx"]);
    // In the network namespace the only user is root.
    let mut globals = "user root root;".to_owned();
    // In a container image the module is nginx's own; here it is a Debian file.
    if !root.path("/etc/nginx/modules-enabled/50-mod-stream.conf").exists() {
        globals += " load_module /usr/lib/nginx/modules/ngx_stream_module.so;";
    }
    let said = network.run(&nginx, &["-e", "stderr", "-g", &globals, "-t", "-c"], &file).unwrap_or_default();
    assert!(!["[warn]", "[emerg]", "[alert]", "[error]"].iter().any(|level| said.contains(level)), "{said}");
}

pub(super) fn keepalived(root: &Root, network: &Network) {
    let Some(keepalived) = judge("keepalived") else { return };
    let file = root.rewritten("/etc/keepalived/keepalived.conf", &["/run/kiln-guard"]);
    let said = network.run(&keepalived, &["--config-test", "--use-file"], &file).unwrap_or_default();
    assert_eq!(said, "", "keepalived reports problems");
}

#[test]
fn balancers_ask_old_api_servers_for_what_they_have() {
    for (variant, file) in [("ha-nginx", "/etc/nginx/nginx.conf"), ("two-masters", "/etc/kiln/guard.toml")] {
        let variant = VARIANTS.iter().find(|row| row.name == variant).unwrap();
        let of_version = |version: &str| {
            let mut cluster = variant.cluster();
            cluster.kubernetes = version.parse().unwrap();
            // The path that nginx itself serves is not the path that it requests.
            text(&super::first(&cluster), file).replace("location = /readyz", "location = /itself")
        };
        let (old, new) = (of_version("1.15.12"), of_version("1.16.15"));
        assert!(!old.contains("readyz") && new.contains("readyz"), "{file}:\n{old}\n{new}");
        assert_eq!(old, new.replace("/readyz", "/healthz").replace("/livez", "/healthz"));
    }
}
