//! Networks in files (flags, the kubeadm configuration and variables), compared with each other.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::config::{Document, Fleet, Setting as Line};
use crate::lint::found::Found;
use crate::lint::vocabulary::{host, is_private, machines, network, parts, pods, services, values};

/// Docker's default bridge network.
const DOCKER: &str = "172.17.0.0/16";

/// Default pod limit of a kubelet.
const PODS: u64 = 110;

/// Default node port range.
const NODE_PORTS: (u16, u16) = (30000, 32767);

/// Ports that the cluster machines themselves need.
const OWN_PORTS: [u16; 9] = [22, 2379, 2380, 6443, 8443, 10250, 10256, 10257, 10259];

/// The network used in most homes and offices.
pub(super) const LAN: &str = "192.168.0.0/16";

pub(in crate::lint) fn host_bits<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for setting in pods(fleet).iter().chain(&services(fleet)) {
        if let Some(network) = network(setting).filter(|network| *network != network.trunc()) {
            found.at(
                setting.document,
                setting.word,
                format!("`{network}` has host bits set: the network is `{}`", network.trunc()),
            );
        }
    }
}

pub(in crate::lint) fn overlap<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let (pods, services) = (pods(fleet), services(fleet));
    let docker: IpNet = DOCKER.parse().expect("the network is a constant");
    let machines = machines(fleet);
    for (name, setting) in
        pods.iter().map(|setting| ("pod", setting)).chain(services.iter().map(|setting| ("service", setting)))
    {
        let Some(network) = network(setting) else { continue };
        let overlaps =
            |other: &IpNet| network.contains(&other.network()) || other.contains(&network.network());
        if let Some(address) = machines.iter().find(|address| network.contains(*address)) {
            found.at(
                setting.document,
                setting.word,
                format!("the {name} network `{network}` contains the machine address `{address}`"),
            );
        } else if name == "pod"
            && services
                .iter()
                .filter_map(|setting| setting.word.text.parse().ok())
                .any(|other| overlaps(&other))
        {
            found.at(
                setting.document,
                setting.word,
                format!("the pod network overlaps the service network in `{network}`"),
            );
        } else if overlaps(&docker) && has_docker_bridge(fleet) {
            found.at(
                setting.document,
                setting.word,
                format!("`{network}` overlaps Docker's bridge network {docker}"),
            );
        }
    }
}

/// Checks whether a machine runs Docker with its bridge network, which exists unless disabled.
fn has_docker_bridge(fleet: &Fleet<'_>) -> bool {
    let without: BTreeSet<&str> = fleet
        .manifests()
        .filter(|(document, node)| {
            document.path.ends_with("/docker/daemon.json")
                && node.text("bridge").is_some_and(|word| word.text == "none")
        })
        .map(|(document, _)| document.machine)
        .collect();
    fleet.programs("dockerd").any(|daemon| !without.contains(daemon.machine))
}

pub(in crate::lint) fn lan<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for setting in pods(fleet) {
        if setting.word.text == LAN {
            found.at(setting.document, setting.word, format!("pods receive addresses from {LAN}"));
        }
    }
}

/// Returns the highest pod limit configured for any kubelet.
fn most_pods(fleet: &Fleet<'_>) -> u64 {
    let of_flags = values(fleet, &["max-pods"], &[]).into_iter().map(|setting| setting.word);
    let of_files = fleet.of_kind("KubeletConfiguration").filter_map(|(_, node)| node.text("maxPods"));
    of_flags.chain(of_files).filter_map(|word| word.text.parse().ok()).max().unwrap_or(PODS)
}

pub(in crate::lint) fn pods_per_node<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let most = most_pods(fleet);
    for setting in values(fleet, &["node-cidr-mask-size", "node-cidr-mask-size-ipv4"], &["FLANNEL_SUBNETLEN"])
    {
        let addresses = setting
            .word
            .text
            .parse::<u32>()
            .ok()
            .filter(|prefix| (1..32).contains(prefix))
            .map(|prefix| (1u64 << (32 - prefix)) - 2);
        if let Some(addresses) = addresses.filter(|addresses| *addresses < most) {
            let message = format!(
                "/{} provides {addresses} pod addresses per node, but a node runs up to {most} pods",
                setting.word.text
            );
            found.at(setting.document, setting.word, message);
        }
    }
}

/// Parses a port range: `30000-32767`, or `32768 60999` as in sysctl files.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(['-', ' ', '\t'])?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

pub(in crate::lint) fn node_ports<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let settings = values(fleet, &["service-node-port-range"], &["NODE_PORT_RANGE"]);
    for setting in &settings {
        let Some((first, last)) = range(setting.word.text) else { continue };
        let taken: Vec<String> =
            OWN_PORTS.iter().filter(|port| (first..=last).contains(port)).map(ToString::to_string).collect();
        if !taken.is_empty() || last >= 32768 {
            let outgoing = (last >= 32768).then(|| "the ports for outgoing connections".to_owned());
            let of_machines = (!taken.is_empty()).then(|| taken.join(", "));
            let all: Vec<String> = of_machines.into_iter().chain(outgoing).collect();
            found.at(
                setting.document,
                setting.word,
                format!("`{first}-{last}` includes ports that machines need: {}", all.join(" and ")),
            );
        }
    }
    outgoing_ports(
        fleet,
        settings.iter().find_map(|setting| range(setting.word.text)).unwrap_or(NODE_PORTS),
        found,
    );
}

/// Reports machines whose outgoing connections may use node ports.
fn outgoing_ports<'a>(fleet: &Fleet<'a>, ports: (u16, u16), found: &mut Found<'a>) {
    let named = |name: &'static str| {
        move |(_, line): &(&Document<'a>, &Line<'a>)| line.key.text.replace('/', ".").ends_with(name)
    };
    for (document, line) in fleet.settings("sysctl").filter(named("ip_local_port_range")) {
        let reserved =
            fleet.on(document.machine).settings("sysctl").filter(named("ip_local_reserved_ports")).any(
                |(_, reserved)| {
                    reserved
                        .value
                        .text
                        .split(',')
                        .filter_map(range)
                        .any(|(first, last)| first <= ports.0 && ports.1 <= last)
                },
            );
        if range(line.value.text).is_some_and(|(first, last)| first <= ports.1 && ports.0 <= last)
            && !reserved
        {
            found.at(
                document,
                line.value,
                format!(
                    "outgoing connections from `{}` may use the node ports {}-{}",
                    document.machine, ports.0, ports.1
                ),
            );
        }
    }
}

pub(in crate::lint) fn public_nodes<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for setting in parts(values(fleet, &["advertise-address", "node-ip"], &[])) {
        if host(setting.word.text).is_some_and(|address| {
            !address.is_unspecified() && !address.is_loopback() && !is_private(address)
        }) {
            found.at(setting.document, setting.word, format!("`{}` is a public address", setting.word.text));
        }
    }
}
