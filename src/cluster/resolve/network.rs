//! Resolution of networks: matching address families, and sizes that Kubernetes accepts.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::Network;
use crate::cluster::resolve::draft::Draft;
use crate::words::{KubernetesVersion, NetworkPlugin, PortRange, ProxyMode};

/// kube-apiserver's limit for service networks: 20 host bits
/// (`cmd/kube-apiserver/app/options/validation.go`).
const SERVICE_BITS: u8 = 20;
/// Minimum number of host bits in a service network: the DNS service has the tenth address, and other
/// services need a few more.
const LEAST_SERVICE_BITS: u8 = 4;
/// kube-controller-manager's limit: it allocates at most 2^16 pod networks
/// (`pkg/controller/nodeipam/ipam/cidrset`).
const POD_NETWORK_BITS: u8 = 16;

pub(super) fn resolve(draft: &mut Draft<'_>, version: Option<KubernetesVersion>) -> Option<Network> {
    let section = &draft.profile.document.network;
    let nodes = draft.required("network.nodes", section.nodes.as_ref(), "\"10.0.0.0/24\"").copied();
    let pods = draft.required("network.pods", section.pods.as_ref(), "\"10.244.0.0/16\"").copied();
    let services = draft.required("network.services", section.services.as_ref(), "\"10.96.0.0/12\"").copied();
    let prefix = section.pods_per_node_prefix.or(pods.as_ref().map(usual_prefix));
    if let (Some(pods), Some(services)) = (pods, services) {
        check_services(draft, &pods, &services);
    }
    if let (Some(pods), Some(prefix)) = (pods, prefix) {
        check_pods(draft, &pods, prefix);
    }
    if let (Some(mode), Some(version)) = (section.proxy_mode, version) {
        check_proxy_mode(draft, mode, version);
    }
    if let (Some(plugin), Some(version)) = (section.plugin, version) {
        check_plugin(draft, plugin, version);
    }
    if let Some(nodes) = nodes {
        check_gateway(draft, &nodes, section.gateway);
    }
    Some(Network {
        nodes: nodes?,
        pods: pods?,
        pods_per_node_prefix: prefix?,
        services: services?,
        node_ports: section.node_ports.unwrap_or(PortRange { first: 30000, last: 32767 }),
        plugin: section.plugin.unwrap_or_default(),
        proxy_mode: section.proxy_mode,
        domain: section.domain.clone().unwrap_or_else(|| "cluster.local".into()),
        gateway: section.gateway,
        dns: section.dns.clone().unwrap_or_default(),
        ntp: section.ntp.clone().unwrap_or_default(),
        interface: section.interface.clone().unwrap_or_else(|| "lan0".into()),
    })
}

fn check_services(draft: &mut Draft<'_>, pods: &IpNet, services: &IpNet) {
    if is_v4(pods) != is_v4(services) {
        let message =
            format!("the service network is {}, but the pod network is {}", family(services), family(pods));
        draft.wrong("network.services", message, "use the same address family for both networks");
    }
    let bits = services.max_prefix_len() - services.prefix_len();
    let (least, most) =
        (services.max_prefix_len() - SERVICE_BITS, services.max_prefix_len() - LEAST_SERVICE_BITS);
    if !(LEAST_SERVICE_BITS..=SERVICE_BITS).contains(&bits) {
        let size = if bits > SERVICE_BITS {
            "larger than kube-apiserver accepts"
        } else {
            "too small for the cluster's own services"
        };
        draft.wrong(
            "network.services",
            format!("`{services}` is {size}"),
            format!("choose a prefix length from /{least} to /{most}"),
        );
    }
}

fn check_pods(draft: &mut Draft<'_>, pods: &IpNet, prefix: u8) {
    let longest = (pods.max_prefix_len() - 2).min(pods.prefix_len() + POD_NETWORK_BITS);
    if !(pods.prefix_len()..=longest).contains(&prefix) {
        let message = format!("`{pods}` can't be divided into /{prefix} networks");
        draft.wrong(
            "network.pods-per-node-prefix",
            message,
            format!("choose a prefix length from /{} to /{longest}", pods.prefix_len()),
        );
    }
}

/// Returns the controller manager's default prefix length (`--node-cidr-mask-size-ipv4` and `-ipv6`).
fn usual_prefix(pods: &IpNet) -> u8 {
    if is_v4(pods) { 24 } else { 64 }
}

fn check_proxy_mode(draft: &mut Draft<'_>, mode: ProxyMode, version: KubernetesVersion) {
    let span = mode.row().span;
    if !span.covers(version.minor) {
        let message =
            format!("kube-proxy in Kubernetes {version} does not support the mode `{}`", mode.name());
        draft.wrong(
            "network.proxy-mode",
            message,
            format!("remove `proxy-mode`, or use Kubernetes 1.{} or later", span.introduced),
        );
    }
}

fn check_plugin(draft: &mut Draft<'_>, plugin: NetworkPlugin, version: KubernetesVersion) {
    let since = plugin.since();
    if version.minor < since {
        let message = format!("Kubernetes {version} does not support the API objects of this network plugin");
        draft.wrong(
            "network.plugin",
            message,
            format!("remove the setting, or use Kubernetes 1.{since} or later"),
        );
    }
}

fn check_gateway(draft: &mut Draft<'_>, nodes: &IpNet, gateway: Option<IpAddr>) {
    if let Some(gateway) = gateway.filter(|gateway| !nodes.contains(gateway)) {
        let message = format!(
            "the gateway `{gateway}` is outside the node network `{}`, so no node can reach it",
            nodes.trunc()
        );
        draft.wrong("network.gateway", message, "set `gateway` to the router's address in the node network");
    }
}

fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}

fn family(network: &IpNet) -> &'static str {
    if is_v4(network) { "IPv4" } else { "IPv6" }
}
