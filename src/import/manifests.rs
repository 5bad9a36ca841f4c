//! kubeadm's configuration, kubeconfigs, certificate requests and static pods.

use crate::config::{Document, Fleet, Node as Yaml, Word};
use crate::import::balancers::host;
use crate::import::facts::{Fact, Facts, Mention, Naming, Origin, address, port};
use crate::import::settings::Setting;
use crate::words::Role;

/// Keys in kubeadm's configuration, and the corresponding settings.
const KUBEADM: [(&str, &str, Setting); 8] = [
    ("ClusterConfiguration", "kubernetesVersion", Setting::Version),
    ("ClusterConfiguration", "imageRepository", Setting::Registry),
    ("ClusterConfiguration", "clusterName", Setting::Name),
    ("ClusterConfiguration", "networking.podSubnet", Setting::Pods),
    ("ClusterConfiguration", "networking.serviceSubnet", Setting::Services),
    ("ClusterConfiguration", "networking.dnsDomain", Setting::Domain),
    ("KubeletConfiguration", "clusterDomain", Setting::Domain),
    ("KubeProxyConfiguration", "mode", Setting::ProxyMode),
];

/// Configuration keys that contain a machine's own address.
const OWN: [(&str, &str); 2] =
    [("KubeletConfiguration", "address"), ("KubeProxyConfiguration", "hostnameOverride")];

/// Images of balancers in front of API servers, and the corresponding settings.
const PODS: [(&str, Setting); 4] = [
    ("haproxy", Setting::HaproxyImage),
    ("keepalived", Setting::KeepalivedImage),
    ("nginx", Setting::NginxImage),
    ("kube-vip", Setting::KubeVipImage),
];

/// Parts of image names that identify network add-ons.
const PLUGINS: [&str; 6] = ["flannel", "calico", "cilium", "weave", "kube-router", "kube-ovn"];

/// Images whose tag is the Kubernetes version.
const IMAGES: [&str; 4] =
    ["/kube-apiserver:", "/kube-controller-manager:", "/kube-scheduler:", "/kube-proxy:"];

pub(super) fn learn(fleet: &Fleet<'_>, facts: &mut Facts) {
    for (document, node) in fleet.manifests() {
        kubeadm(document, node, facts);
        images(document, node, facts);
        pod(document, node, facts);
    }
    kube_vip_commands(fleet, facts);
    for (document, word) in crate::lint::vips(fleet) {
        facts.say(Setting::Vip, document, word);
    }
    for (document, node) in fleet.manifests() {
        kubeconfig(document, node, facts);
    }
    requests(fleet, facts);
    // A name without a VIP refers to a balancer outside these machines.
    let alone = facts.vip().is_none() && facts.value(Setting::Balancer).is_none();
    let name = facts.of(Setting::Names).next().filter(|_| alone).map(|name| name.origin.clone());
    facts.settings.extend(name.map(|origin| Fact {
        setting: Setting::Balancer,
        value: "external".to_owned(),
        origin,
        filled: false,
    }));
}

fn kubeadm(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let kind = node.text("kind").map_or("", |word| word.text);
    for (_, path, setting) in KUBEADM.iter().filter(|(of, ..)| *of == kind) {
        if let Some(word) = node.text(path) {
            facts.say(*setting, document, word);
        }
    }
    for (_, path) in OWN.iter().filter(|(of, _)| *of == kind) {
        if let Some(word) = node.text(path) {
            facts.mention(host(document), address(word.text), None, Naming::Host, Origin::of(document, word));
        }
    }
    dns(document, node, facts);
    if let Some(word) = node.text("controlPlaneEndpoint") {
        facts.say_as(Setting::Port, port(word.text).unwrap_or("6443"), document, word);
        if address(word.text).is_none() {
            facts.say_as(Setting::Names, word.text.split(':').next().unwrap_or_default(), document, word);
        }
    }
    for word in items(node, "etcd.external.endpoints") {
        facts.mention(None, address(word.text), Some(Role::Etcd), Naming::Alias, Origin::of(document, word));
    }
    if let Some(word) = node.text("localAPIEndpoint.advertiseAddress") {
        let name = node.text("nodeRegistration.name").map(|word| word.text).or(host(document));
        facts.mention(
            name,
            address(word.text),
            Some(Role::ControlPlane),
            Naming::Host,
            Origin::of(document, word),
        );
    }
}

fn items<'t>(node: &Yaml<'t>, path: &str) -> Vec<Word<'t>> {
    node.get(path).map(Yaml::items).unwrap_or_default().iter().filter_map(Yaml::scalar).collect()
}

/// Reads balancer pods on the host network, which static pods use, and the network add-on in any manifest.
fn pod(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let of_machine = node
        .find_all("hostNetwork")
        .iter()
        .any(|value| value.scalar().is_some_and(|word| word.text == "true"));
    for word in node.find_all("image").into_iter().filter_map(Yaml::scalar) {
        let name = image_name(word.text);
        if let Some((_, setting)) = PODS.iter().find(|(image, _)| of_machine && *image == name) {
            facts.say(*setting, document, word);
            facts.say_as(Setting::Run, "static-pod", document, word);
            if name == "kube-vip" {
                facts.say_as(Setting::Balancer, name, document, word);
            }
        }
        if let Some(plugin) = PLUGINS.iter().find(|plugin| word.text.contains(**plugin)) {
            facts.say_as(Setting::Plugin, plugin, document, word);
        }
    }
}

