//! Values that lints read from a cluster's files: VIPs, API servers, machines, networks, kubeconfigs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Block, Document, Fleet, Node, Word};

/// Programs that run as units, which packages provide and systemd supervises.
pub(super) const COMPONENTS: [&str; 10] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "etcd",
    "haproxy",
    "keepalived",
    "containerd",
    "docker",
];

/// Returns every VIP with its location: in keepalived, kube-vip and kubeadm configurations, and in script
/// variables.
pub(crate) fn vips<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<(&'f Document<'a>, Word<'a>)> {
    let of_keepalived = fleet.keepalived("vrrp_instance").flat_map(|block| {
        let lines = block.statement.all(&["virtual_ipaddress"]).flat_map(|list| &list.body);
        lines.map(move |line| (block.document, line.name())).collect::<Vec<_>>()
    });
    let of_kubeadm = fleet
        .of_kind("ClusterConfiguration")
        .filter_map(|(document, node)| Some((document, node.text("controlPlaneEndpoint")?)));
    let of_scripts = fleet.commands().flat_map(|(document, command)| {
        let variables = command.words.iter().filter_map(|word| word.split_once('='));
        variables
            .filter(|(name, _)| name.text == "VIP")
            .map(|(_, value)| (document, value.unquoted()))
            .collect::<Vec<_>>()
    });
    let of_pods = fleet.manifests().flat_map(|(document, node)| {
        let variables = node.find_all("env").into_iter().flat_map(Node::items);
        let address = variables.filter(|item| item.text("name").is_some_and(|name| name.text == "address"));
        address.filter_map(|item| item.text("value")).map(move |word| (document, word)).collect::<Vec<_>>()
    });
    let all = of_keepalived.chain(of_kubeadm).chain(of_scripts).chain(of_pods);
    // If every machine has its own balancer, kubeadm's endpoint is a loopback address.
    all.filter(|(_, word)| {
        host(word.text.split('/').next().unwrap_or_default()).is_some_and(|address| !address.is_loopback())
    })
    .collect()
}

pub(super) fn own_vips(block: Block<'_, '_>) -> Vec<Option<IpAddr>> {
    block
        .statement
        .all(&["virtual_ipaddress"])
        .flat_map(|list| &list.body)
        .map(|line| address(line.name()))
        .collect()
}

/// Returns the server in each kubeconfig with the kubeconfig's path, from files and from `kubectl config`
/// commands.
pub(super) fn kubeconfigs<'f, 'a>(
    fleet: &'f Fleet<'a>,
) -> impl Iterator<Item = (&'f Document<'a>, &'a str, Word<'a>)> {
    let files =
        fleet.manifests().filter(|(_, node)| node.get("clusters").is_some()).flat_map(|(document, node)| {
            node.find_all("server")
                .into_iter()
                .filter_map(Node::scalar)
                .map(move |word| (document, document.path, word))
                .collect::<Vec<_>>()
        });
    let written = fleet
        .commands()
        .filter(|(_, command)| command.runs(&["kubectl", "config", "set-cluster"]))
        .filter_map(|(document, command)| {
            Some((document, command.value("--kubeconfig")?.text, command.value("--server")?))
        });
    files.chain(written)
}

/// Returns the host in a URL, in an address with or without a port, or in an etcd member such as
/// `m1=https://10.0.0.11:2380`.
pub(crate) fn host_name(text: &str) -> Option<&str> {
    let authority = text.rsplit("://").next()?.split('/').next()?;
    let authority = if text.contains("://") { authority } else { authority.rsplit('=').next()? };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':'))
            .map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then_some(host)
}

/// Returns the address in `10.0.0.1`, `10.0.0.1:6443` or `[fd00::1]:6443`.
pub(crate) fn host(text: &str) -> Option<IpAddr> {
    let whole = text.parse().ok();
    whole.or_else(|| text.rsplit_once(':').and_then(|(host, _)| host.trim_matches(['[', ']']).parse().ok()))
}

pub(super) fn address(word: Word<'_>) -> Option<IpAddr> {
    host(word.text.split('/').next()?)
}

/// Returns the addresses of API servers, from balancer configurations and the servers' own flags.
pub(super) fn masters(fleet: &Fleet<'_>) -> BTreeSet<IpAddr> {
    let backends = fleet.haproxy(&["backend", "listen"]).flat_map(|block| {
        block.statement.all(&["server"]).filter_map(|server| server.words.get(2)).collect::<Vec<_>>()
    });
    let of_balancers =
        backends.filter(|word| word.text.ends_with(":6443")).filter_map(|word| host(word.text));
    let flags = fleet
        .programs("kube-apiserver")
        .filter_map(|server| server.value("advertise-address"))
        .filter_map(host);
    of_balancers.chain(flags).filter(|address| !address.is_unspecified()).collect()
}

