//! Lints for cluster add-ons: DNS, networks, images.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Document, Fleet, Node, Word, yaml_of};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::{network, pods, services};

/// Parts of the image names of add-ons that are no longer maintained, and the replacements of these add-ons.
const RETIRED: [(&str, &str); 6] = [
    ("ingress-nginx/controller", "a Gateway API controller"),
    ("nginx-ingress-controller", "a Gateway API controller"),
    ("kubernetes-dashboard", "Headlamp"),
    ("kubernetesui/dashboard", "Headlamp"),
    ("k8s-dns-kube-dns", "CoreDNS"),
    ("kubedns-amd64", "CoreDNS"),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA418", "flannel and the controller manager use different pod networks")
        .why(
            "the controller manager assigns each node a subnet of `--cluster-cidr`, but flannel routes a \
            different network, so pod addresses are unreachable",
        )
        .fix("set the same network in net-conf.json and `--cluster-cidr`")
        .files(flannel_network),
    Lint::warning("HA419", "cluster DNS has a single replica, or all its replicas may run on one machine")
        .why(
            "every pod resolves names through cluster DNS: if the only machine with a replica fails, name \
            resolution fails in the whole cluster until a new replica is running",
        )
        .fix("run at least two replicas, with `podAntiAffinity` or `topologySpreadConstraints`")
        .files(lonely_dns),
    Lint::error("HA420", "the cluster DNS address is outside the service network")
        .why(
            "kubelets configure this address as every pod's DNS server, but nothing outside the service \
            network responds to DNS queries",
        )
        .fix("use the tenth address of the service network")
        .files(dns_address),
    Lint::error("HA421", "a manifest does not pin its image")
        .why(
            "with `:latest`, without a tag or with `imagePullPolicy: Always`, a pod rescheduled to another \
            machine may run different code; without a reachable registry the pod does not start",
        )
        .fix("pin a version, preferably by digest, and use `imagePullPolicy: IfNotPresent`")
        .files(moving_image),
    Lint::error(
        "HA422",
        "images are imported locally, but `AlwaysPullImages` makes every pod pull from a \
        registry",
    )
    .why(
        "with `AlwaysPullImages`, every pod pulls its image even if the image is already present: without a \
        registry no pod starts",
    )
    .fix("remove the plugin, or run a registry that serves these images")
    .files(pulls_what_was_imported),
    Lint::warning("HA423", "the runtime and the kubelet use different pause images")
        .why(
            "the kubelet protects only its own pause image from garbage collection, but the runtime uses a \
            different one: without a registry, no pod starts once that image has been collected",
        )
        .fix("configure the same pause image in both")
        .files(different_pause),
    Lint::warning("HA424", "an add-on is no longer maintained")
        .why(
            "an unmaintained add-on receives no security fixes: ingress-nginx was retired in March 2026, the \
            dashboard is archived, and kube-dns was dropped in 1.21",
        )
        .fix("use a Gateway API controller, Headlamp or CoreDNS instead")
        .files(retired),
    Lint::warning("HA425", "images are pulled without TLS")
        .why("anyone on the network path can control what runs in the cluster")
        .fix("set up a certificate for the registry, and configure its CA in certs.d/REGISTRY/hosts.toml")
        .files(plain_registry),
];

fn flannel_network<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // flannel configures IPv6 elsewhere.
    let Some(pods) = pods(fleet).iter().find_map(network).filter(|network| matches!(network, IpNet::V4(_)))
    else {
        return;
    };
    for (document, node) in fleet.manifests() {
        for text in node.find_all("net-conf.json").into_iter().filter_map(Node::scalar) {
            for word in yaml_of(text).iter().filter_map(|node| node.text("Network")) {
                if word.text.parse::<IpNet>().is_ok_and(|network| network.trunc() != pods.trunc()) {
                    found.at(
                        document,
                        word,
                        format!("flannel routes {}, but nodes are assigned subnets of {pods}", word.text),
                    );
                }
            }
        }
    }
}

fn lonely_dns<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.manifests() {
        let Some(name) =
            node.text("metadata.name").filter(|word| ["coredns", "kube-dns"].contains(&word.text))
        else {
            continue;
        };
        if node.text("kind").is_none_or(|kind| !["Deployment", "ReplicationController"].contains(&kind.text))
        {
            continue;
        }
        let replicas = node.text("spec.replicas");
        let apart =
            ["podAntiAffinity", "topologySpreadConstraints"].iter().any(|key| !node.find_all(key).is_empty());
        if replicas.is_none_or(|word| word.text.parse::<u32>().is_ok_and(|count| count < 2)) {
            found.at(
                document,
                replicas.unwrap_or(name),
                format!("`{}` has fewer than two replicas", name.text),
            );
        } else if !apart {
            found.at(document, name, format!("all replicas of `{}` may run on the same machine", name.text));
        }
    }
}

