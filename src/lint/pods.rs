//! Balancers as static pods: what a kubelet mounts, probes and pulls.

use crate::config::{Document, Fleet, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Images that carry the VIP or stand behind it, by a part of their name.
const BALANCERS: [&str; 5] = ["keepalived", "haproxy", "kube-vip", "lvscare", "nginx-proxy"];
/// Keys by which a pod refers to objects of the API.
const REFERENCES: [&str; 9] = [
    "serviceAccountName",
    "serviceAccount",
    "configMap",
    "secret",
    "configMapRef",
    "secretRef",
    "configMapKeyRef",
    "secretKeyRef",
    "persistentVolumeClaim",
];
/// Settings of kube-vip that 0.9 has no more: `vip_subnet`, `bgp_sourceif` and `bgp_sourceip` are the names now.
const GONE: [&str; 4] = ["vip_cidr", "provider_config", "bgp_source_if", "bgp_source_ip"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA330", "a missing configuration file is created empty")
        .why("with `FileOrCreate` the kubelet makes an empty file when the real one is not there: the balancer starts with nothing, or not at all, and nobody is told what is missing")
        .fix("use `type: File`")
        .files(created_empty),
    Lint::warning("HA331", "a balancer's image is not pinned")
        .why("its tag may mean another program tomorrow, published tags such as osixia/keepalived:2.0.17, haproxy:2.1.4 and plndr/kube-vip get no fixes any more, and with `Always` no pod starts while the registry is away")
        .fix("name the image by digest, with `imagePullPolicy: IfNotPresent`")
        .files(unpinned),
    Lint::error("HA332", "kube-vip uses credentials that have no rights yet")
        .why("from 1.29 on admin.conf gets its rights from a binding that kubeadm makes through the VIP, which kube-vip cannot take without those rights: the first node waits for itself")
        .fix("give kube-vip a kubeconfig of its own; with kubeadm before 1.33 mount super-admin.conf on the first node")
        .files(powerless_kube_vip),
    Lint::error("HA333", "kube-vip does not know a setting")
        .why("since 0.9 `vip_cidr` is ignored, and the VIP gets the prefix /32 or none that fits")
        .fix("use `vip_subnet`")
        .files(old_setting),
    Lint::error("HA334", "a static pod refers to objects of the API")
        .why("it starts before there is an API to ask; since 1.34 the kubelet refuses it")
        .fix("mount files of the machine with `hostPath`")
        .files(reference),
    Lint::warning("HA338", "the balancer's liveness probe asks the API server")
        .why("when the API servers are down the kubelet restarts the balancer, which is well, and cuts the connections that others still have; and with anonymous requests off the probe always fails")
        .fix("probe a port of the balancer's own, such as `monitor-uri` on 127.0.0.1:8405")
        .files(probes_the_api),
    Lint::warning("HA339", "a check runs in a container that may lack its programs")
        .why("the script is the machine's, the programs are the image's: where curl is not part of it every check fails and no machine holds the VIP")
        .fix("run keepalived as a service of the machine, or check with a program that the image has")
        .files(foreign_programs),
];

/// Pods, and what looks like one.
fn pods<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, &'f Node<'a>)> {
    fleet.manifests().filter(|(_, node)| !images(node).is_empty())
}

fn images<'a>(node: &Node<'a>) -> Vec<Word<'a>> {
    node.find_all("image").into_iter().filter_map(Node::scalar).collect()
}

fn is_balancer(image: &str) -> bool {
    BALANCERS.contains(&name(image))
}

/// Whether an image of a pod is a balancer's: a static pod of nginx is one, and others may be anything.
fn balances(document: &Document<'_>, image: &str) -> bool {
    is_balancer(image) || name(image) == "nginx" && document.path.contains("/manifests/")
}

/// `haproxy` of `docker.io/library/haproxy:3.0@sha256:…`.
fn name(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

fn created_empty<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_kubeadm = fleet.of_kind("ClusterConfiguration");
    for (document, node) in pods(fleet).chain(of_kubeadm) {
        // Published manifests may have lost their indentation, so a type belongs to the path before it.
        let mut path = "";
        node.visit(&mut |key, value| match (key.text, value.scalar()) {
            ("path" | "hostPath", Some(word)) => path = word.text,
            ("type" | "pathType", Some(word)) if word.text == "FileOrCreate" && !is_runtime(path) => {
                found.at(document, word, "the kubelet creates an empty file when this one is missing");
            }
            _ => {}
        });
    }
}

