//! Settings that files can contain, in the order of the cluster file: one row each.

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
    /// Network of the VIP's interface; written to the cluster file once all machines are known.
    Nodes,
}

/// Rules for reading and writing a setting.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) setting: Setting,
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    /// Example of the value as written.
    pub(super) example: &'static str,
    /// Converts text to the cluster file's value, if it is valid.
    pub(super) read: fn(&str) -> Option<String>,
    /// Effect of omitting the setting.
    pub(super) otherwise: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    List,
}

/// Every setting except `nodes`, by table.
pub(super) static ROWS: &[Row] = &[
    row(Setting::Name, "cluster", "name", Shape::Text, "\"berlin\"", label, "a cluster requires a name"),
    row(
        Setting::Version,
        "cluster",
        "kubernetes",
        Shape::Text,
        "\"1.20.2\"",
        version,
        "a cluster requires a version",
    ),
    row(
        Setting::Registry,
        "cluster",
        "image-repository",
        Shape::Text,
        "\"registry.example.org/kubernetes\"",
        |text| written("image-repository", text),
        "the default is the registry that the Kubernetes version uses",
    ),
    row(
        Setting::Pause,
        "cluster.images",
        "pause",
        Shape::Text,
        "\"registry.example.org/kubernetes/pause:3.9\"",
        |text| image("pause", text),
        "the default depends on the Kubernetes version",
    ),
    row(
        Setting::Coredns,
        "cluster.images",
        "coredns",
        Shape::Text,
        "\"registry.example.org/kubernetes/coredns:v1.13.1\"",
        |text| image("coredns", text),
        "the default depends on the Kubernetes version",
    ),
    row(
        Setting::Nodes,
        "network",
        "nodes",
        Shape::Text,
        "\"10.0.0.0/24\"",
        network,
        "the network of the machines and the VIP",
    ),
    row(
        Setting::Pods,
        "network",
        "pods",
        Shape::Text,
        "\"10.244.0.0/16\"",
        network,
        "the value below is the default",
    ),
    row(
        Setting::PodsPrefix,
        "network",
        "pods-per-node-prefix",
        Shape::Number,
        "24",
        number::<u8>,
        "the value below is the default",
    ),
    row(
        Setting::Services,
        "network",
        "services",
        Shape::Text,
        "\"10.96.0.0/12\"",
        network,
        "the value below is the default",
    ),
    row(
        Setting::NodePorts,
        "network",
        "node-ports",
        Shape::Text,
        "\"30000-32767\"",
        ports,
        "the value below is the default",
    ),
    row(
        Setting::Domain,
        "network",
        "domain",
        Shape::Text,
        "\"cluster.local\"",
        domain,
        "the value below is the default",
    ),
    row(
        Setting::Interface,
        "network",
        "interface",
        Shape::Text,
        "\"lan0\"",
        interface,
        "the value below is the default",
    ),
    row(
        Setting::Plugin,
        "network",
        "plugin",
        Shape::Text,
        "\"bridge\"",
        |text| ["bridge", "flannel", "none"].contains(&text).then(|| text.to_owned()),
        "the value below is the default",
    ),
    row(
        Setting::ProxyMode,
        "network",
        "proxy-mode",
        Shape::Text,
        "\"iptables\"",
        |text| ["iptables", "nftables", "ipvs"].contains(&text).then(|| text.to_owned()),
        "the default depends on the Kubernetes version",
    ),
    row(
        Setting::Dns,
        "network",
        "dns",
        Shape::List,
        "[\"10.0.0.1\"]",
        address,
        "without name servers, the nodes can resolve only each other's names",
    ),
    row(
        Setting::Ntp,
        "network",
        "ntp",
        Shape::List,
        "[\"pool.ntp.org\"]",
        domain,
        "without time servers, the machines synchronize with each other",
    ),
    row(
        Setting::Vip,
        "endpoint",
        "vip",
        Shape::Text,
        "\"10.0.0.10\"",
        address,
        "the address that clients connect to",
    ),
    row(
        Setting::Names,
        "endpoint",
        "names",
        Shape::List,
        "[\"kubernetes.example.org\"]",
        |text| domain(text).filter(|name| name.contains('.') && address(name).is_none()),
        "without names, certificates are valid only for the addresses",
    ),
    row(
        Setting::External,
        "endpoint",
        "external-addresses",
        Shape::List,
        "[\"203.0.113.10\"]",
        address,
        "by default, no router translates addresses to the endpoint",
    ),
    row(
        Setting::Port,
        "endpoint",
        "port",
        Shape::Number,
        "8443",
        number::<u16>,
        "the default depends on the balancer",
    ),
    row(
        Setting::Balancer,
        "endpoint",
        "balancer",
        Shape::Text,
        "\"haproxy\"",
        balancer,
        "the value below is the default",
    ),
    row(
        Setting::Run,
        "endpoint",
        "run",
        Shape::Text,
        "\"service\"",
        |text| ["service", "static-pod"].contains(&text).then(|| text.to_owned()),
        "the default depends on the balancer",
    ),
    row(
        Setting::RouterId,
        "endpoint",
        "virtual-router-id",
        Shape::Number,
        "60",
        number::<u8>,
        "the default is the last byte of the VIP",
    ),
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
    row(
        Setting::NginxImage,
        "endpoint.images",
        "nginx",
        Shape::Text,
        "\"docker.io/library/nginx:1.28\"",
        |text| image("nginx", text),
        POD,
    ),
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

/// Effect of omitting an image, which matters only if the balancer runs as a pod.
const POD: &str = "the value below is the default if the balancer runs as a pod";

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
    /// Returns the setting's path, as used in problems.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.table, self.key)
    }
}

