//! Lints for balancers that run as static pods: mounts, probes and images.

use crate::config::{Document, Fleet, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Names of images that hold the VIP or balance the connections to it.
const BALANCERS: [&str; 5] = ["keepalived", "haproxy", "kube-vip", "lvscare", "nginx-proxy"];
/// Pod keys that refer to API objects.
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
/// Settings that kube-vip 0.9 replaced with `vip_subnet`, `bgp_sourceif` and `bgp_sourceip`.
const GONE: [&str; 4] = ["vip_cidr", "provider_config", "bgp_source_if", "bgp_source_ip"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA330", "a missing configuration file is replaced with an empty one")
        .why(
            "with `FileOrCreate`, the kubelet creates an empty file if the real one is missing: the balancer \
            starts without a configuration, or not at all, and nothing reports the missing file",
        )
        .fix("use `type: File`")
        .files(created_empty),
    Lint::warning("HA331", "a balancer image is not pinned")
        .why(
            "a tag may refer to a different image tomorrow; tags that guides still recommend, such as \
            osixia/keepalived:2.0.17, haproxy:2.1.4 and plndr/kube-vip, no longer receive fixes; and with \
            `imagePullPolicy: Always` the pod does not start while the registry is unreachable",
        )
        .fix("pin the image by digest, with `imagePullPolicy: IfNotPresent`")
        .files(unpinned),
    Lint::error("HA332", "kube-vip uses credentials that have no permissions yet")
        .why(
            "since 1.29, admin.conf receives its permissions from a binding that kubeadm creates through the \
            VIP, but kube-vip can't take the VIP without those permissions: bootstrapping the first node \
            deadlocks",
        )
        .fix(
            "use a separate kubeconfig for kube-vip; with kubeadm before 1.33, mount super-admin.conf on \
            the first node",
        )
        .files(powerless_kube_vip),
    Lint::error("HA333", "kube-vip no longer supports a setting")
        .why(
            "since version 0.9, kube-vip ignores `vip_cidr`, and the VIP is assigned with the prefix length \
            /32 or an unsuitable one",
        )
        .fix("use `vip_subnet`")
        .files(old_setting),
    Lint::error("HA334", "a static pod refers to API objects")
        .why(
            "static pods start before the API is available; since 1.34 the kubelet rejects pods with such \
            references",
        )
        .fix("mount files from the machine with `hostPath`")
        .files(reference),
    Lint::warning("HA338", "the balancer's liveness probe checks the API server")
        .why(
            "when the API servers are down, the kubelet restarts the healthy balancer, which closes its \
            remaining connections; and if anonymous requests are disabled, the probe always fails",
        )
        .fix("probe a port of the balancer itself, such as `monitor-uri` on 127.0.0.1:8405")
        .files(probes_the_api),
    Lint::warning("HA339", "a check script runs in a container that may lack the programs it needs")
        .why(
            "the script comes from the machine, but its programs come from the image: if the image lacks \
            curl, every check fails and no machine holds the VIP",
        )
        .fix("run keepalived as a system service, or check with a program that the image contains")
        .files(foreign_programs),
];

/// Returns pods, and other manifests that contain images.
fn pods<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, &'f Node<'a>)> {
    fleet.manifests().filter(|(_, node)| !images(node).is_empty())
}

fn images<'a>(node: &Node<'a>) -> Vec<Word<'a>> {
    node.find_all("image").into_iter().filter_map(Node::scalar).collect()
}

fn is_balancer(image: &str) -> bool {
    BALANCERS.contains(&name(image))
}

/// Checks whether a pod's image is a balancer; nginx counts only in a static pod.
fn balances(document: &Document<'_>, image: &str) -> bool {
    is_balancer(image) || name(image) == "nginx" && document.path.contains("/manifests/")
}

/// Returns `haproxy` for `docker.io/library/haproxy:3.0@sha256:…`.
fn name(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

fn created_empty<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_kubeadm = fleet.of_kind("ClusterConfiguration");
    for (document, node) in pods(fleet).chain(of_kubeadm) {
        // Published manifests may have lost their indentation: a type belongs to the path before it.
        let mut path = "";
        node.visit(&mut |key, value| match (key.text, value.scalar()) {
            ("path" | "hostPath", Some(word)) => path = word.text,
            ("type" | "pathType", Some(word)) if word.text == "FileOrCreate" && !is_runtime(path) => {
                found.at(document, word, "the kubelet creates an empty file if this one is missing");
            }
            _ => {}
        });
    }
}

