//! kubeadm's configuration, kubeconfigs, certificate requests and static pods.

use crate::cluster::Role;
use crate::lint::{Document, Fleet, Yaml};
use crate::pipeline::import::balancers::host;
use crate::pipeline::import::facts::{Facts, Naming, Origin, address, port};
use crate::pipeline::import::settings::Setting;

/// Keys of kubeadm's configuration, and the settings that they are.
const KUBEADM: [(&str, &str, Setting); 7] = [
    ("ClusterConfiguration", "kubernetesVersion", Setting::Version),
    ("ClusterConfiguration", "imageRepository", Setting::Registry),
    ("ClusterConfiguration", "clusterName", Setting::Name),
    ("ClusterConfiguration", "networking.podSubnet", Setting::Pods),
    ("ClusterConfiguration", "networking.serviceSubnet", Setting::Services),
    ("ClusterConfiguration", "networking.dnsDomain", Setting::Domain),
    ("KubeletConfiguration", "clusterDomain", Setting::Domain),
];

/// Images whose tags are Kubernetes' version.
const IMAGES: [&str; 4] = ["/kube-apiserver:", "/kube-controller-manager:", "/kube-scheduler:", "/kube-proxy:"];

pub(super) fn learn(fleet: &Fleet<'_>, facts: &mut Facts) {
    for (document, node) in fleet.manifests() {
        kubeadm(document, node, facts);
        images(document, node, facts);
    }
    for (document, word) in crate::lint::vips(fleet) {
        facts.say(Setting::Vip, document, word);
    }
    for (document, node) in fleet.manifests() {
        kubeconfig(document, node, facts);
    }
    for (document, node) in fleet.manifests() {
        request(document, node, facts);
    }
}

fn kubeadm(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let kind = node.text("kind").map_or("", |word| word.text);
    for (_, path, setting) in KUBEADM.iter().filter(|(of, ..)| *of == kind) {
        if let Some(word) = node.text(path) {
            facts.say(*setting, document, word);
        }
    }
    dns(document, node, facts);
    if let Some(word) = node.text("controlPlaneEndpoint") {
        facts.say_as(Setting::Port, port(word.text).unwrap_or("6443"), document, word);
    }
    if let Some(word) = node.text("localAPIEndpoint.advertiseAddress") {
        let name = node.text("nodeRegistration.name").map(|word| word.text).or(host(document));
        facts.mention(name, address(word.text), Some(Role::ControlPlane), Naming::Host, Origin::of(document, word));
    }
}

/// kubeadm puts the name of CoreDNS's image together; what it is not told it takes from its version.
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

/// What nodes dial is the endpoint, unless it is an API server's own address.
fn kubeconfig(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let is_kubeconfig = document.path.ends_with("kubeconfig") || document.path.ends_with("config") || node.get("clusters").is_some();
    let servers = node.find_all("server").into_iter().filter_map(Yaml::scalar);
    for word in servers.filter(|word| is_kubeconfig && word.text.starts_with("https://")) {
        let Some(address) = address(word.text).filter(|address| !address.is_loopback()) else { continue };
        if !facts.mentions.iter().any(|mention| mention.address == Some(address)) {
            facts.say(Setting::Vip, document, word);
            facts.say_as(Setting::Port, port(word.text).unwrap_or("443"), document, word);
        }
    }
}

/// The addresses that a certificate for API servers names: the VIP, the first service address, and control-plane nodes.
fn request(document: &Document<'_>, node: &Yaml<'_>, facts: &mut Facts) {
    let hosts: Vec<_> = node.get("hosts").map(Yaml::items).unwrap_or_default().iter().filter_map(Yaml::scalar).collect();
    if !hosts.iter().any(|word| word.text.starts_with("kubernetes")) {
        return;
    }
    let services: Option<ipnet::IpNet> = facts.value(Setting::Services).and_then(|text| text.parse().ok());
    for word in hosts {
        let of_node = |address: &std::net::IpAddr| {
            let vip = facts.of(Setting::Vip).any(|fact| fact.value == address.to_string());
            !vip && !services.is_some_and(|services| services.contains(address))
        };
        let address = address(word.text).filter(of_node);
        facts.mention(None, address, Some(Role::ControlPlane), Naming::Alias, Origin::of(document, word));
    }
}
