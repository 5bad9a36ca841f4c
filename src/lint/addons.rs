//! What runs on the nodes: cluster DNS, networks, images.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Document, Fleet, Node, Word, yaml_of};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::{network, pods, services};

/// Add-ons whose projects ended, by a part of the image's name.
const RETIRED: [(&str, &str); 6] = [
    ("ingress-nginx/controller", "a controller of the Gateway API"),
    ("nginx-ingress-controller", "a controller of the Gateway API"),
    ("kubernetes-dashboard", "Headlamp"),
    ("kubernetesui/dashboard", "Headlamp"),
    ("k8s-dns-kube-dns", "CoreDNS"),
    ("kubedns-amd64", "CoreDNS"),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA418", "flannel's network is not the pods' network")
        .why("the controller manager gives nodes parts of `--cluster-cidr`, flannel routes another network: pods get addresses that lead nowhere")
        .fix("write the same network in net-conf.json and `--cluster-cidr`")
        .files(flannel_network),
    Lint::warning("HA419", "cluster DNS runs once, or its copies may share a machine")
        .why("every pod looks up names through it: when its machine dies, the whole cluster stands still until another is started")
        .fix("use two replicas or more, with `podAntiAffinity` or `topologySpreadConstraints`")
        .files(lonely_dns),
    Lint::error("HA420", "the address of cluster DNS is no service address")
        .why("kubelets write it into every pod; outside the network of services nothing answers there")
        .fix("use the tenth address of the network of services")
        .files(dns_address),
    Lint::error("HA421", "a manifest pulls whatever an image is today")
        .why("with `:latest`, no tag at all, or `Always`, a pod that moves to another machine may be another program; without a registry in reach it does not start at all")
        .fix("name a version, best with a digest, and use `imagePullPolicy: IfNotPresent`")
        .files(moving_image),
    Lint::error("HA422", "every start of a pod asks a registry, and images were imported because there is none")
        .why("`AlwaysPullImages` makes each pod pull its image anew, whatever is on the machine: without a registry none starts")
        .fix("leave the plugin out, or run a registry")
        .files(pulls_what_was_imported),
    Lint::warning("HA423", "the runtime and the kubelet use different pause images")
        .why("the kubelet keeps the one that it names from being collected, the runtime pulls the other: where there is no registry no pod starts after the first clean-up")
        .fix("write the same image in both")
        .files(different_pause),
    Lint::warning("HA424", "an add-on whose project has ended")
        .why("nobody mends its security any more: ingress-nginx ended in March 2026, the dashboard is archived, kube-dns went with 1.21")
        .fix("use a controller of the Gateway API, Headlamp, CoreDNS")
        .files(retired),
    Lint::warning("HA425", "images come without TLS")
        .why("whoever is on the way decides what runs in the cluster")
        .fix("give the registry a certificate, and name its authority in certs.d/REGISTRY/hosts.toml")
        .files(plain_registry),
];

fn flannel_network<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // flannel says IPv6 elsewhere.
    let Some(pods) = pods(fleet).iter().find_map(network).filter(|network| matches!(network, IpNet::V4(_))) else { return };
    for (document, node) in fleet.manifests() {
        for text in node.find_all("net-conf.json").into_iter().filter_map(Node::scalar) {
            for word in yaml_of(text).iter().filter_map(|node| node.text("Network")) {
                if word.text.parse::<IpNet>().is_ok_and(|network| network.trunc() != pods.trunc()) {
                    found.at(document, word, format!("flannel routes {}, and nodes get parts of {pods}", word.text));
                }
            }
        }
    }
}

fn lonely_dns<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.manifests() {
        let Some(name) = node.text("metadata.name").filter(|word| ["coredns", "kube-dns"].contains(&word.text)) else { continue };
        if node.text("kind").is_none_or(|kind| !["Deployment", "ReplicationController"].contains(&kind.text)) {
            continue;
        }
        let replicas = node.text("spec.replicas");
        let apart = ["podAntiAffinity", "topologySpreadConstraints"].iter().any(|key| !node.find_all(key).is_empty());
        if replicas.is_none_or(|word| word.text.parse::<u32>().is_ok_and(|count| count < 2)) {
            found.at(document, replicas.unwrap_or(name), format!("`{}` runs once", name.text));
        } else if !apart {
            found.at(document, name, format!("all copies of `{}` may be on one machine", name.text));
        }
    }
}