/// Checks whether a file is meant to be empty at first, such as a log, or a lock that is created at each
/// boot.
fn is_runtime(path: &str) -> bool {
    ["/run/", "/var/run/", "/var/log/"].iter().any(|directory| path.starts_with(directory))
}

fn unpinned<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_pods =
        pods(fleet).flat_map(|(document, node)| images(node).into_iter().map(move |image| (document, image)));
    let of_commands = fleet
        .commands()
        .flat_map(|(document, command)| command.words.iter().map(move |word| (document, *word)));
    for (document, image) in of_pods.chain(of_commands.filter(|(_, word)| word.text.contains('/'))) {
        let pulled = image.text.contains(':') && !image.text.starts_with('/');
        if balances(document, image.text)
            && pulled
            && !fleet.images.contains(image.text)
            && !image.text.contains("@sha256:")
        {
            found.at(document, image, format!("`{}` is not pinned by digest", image.text));
        }
    }
    for (document, node) in
        pods(fleet).filter(|(document, node)| images(node).iter().any(|image| balances(document, image.text)))
    {
        for word in node
            .find_all("imagePullPolicy")
            .into_iter()
            .filter_map(Node::scalar)
            .filter(|word| word.text == "Always")
        {
            found.at(document, word, "the balancer does not start while the registry is unreachable");
        }
    }
}

fn powerless_kube_vip<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    if !(29..=32).contains(&fleet.target.kubernetes) {
        return;
    }
    for (document, node) in
        pods(fleet).filter(|(_, node)| images(node).iter().any(|image| image.text.contains("kube-vip")))
    {
        for word in node
            .find_all("path")
            .into_iter()
            .filter_map(Node::scalar)
            .filter(|word| word.text.ends_with("/admin.conf"))
        {
            found.at(document, word, "admin.conf has no permissions until the VIP is up");
        }
    }
    for (document, command) in fleet.commands() {
        let writes = |word: &&Word<'_>| {
            word.text.contains("kube-vip") && command.words.iter().any(|other| other.text == "manifest")
        };
        if let Some(word) = command.words.iter().find(writes) {
            found.at(
                document,
                *word,
                "the generated manifest mounts admin.conf, which has no permissions until the VIP is up",
            );
        }
    }
}

fn old_setting<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in pods(fleet) {
        let newer = images(node)
            .iter()
            .any(|image| image.text.contains("kube-vip:v") && version(image.text) >= (0, 9));
        for word in node.find_all("name").into_iter().filter_map(Node::scalar).filter(|_| newer) {
            if GONE.contains(&word.text) {
                found.at(document, word, format!("kube-vip has ignored `{}` since 0.9", word.text));
            }
        }
    }
}

/// Returns the first two numbers of `name:v1.2.3`.
fn version(image: &str) -> (u32, u32) {
    let tag = image.rsplit(":v").next().unwrap_or_default();
    let mut numbers = tag.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn reference<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // The same directory may contain other kinds, which are applied through the API.
    let is_pod = |node: &Node<'_>| node.text("kind").is_none_or(|kind| kind.text == "Pod");
    let is_static =
        |document: &Document<'_>| fleet.target.kubernetes >= 34 && document.path.contains("/manifests/");
    for (document, node) in pods(fleet).filter(|(document, node)| is_static(document) && is_pod(node)) {
        node.visit(&mut |key, _| {
            if REFERENCES.contains(&key.text) {
                found.at(document, key, format!("the kubelet rejects a static pod with `{}`", key.text));
            }
        });
    }
}

fn probes_the_api<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in
        pods(fleet).filter(|(document, node)| images(node).iter().any(|image| balances(document, image.text)))
    {
        let has = |name: &str, values: &[&str]| {
            node.find_all(name).into_iter().filter_map(Node::scalar).find(|word| values.contains(&word.text))
        };
        let probe = !node.find_all("livenessProbe").is_empty();
        let path = has("path", &["/healthz", "/livez", "/readyz"]);
        if let Some(word) = path.filter(|_| probe && has("scheme", &["HTTPS"]).is_some()) {
            found.at(document, word, "this probe checks the health of the API server through the balancer");
        }
    }
}

fn foreign_programs<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in
        pods(fleet).filter(|(_, node)| images(node).iter().any(|image| image.text.contains("keepalived")))
    {
        for path in node.find_all("path").into_iter().filter_map(Node::scalar) {
            let script = fleet.commands().find(|(script, command)| {
                script.machine == document.machine && script.path == path.text && command.runs(&["curl"])
            });
            if script.is_some() {
                found.at(document, path, "the script needs curl, which the image may lack");
            }
        }
    }
}