/// Returns the addresses of machines: advertised addresses, addresses of etcd members and API servers, and
/// VIPs.
pub(super) fn machines(fleet: &Fleet<'_>) -> BTreeSet<IpAddr> {
    let flags = [
        "advertise-address",
        "bind-address",
        "node-ip",
        "initial-advertise-peer-urls",
        "etcd-servers",
        "initial-cluster",
    ];
    let texts = flags
        .iter()
        .flat_map(|name| fleet.invocations.iter().filter_map(|invocation| invocation.value(name)));
    let of_flags = texts.flat_map(|text| text.split([',', '/', '='])).filter_map(host);
    let of_vips =
        vips(fleet).into_iter().filter_map(|(_, word)| host(word.text.split('/').next().unwrap_or_default()));
    of_flags.chain(of_vips).filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// A setting's value in a flag or variable, with its location.
pub(super) struct Setting<'f, 'a> {
    pub(super) document: &'f Document<'a>,
    pub(super) word: Word<'a>,
}

/// Returns the values of flags, and of variables whose names end with one of the suffixes.
pub(super) fn values<'f, 'a>(
    fleet: &'f Fleet<'a>,
    flags: &[&str],
    variables: &[&str],
) -> Vec<Setting<'f, 'a>> {
    let of_flags =
        fleet.invocations.iter().flat_map(|invocation| flags.iter().filter_map(|name| invocation.flag(name)));
    let mut found: Vec<Setting<'f, 'a>> = of_flags
        .map(|flag| Setting { document: &fleet.documents[flag.document], word: flag.value })
        .collect();
    for document in &fleet.documents {
        let settings = document.content.settings().into_iter().flatten();
        let named = settings.filter(|setting| ends_so(setting.key.text, variables));
        found.extend(named.map(|setting| Setting { document, word: setting.value }));
    }
    for (document, node) in fleet.manifests() {
        // Ansible group and host variables.
        let own = node
            .entries()
            .iter()
            .filter(|(name, _)| document.path.contains("_vars/") && ends_so(name.text, variables));
        found.extend(own.filter_map(|(_, value)| Some(Setting { document, word: value.scalar()? })));
        let keys = flags.iter().filter_map(|flag| match *flag {
            "cluster-cidr" => node.text("networking.podSubnet"),
            "service-cluster-ip-range" => node.text("networking.serviceSubnet"),
            _ => None,
        });
        found.extend(keys.map(|word| Setting { document, word }));
    }
    found
}

fn ends_so(name: &str, ends: &[&str]) -> bool {
    let name = name.to_uppercase();
    ends.iter().any(|end| name.ends_with(end))
}

pub(super) fn pods<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Setting<'f, 'a>> {
    let mut found =
        values(fleet, &["cluster-cidr"], &["FLANNEL_NET", "CLUSTER_CIDR", "POD_CIDR", "KUBE_PODS_SUBNET"]);
    let of_proxies = fleet
        .of_kind("KubeProxyConfiguration")
        .filter_map(|(document, node)| Some((document, node.text("clusterCIDR")?)));
    found.extend(of_proxies.map(|(document, word)| Setting { document, word }));
    parts(found)
}

pub(super) fn services<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Setting<'f, 'a>> {
    parts(values(
        fleet,
        &["service-cluster-ip-range"],
        &["SERVICE_CLUSTER_IP_RANGE", "SERVICE_CIDR", "KUBE_SERVICE_ADDRESSES"],
    ))
}

/// Splits values that list one network per address family.
pub(super) fn parts<'f, 'a>(settings: Vec<Setting<'f, 'a>>) -> Vec<Setting<'f, 'a>> {
    let one = |Setting { document, word }| {
        let parts: Vec<Word<'a>> = word
            .pieces(|letter| letter == ',')
            .map(Word::trim)
            .filter(|part| !part.text.is_empty())
            .collect();
        parts.into_iter().map(move |word| Setting { document, word })
    };
    settings.into_iter().flat_map(one).collect()
}

pub(super) fn network(setting: &Setting<'_, '_>) -> Option<IpNet> {
    setting.word.text.parse().ok()
}

pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        // 100.64.0.0/10 is shared address space (RFC 6598); documentation ranges (RFC 5737) appear in
        // examples.
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local() || v6.is_unicast_link_local() || v6.segments()[..2] == [0x2001, 0xdb8]
        }
    }
}