/// Converts a name to the form required in a cluster file: lower case, with `-` in place of `_` and `.`.
pub(super) fn label(text: &str) -> Option<String> {
    let text = text.to_lowercase().replace(['_', '.'], "-");
    let sound =
        text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    (sound && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-'))
        .then_some(text)
}

fn version(text: &str) -> Option<String> {
    text.parse::<KubernetesVersion>().ok().map(|version| version.to_string())
}

/// Returns the first network, truncated to its network address: a second network belongs to the other address
/// family.
fn network(text: &str) -> Option<String> {
    text.split(',').next()?.trim().parse::<IpNet>().ok().map(|network| network.trunc().to_string())
}

fn ports(text: &str) -> Option<String> {
    let text: String = text
        .chars()
        .map(|letter| if letter == '~' || letter == ':' { '-' } else { letter })
        .filter(|c| *c != ' ')
        .collect();
    text.parse::<PortRange>().is_ok().then_some(text)
}

fn address(text: &str) -> Option<String> {
    super::facts::address(text)
        .filter(|address| !address.is_unspecified() && !address.is_loopback())
        .as_ref()
        .map(IpAddr::to_string)
}

fn number<T: std::str::FromStr + ToString + Default + PartialOrd>(text: &str) -> Option<String> {
    text.parse::<T>().ok().filter(|number| *number > T::default()).map(|number| number.to_string())
}

fn domain(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.').to_lowercase();
    (!text.is_empty() && text.split('.').all(|part| label(part).is_some())).then_some(text)
}

/// Returns the text if it is valid in this cluster file format.
fn written(format: &str, text: &str) -> Option<String> {
    profile::format(format).filter(|format| (format.accepts)(text)).map(|_| text.to_owned())
}

/// Returns the name unless the kernel assigns such names itself: renaming another interface to one of them
/// can fail (systemd.link(5)).
fn interface(text: &str) -> Option<String> {
    let kernels = ["eth", "wlan"]
        .iter()
        .filter_map(|name| text.strip_prefix(name))
        .any(|rest| rest.parse::<u8>().is_ok());
    written("interface", text).filter(|_| !kernels)
}

/// Returns a program's image with its registry: an image without a registry comes from Docker Hub, and
/// one without a path from Docker Hub's library. Returns `None` if the image is too old for kiln's
/// configuration.
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