/// Returns `haproxy` for `docker.io/library/haproxy:3.0@sha256:…`.
fn image_name(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split([':', '@']).next().unwrap_or_default()
}

/// Reads commands that use the kube-vip image to generate its own manifest: `nerdctl run … kube-vip:v0.4.1
/// manifest pod --interface eth0 …`.
fn kube_vip_commands(fleet: &Fleet<'_>, facts: &mut Facts) {
    for (document, command) in
        fleet.commands().filter(|(_, command)| command.words.iter().any(|word| word.text == "manifest"))
    {
        let Some(image) = command.words.iter().find(|word| image_name(word.text) == "kube-vip") else {
            continue;
        };
        facts.say_as(Setting::Balancer, "kube-vip", document, *image);
        facts.say(Setting::KubeVipImage, document, *image);
        for (option, setting) in [("--interface", Setting::Interface), ("--address", Setting::Vip)] {
            let place = command.words.iter().position(|word| word.text == option);
            if let Some(word) = place.and_then(|at| command.words.get(at + 1)) {
                facts.say(setting, document, *word);
            }
        }
    }
}

/// Reads the CoreDNS image, whose name kubeadm composes; parts that are not set depend on the kubeadm
/// version.
fn dns(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let repository = node.text("dns.imageRepository").or(node.text("imageRepository"));
    if let (Some(repository), Some(tag)) = (repository, node.text("dns.imageTag")) {
        facts.say_as(Setting::Coredns, &format!("{}/coredns:{}", repository.text, tag.text), document, tag);
    }
}

fn images(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    for word in node.find_all("image").into_iter().filter_map(Yaml::scalar) {
        if IMAGES.iter().any(|image| word.text.contains(image)) {
            let tag = word.text.split('@').next().and_then(|text| text.rsplit(':').next());
            facts.say_as(Setting::Version, tag.unwrap_or_default(), document, word);
        } else if word.text.contains("/coredns:") {
            facts.say(Setting::Coredns, document, word);
        }
    }
}

/// Uses the address that nodes connect to as the endpoint, unless it is an API server's own address.
fn kubeconfig(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let is_kubeconfig = document.path.ends_with("kubeconfig")
        || document.path.ends_with("config")
        || node.get("clusters").is_some();
    let servers = node.find_all("server").into_iter().filter_map(Yaml::scalar);
    for word in servers.filter(|word| is_kubeconfig && word.text.starts_with("https://")) {
        let own = address(word.text);
        if own.is_some_and(|own| {
            own.is_loopback() || facts.mentions.iter().any(|mention| mention.address == Some(own))
        }) {
            continue;
        }
        let authority = word.text.trim_start_matches("https://").split('/').next().unwrap_or_default();
        match own {
            Some(_) => facts.say(Setting::Vip, document, word),
            None => {
                facts.say_as(Setting::Names, authority.split(':').next().unwrap_or_default(), document, word);
            }
        }
        facts.say_as(Setting::Port, port(word.text).unwrap_or("443"), document, word);
    }
}

/// Reads the alternative names in API server certificates: the VIP, the first service address, current and
/// future control-plane nodes, balancers, and the names of all of these.
///
/// If nothing else identifies the control-plane nodes, these addresses are assumed to be theirs.
fn requests(fleet: &Fleet<'_>, facts: &mut Facts) {
    let is_master = |mention: &Mention| mention.role == Some(Role::ControlPlane) && mention.address.is_some();
    let role = (!facts.mentions.iter().any(is_master)).then_some(Role::ControlPlane);
    for (document, node) in fleet.manifests() {
        for word in items(node, "apiServer.certSANs") {
            named(document, word, None, true, facts);
        }
        let hosts = items(node, "hosts");
        if hosts.iter().any(|word| word.text.starts_with("kubernetes")) {
            hosts.into_iter().for_each(|word| named(document, word, role, false, facts));
        }
    }
}

/// Reads one alternative name of a certificate; `outside` is true if addresses outside the node network
/// belong to a router.
fn named(document: &Document<'_>, word: Word<'_>, role: Option<Role>, outside: bool, facts: &mut Facts) {
    let network = |setting| facts.value(setting).and_then(|text| text.parse::<ipnet::IpNet>().ok());
    let (services, nodes) = (network(Setting::Services), network(Setting::Nodes));
    match address(word.text) {
        None if is_of_endpoint(word.text, facts) => facts.say(Setting::Names, document, word),
        Some(address) if facts.of(Setting::Vip).any(|fact| fact.value == address.to_string()) => {}
        Some(address) if services.is_some_and(|services| services.contains(&address)) => {}
        Some(address) if nodes.is_none_or(|nodes| nodes.contains(&address)) => {
            facts.mention(None, Some(address), role, Naming::Alias, Origin::of(document, word));
        }
        Some(_) if outside => facts.say(Setting::External, document, word),
        _ => {}
    }
}

/// Checks whether a name is neither a machine name nor a name that every API server certificate contains.
fn is_of_endpoint(name: &str, facts: &Facts) -> bool {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let machine = facts.mentions.iter().any(|mention| mention.name.as_deref() == Some(first));
    let of_services =
        first == "kubernetes" && (rest.is_empty() || rest == "default" || rest.starts_with("default."));
    let inside = name.ends_with(facts.value(Setting::Domain).unwrap_or("cluster.local"));
    name.contains('.') && !machine && !of_services && !inside && !first.starts_with("localhost")
}
