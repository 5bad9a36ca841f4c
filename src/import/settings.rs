//! The settings that files can tell, in the order of the cluster file: one row each.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::profile;
use crate::words::{BALANCERS, KubernetesVersion, PortRange, too_old};

/// One setting of a cluster file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Name,
    Version,
    Registry,
    Pause,
    Coredns,
    Pods,
    PodsPrefix,
    Services,
    NodePorts,
    Domain,
    Interface,
    Plugin,
    ProxyMode,
    Dns,
    Ntp,
    Vip,
    Names,
    External,
    Port,
    Balancer,
    Run,
    RouterId,
    HaproxyImage,
    KeepalivedImage,
    NginxImage,
    KubeVipImage,
    /// The network of the VIP's interface; the cluster file has it once all machines are known.
    Nodes,
}

/// How a setting is read and written.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) setting: Setting,
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    /// As it would be written.
    pub(super) example: &'static str,
    /// The value as the cluster file has it, if it is one.
    pub(super) read: fn(&str) -> Option<String>,
    /// What is so when the setting is left out.
    pub(super) otherwise: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    List,
}

/// Every setting beside `nodes`, by table.
pub(super) static ROWS: &[Row] = &[
    row(Setting::Name, "cluster", "name", Shape::Text, "\"berlin\"", label, "the cluster needs a name"),
    row(Setting::Version, "cluster", "kubernetes", Shape::Text, "\"1.20.2\"", version, "the cluster needs a version"),
    row(
        Setting::Registry,
        "cluster",
        "image-repository",
        Shape::Text,
        "\"registry.example.org/kubernetes\"",
        |text| written("image-repository", text),
        "the default is the registry that the version uses",
    ),
    row(
        Setting::Pause,
        "cluster.images",
        "pause",
        Shape::Text,
        "\"registry.example.org/kubernetes/pause:3.9\"",
        |text| image("pause", text),
        "the default is the version's",
    ),
    row(
        Setting::Coredns,
        "cluster.images",
        "coredns",
        Shape::Text,
        "\"registry.example.org/kubernetes/coredns:v1.13.1\"",
        |text| image("coredns", text),
        "the default is the version's",
    ),
    row(Setting::Nodes, "network", "nodes", Shape::Text, "\"10.0.0.0/24\"", network, "the network that the machines and the VIP are in"),
    row(Setting::Pods, "network", "pods", Shape::Text, "\"10.244.0.0/16\"", network, "this is the default"),
    row(Setting::PodsPrefix, "network", "pods-per-node-prefix", Shape::Number, "24", number::<u8>, "this is the default"),
    row(Setting::Services, "network", "services", Shape::Text, "\"10.96.0.0/12\"", network, "this is the default"),
    row(Setting::NodePorts, "network", "node-ports", Shape::Text, "\"30000-32767\"", ports, "this is the default"),
    row(Setting::Domain, "network", "domain", Shape::Text, "\"cluster.local\"", domain, "this is the default"),
    row(Setting::Interface, "network", "interface", Shape::Text, "\"lan0\"", interface, "this is the default"),
    row(
        Setting::Plugin,
        "network",
        "plugin",
        Shape::Text,
        "\"bridge\"",
        |text| ["bridge", "flannel", "none"].contains(&text).then(|| text.to_owned()),
        "this is the default",
    ),
    row(
        Setting::ProxyMode,
        "network",
        "proxy-mode",
        Shape::Text,
        "\"iptables\"",
        |text| ["iptables", "nftables", "ipvs"].contains(&text).then(|| text.to_owned()),
        "the default is the version's",
    ),
    row(Setting::Dns, "network", "dns", Shape::List, "[\"10.0.0.1\"]", address, "without name servers the nodes know each other only"),
    row(
        Setting::Ntp,
        "network",
        "ntp",
        Shape::List,
        "[\"pool.ntp.org\"]",
        domain,
        "without time servers the machines keep time among themselves",
    ),
    row(Setting::Vip, "endpoint", "vip", Shape::Text, "\"10.0.0.10\"", address, "the address that clients dial"),
    row(
        Setting::Names,
        "endpoint",
        "names",
        Shape::List,
        "[\"kubernetes.example.org\"]",
        |text| domain(text).filter(|name| name.contains('.') && address(name).is_none()),
        "certificates are valid for the addresses only",
    ),
    row(
        Setting::External,
        "endpoint",
        "external-addresses",
        Shape::List,
        "[\"203.0.113.10\"]",
        address,
        "no router translates addresses of the endpoint",
    ),
    row(Setting::Port, "endpoint", "port", Shape::Number, "8443", number::<u16>, "the default follows from the balancer"),
    row(Setting::Balancer, "endpoint", "balancer", Shape::Text, "\"haproxy\"", balancer, "this is the default"),
    row(
        Setting::Run,
        "endpoint",
        "run",
        Shape::Text,
        "\"service\"",
        |text| ["service", "static-pod"].contains(&text).then(|| text.to_owned()),
        "the default follows from the balancer",
    ),
    row(Setting::RouterId, "endpoint", "virtual-router-id", Shape::Number, "60", number::<u8>, "the default is the last byte of the VIP"),
    row(
        Setting::HaproxyImage,
        "endpoint.images",
        "haproxy",
        Shape::Text,
        "\"docker.io/library/haproxy:3.0\"",
        |text| image("haproxy", text),
        POD,
    ),
    row(
        Setting::KeepalivedImage,
        "endpoint.images",
        "keepalived",
        Shape::Text,
        "\"localhost/keepalived:2.3\"",
        |text| image("keepalived", text),
        POD,
    ),
    row(Setting::NginxImage, "endpoint.images", "nginx", Shape::Text, "\"docker.io/library/nginx:1.28\"", |text| image("nginx", text), POD),
    row(
        Setting::KubeVipImage,
        "endpoint.images",
        "kube-vip",
        Shape::Text,
        "\"ghcr.io/kube-vip/kube-vip:v1.0.0\"",
        |text| image("kube-vip", text),
        POD,
    ),
];