/// Whether a file begins empty: a lock, which whoever comes first makes at each boot, or a log.
fn is_runtime(path: &str) -> bool {
    ["/run/", "/var/run/", "/var/log/"].iter().any(|directory| path.starts_with(directory))
}

fn unpinned<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_pods = pods(fleet).flat_map(|(document, node)| images(node).into_iter().map(move |image| (document, image)));
    let of_commands = fleet.commands().flat_map(|(document, command)| command.words.iter().map(move |word| (document, *word)));
    for (document, image) in of_pods.chain(of_commands.filter(|(_, word)| word.text.contains('/'))) {
        let pulled = image.text.contains(':') && !image.text.starts_with('/');
        if balances(document, image.text) && pulled && !fleet.images.contains(image.text) && !image.text.contains("@sha256:") {
            found.at(document, image, format!("`{}` has no digest", image.text));
        }
    }
    for (document, node) in pods(fleet).filter(|(document, node)| images(node).iter().any(|image| balances(document, image.text))) {
        for word in node.find_all("imagePullPolicy").into_iter().filter_map(Node::scalar).filter(|word| word.text == "Always") {
            found.at(document, word, "the balancer does not start while the registry is away");
        }
    }
}

fn powerless_kube_vip<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    if !(29..=32).contains(&fleet.target.kubernetes) {
        return;
    }
    for (document, node) in pods(fleet).filter(|(_, node)| images(node).iter().any(|image| image.text.contains("kube-vip"))) {
        for word in node.find_all("path").into_iter().filter_map(Node::scalar).filter(|word| word.text.ends_with("/admin.conf")) {
            found.at(document, word, "admin.conf has no rights until the VIP is there");
        }
    }
    for (document, command) in fleet.commands() {
        let writes = |word: &&Word<'_>| word.text.contains("kube-vip") && command.words.iter().any(|other| other.text == "manifest");
        if let Some(word) = command.words.iter().find(writes) {
            found.at(document, *word, "the manifest that this writes mounts admin.conf, which has no rights until the VIP is there");
        }
    }
}

fn old_setting<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in pods(fleet) {
        let newer = images(node).iter().any(|image| image.text.contains("kube-vip:v") && version(image.text) >= (0, 9));
        for word in node.find_all("name").into_iter().filter_map(Node::scalar).filter(|_| newer) {
            if GONE.contains(&word.text) {
                found.at(document, word, format!("`{}` is ignored since 0.9", word.text));
            }
        }
    }
}

/// The first two numbers of `name:v1.2.3`.
fn version(image: &str) -> (u32, u32) {
    let tag = image.rsplit(":v").next().unwrap_or_default();
    let mut numbers = tag.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn reference<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // Other kinds lie beside static pods where somebody applies them.
    let is_pod = |node: &Node<'_>| node.text("kind").is_none_or(|kind| kind.text == "Pod");
    let is_static = |document: &Document<'_>| fleet.target.kubernetes >= 34 && document.path.contains("/manifests/");
    for (document, node) in pods(fleet).filter(|(document, node)| is_static(document) && is_pod(node)) {
        node.visit(&mut |key, _| {
            if REFERENCES.contains(&key.text) {
                found.at(document, key, format!("the kubelet refuses a static pod with `{}`", key.text));
            }
        });
    }
}

fn probes_the_api<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in pods(fleet).filter(|(document, node)| images(node).iter().any(|image| balances(document, image.text))) {
        let has =
            |name: &str, values: &[&str]| node.find_all(name).into_iter().filter_map(Node::scalar).find(|word| values.contains(&word.text));
        let probe = !node.find_all("livenessProbe").is_empty();
        let path = has("path", &["/healthz", "/livez", "/readyz"]);
        if let Some(word) = path.filter(|_| probe && has("scheme", &["HTTPS"]).is_some()) {
            found.at(document, word, "this is the API server's health, seen through the balancer");
        }
    }
}

fn foreign_programs<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in pods(fleet).filter(|(_, node)| images(node).iter().any(|image| image.text.contains("keepalived"))) {
        for path in node.find_all("path").into_iter().filter_map(Node::scalar) {
            let script = fleet
                .commands()
                .find(|(script, command)| script.machine == document.machine && script.path == path.text && command.runs(&["curl"]));
            if script.is_some() {
                found.at(document, path, "the script needs curl, which the image may not have");
            }
        }
    }
}