fn dns_address<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let networks: Vec<IpNet> = services(fleet).iter().filter_map(network).collect();
    let Some(services) = networks.first() else { return };
    // NodeLocal DNSCache uses a link-local address on every node.
    let local = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.is_link_local());
    let outside = |word: &Word<'_>| {
        word.text.parse().is_ok_and(|address| {
            !local(address) && !networks.iter().any(|network| network.trunc().contains(&address))
        })
    };
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        let addresses = node.get("clusterDNS").map(Node::items).unwrap_or_default();
        for word in addresses.iter().filter_map(Node::scalar).filter(outside) {
            found.at(document, word, format!("`{}` is outside the service network `{services}`", word.text));
        }
    }
    for flag in fleet.programs("kubelet").filter_map(|invocation| invocation.flag("cluster-dns")) {
        for word in flag.value.pieces(|letter| letter == ',').filter(outside) {
            found.at(
                &fleet.documents[flag.document],
                word,
                format!("`{}` is outside the service network `{services}`", word.text),
            );
        }
    }
}

/// Returns the container images in all manifests.
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
        // A template's image is set when the template is rendered.
        let open = image.text.contains(['$', '{']);
        if !open && (name.ends_with(":latest") || !name.contains(':')) {
            found.at(document, image, format!("`{}` may refer to a different image at any time", image.text));
        }
    }
    for (document, node) in fleet.manifests() {
        for word in node
            .find_all("imagePullPolicy")
            .into_iter()
            .filter_map(Node::scalar)
            .filter(|word| word.text == "Always")
        {
            found.at(document, word, "the pod starts only while the registry is reachable");
        }
    }
}

fn pulls_what_was_imported<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let by_script = fleet.commands().any(|(_, command)| {
        ["ctr", "nerdctl"].iter().any(|name| command.runs(&[name, "import"]))
            || ["docker", "nerdctl"].iter().any(|name| command.runs(&[name, "load"]))
    });
    let by_unit = || {
        fleet.units("Service").any(|block| {
            block
                .statement
                .body
                .iter()
                .any(|line| line.name().text.starts_with("ExecStart") && line.has("import"))
        })
    };
    let names = ["enable-admission-plugins", "admission-control"];
    for flag in
        fleet.programs("kube-apiserver").flat_map(|server| names.iter().filter_map(|name| server.flag(name)))
    {
        if flag.value.text.contains("AlwaysPullImages") && (by_script || by_unit()) {
            found.flag(flag, fleet, "imported images are pulled from a registry anyway");
        }
    }
}

fn different_pause<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, setting) in fleet
        .settings("containerd")
        .filter(|(_, setting)| setting.key.text == "sandbox_image" || setting.key.text == "sandbox")
    {
        let kubelet = fleet.programs("kubelet").find(|invocation| invocation.machine == document.machine);
        let other = kubelet.and_then(|invocation| invocation.value("pod-infra-container-image"));
        if let Some(other) = other.filter(|other| *other != setting.value.text) {
            found.at(
                document,
                setting.value,
                format!("the runtime uses `{}`, but the kubelet protects `{other}`", setting.value.text),
            );
        }
    }
}

fn retired<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, image) in images(fleet) {
        if let Some((_, instead)) = RETIRED.iter().find(|(name, _)| image.text.contains(name)) {
            found.at(document, image, format!("`{}` is no longer maintained: use {instead}", image.text));
        }
    }
}

fn plain_registry<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for flag in fleet.programs("dockerd").filter_map(|invocation| invocation.flag("insecure-registry")) {
        found.flag(flag, fleet, format!("connections to `{}` are not authenticated", flag.value.text));
    }
    for (document, node) in
        fleet.manifests().filter(|(document, _)| document.path.ends_with("/docker/daemon.json"))
    {
        for registry in
            node.get("insecure-registries").into_iter().flat_map(Node::items).filter_map(Node::scalar)
        {
            found.at(document, registry, format!("connections to `{}` are not authenticated", registry.text));
        }
    }
    for (document, setting) in fleet
        .settings("certs.d/")
        .filter(|(_, setting)| setting.key.text == "server" && setting.value.text.starts_with("http://"))
    {
        found.at(
            document,
            setting.value,
            format!("connections to `{}` are not authenticated", setting.value.text),
        );
    }
    for (document, setting) in
        fleet.settings("containerd").filter(|(_, setting)| setting.key.text == "endpoint")
    {
        if setting.value.text.contains("\"http://") {
            found.at(document, setting.value, "connections to a mirror without TLS are not authenticated");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with("/hosts.toml")) {
        for line in document.text.lines().filter(|line| line.text.trim().starts_with("[host.\"http://")) {
            found.at(document, line.trim(), "connections to a mirror without TLS are not authenticated");
        }
    }
}