/// Images matter where the balancer runs as pods.
const POD: &str = "this is the default, where it runs as a pod";

const fn row(
    setting: Setting,
    table: &'static str,
    key: &'static str,
    shape: Shape,
    example: &'static str,
    read: fn(&str) -> Option<String>,
    otherwise: &'static str,
) -> Row {
    Row { setting, table, key, shape, example, read, otherwise }
}

impl Setting {
    pub(super) fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.setting == self).expect("every setting has a row")
    }
}

impl Row {
    /// The setting's path, as problems name it.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.table, self.key)
    }
}

/// The name as a cluster file takes it: lower case, `-` for `_`.
pub(super) fn label(text: &str) -> Option<String> {
    let text = text.to_lowercase().replace(['_', '.'], "-");
    let sound = text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    (sound && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')).then_some(text)
}

fn version(text: &str) -> Option<String> {
    text.parse::<KubernetesVersion>().ok().map(|version| version.to_string())
}

/// The first network, with its own address: a second one is another family's.
fn network(text: &str) -> Option<String> {
    text.split(',').next()?.trim().parse::<IpNet>().ok().map(|network| network.trunc().to_string())
}

fn ports(text: &str) -> Option<String> {
    let text: String = text.chars().map(|letter| if letter == '~' || letter == ':' { '-' } else { letter }).filter(|c| *c != ' ').collect();
    text.parse::<PortRange>().is_ok().then_some(text)
}

fn address(text: &str) -> Option<String> {
    super::facts::address(text).filter(|address| !address.is_unspecified() && !address.is_loopback()).as_ref().map(IpAddr::to_string)
}

fn number<T: std::str::FromStr + ToString + Default + PartialOrd>(text: &str) -> Option<String> {
    text.parse::<T>().ok().filter(|number| *number > T::default()).map(|number| number.to_string())
}

fn domain(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.').to_lowercase();
    (!text.is_empty() && text.split('.').all(|part| label(part).is_some())).then_some(text)
}

/// What a cluster file takes as it is, in one of its formats.
fn written(format: &str, text: &str) -> Option<String> {
    profile::format(format).filter(|format| (format.accepts)(text)).map(|_| text.to_owned())
}

/// A name that the kernel never gives by itself: renaming another interface to one of those fails now and then (systemd.link(5)).
fn interface(text: &str) -> Option<String> {
    let kernels = ["eth", "wlan"].iter().filter_map(|name| text.strip_prefix(name)).any(|rest| rest.parse::<u8>().is_ok());
    written("interface", text).filter(|_| !kernels)
}

/// An image of a program with its registry: what has none is Docker Hub's, and without a path one of its library. None that is too old
/// for kiln's configuration.
fn image(program: &str, text: &str) -> Option<String> {
    let whole = match text.split_once('/') {
        Some((registry, _)) if registry.contains(['.', ':']) || registry == "localhost" => text.to_owned(),
        Some(_) => format!("docker.io/{text}"),
        None => format!("docker.io/library/{text}"),
    };
    written("image", &whole).filter(|_| too_old(program, &whole).is_none())
}

fn balancer(text: &str) -> Option<String> {
    BALANCERS.iter().any(|balancer| balancer.name == text).then(|| text.to_owned())
}