fn dns_address<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let networks: Vec<IpNet> = services(fleet).iter().filter_map(network).collect();
    let Some(services) = networks.first() else { return };
    // NodeLocal DNSCache has a link-local address on every node.
    let local = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.is_link_local());
    let outside = |word: &Word<'_>| {
        word.text.parse().is_ok_and(|address| !local(address) && !networks.iter().any(|network| network.trunc().contains(&address)))
    };
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        let addresses = node.get("clusterDNS").map(Node::items).unwrap_or_default();
        for word in addresses.iter().filter_map(Node::scalar).filter(outside) {
            found.at(document, word, format!("`{}` is outside `{services}`", word.text));
        }
    }
    for flag in fleet.programs("kubelet").filter_map(|invocation| invocation.flag("cluster-dns")) {
        for word in flag.value.pieces(|letter| letter == ',').filter(outside) {
            found.at(&fleet.documents[flag.document], word, format!("`{}` is outside `{services}`", word.text));
        }
    }
}

/// Manifests of pods, wherever they are applied.
pub(super) fn images<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>)> {
    fleet.manifests().flat_map(|(document, node)| {
        let containers = ["containers", "initContainers"].iter().flat_map(|key| node.find_all(key));
        containers
            .flat_map(|list| list.items().iter().filter_map(|item| item.text("image")))
            .map(move |image| (document, image))
            .collect::<Vec<_>>()
    })
}

fn moving_image<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, image) in images(fleet).filter(|(_, image)| !image.text.contains("@sha256:")) {
        let name = image.text.rsplit('/').next().unwrap_or_default();
        // Who fills a template in chooses the image.
        let open = image.text.contains(['$', '{']);
        if !open && (name.ends_with(":latest") || !name.contains(':')) {
            found.at(document, image, format!("`{}` is whatever it is today", image.text));
        }
    }
    for (document, node) in fleet.manifests() {
        for word in node.find_all("imagePullPolicy").into_iter().filter_map(Node::scalar).filter(|word| word.text == "Always") {
            found.at(document, word, "the pod starts only while the registry answers");
        }
    }
}

fn pulls_what_was_imported<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let by_script = fleet.commands().any(|(_, command)| {
        ["ctr", "nerdctl"].iter().any(|name| command.runs(&[name, "import"]))
            || ["docker", "nerdctl"].iter().any(|name| command.runs(&[name, "load"]))
    });
    let by_unit = || {
        fleet
            .units("Service")
            .any(|block| block.statement.body.iter().any(|line| line.name().text.starts_with("ExecStart") && line.has("import")))
    };
    let names = ["enable-admission-plugins", "admission-control"];
    for flag in fleet.programs("kube-apiserver").flat_map(|server| names.iter().filter_map(|name| server.flag(name))) {
        if flag.value.text.contains("AlwaysPullImages") && (by_script || by_unit()) {
            found.flag(flag, fleet, "imported images are pulled all the same");
        }
    }
}

fn different_pause<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, setting) in
        fleet.settings("containerd").filter(|(_, setting)| setting.key.text == "sandbox_image" || setting.key.text == "sandbox")
    {
        let kubelet = fleet.programs("kubelet").find(|invocation| invocation.machine == document.machine);
        let other = kubelet.and_then(|invocation| invocation.value("pod-infra-container-image"));
        if let Some(other) = other.filter(|other| *other != setting.value.text) {
            found.at(document, setting.value, format!("the runtime uses `{}`, the kubelet keeps `{other}`", setting.value.text));
        }
    }
}

fn retired<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, image) in images(fleet) {
        if let Some((_, instead)) = RETIRED.iter().find(|(name, _)| image.text.contains(name)) {
            found.at(document, image, format!("nobody mends `{}` any more: use {instead}", image.text));
        }
    }
}

fn plain_registry<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for flag in fleet.programs("dockerd").filter_map(|invocation| invocation.flag("insecure-registry")) {
        found.flag(flag, fleet, format!("`{}` is not asked who it is", flag.value.text));
    }
    for (document, node) in fleet.manifests().filter(|(document, _)| document.path.ends_with("/docker/daemon.json")) {
        for registry in node.get("insecure-registries").into_iter().flat_map(Node::items).filter_map(Node::scalar) {
            found.at(document, registry, format!("`{}` is not asked who it is", registry.text));
        }
    }
    for (document, setting) in
        fleet.settings("certs.d/").filter(|(_, setting)| setting.key.text == "server" && setting.value.text.starts_with("http://"))
    {
        found.at(document, setting.value, format!("`{}` is not asked who it is", setting.value.text));
    }
    for (document, setting) in fleet.settings("containerd").filter(|(_, setting)| setting.key.text == "endpoint") {
        if setting.value.text.contains("\"http://") {
            found.at(document, setting.value, "a mirror without TLS is not asked who it is");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with("/hosts.toml")) {
        for line in document.text.lines().filter(|line| line.text.trim().starts_with("[host.\"http://")) {
            found.at(document, line.trim(), "a mirror without TLS is not asked who it is");
        }
    }
}
