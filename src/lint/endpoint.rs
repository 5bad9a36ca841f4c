//! Lints for the API endpoint in files: the VIP, its port, the names in the certificate.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::{Document, Fleet, Node, Word};
use crate::lint::Lint;
use crate::lint::certificates::of_api_servers;
use crate::lint::found::Found;
use crate::lint::listen::nonlocal_bind;
use crate::lint::vocabulary::{
    address, host, host_name, is_private, kubeconfigs, machines, masters, network, own_vips, services, vips,
};

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA001", "the API server certificate lacks a name or address that clients use")
        .why(
            "clients reject a certificate without the VIP, balancer address or name that they connect to; \
            adding one later requires a new certificate for every API server",
        )
        .fix(
            "list in the certificate the VIP, every balancer, every DNS name that clients use, and every \
            control-plane node, including planned ones",
        )
        .files(endpoint_names),
    Lint::error("HA007", "files specify different VIPs")
        .why(
            "clients connect to one address, but machines hold another, so nothing responds; this is \
            usually a copy-and-paste mistake",
        )
        .fix("define the VIP once, and generate all files from it")
        .files(different_vips),
    Lint::error("HA016", "node agents connect to a single API server")
        .why(
            "when that server is down, nodes that use it become NotReady and their pods are evicted, \
            although the cluster is healthy",
        )
        .fix("set the server in the kubeconfig to the VIP, or to a balancer on the node itself")
        .files(one_master),
    Lint::info("HA017", "controllers connect to the API server through the VIP")
        .why(
            "during an update a controller may connect to an API server of an older version, and controllers \
            depend on the VIP that they help keep available",
        )
        .fix("connect each controller to the API server on the same machine")
        .files(controllers_by_vip),
    Lint::error("HA111", "the API server certificate lacks the names that pods use")
        .why(
            "pods connect to `kubernetes.default.svc` at the first service address; without these names \
            every controller in the cluster fails",
        )
        .fix(
            "list kubernetes, kubernetes.default, kubernetes.default.svc, the full name with the cluster \
            domain, and the first service address",
        )
        .files(service_names),
    Lint::error("HA315", "the balancer can't bind to the VIP on machines that do not hold it")
        .why(
            "a standby machine does not have the address: the balancer fails to start there, and nothing is \
            listening when the VIP moves to that machine",
        )
        .fix("set `net.ipv4.ip_nonlocal_bind = 1`, or add `transparent` to the `bind` line")
        .files(nonlocal_bind),
];

fn different_vips<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips = vips(fleet);
    strangers(fleet, &vips, found);
    let Some((first_document, first)) = vips.first() else { return };
    // One machine may hold several VIPs.
    let several: BTreeSet<Option<IpAddr>> =
        fleet.keepalived("vrrp_instance").flat_map(|block| own_vips(block)).collect();
    for (document, word) in &vips[1..] {
        let known = several.contains(&address(*word)) && several.contains(&address(*first));
        if address(*word) != address(*first) && !known {
            found.at(
                document,
                *word,
                format!("the VIP is `{}` here, but `{}` in `{}`", word.text, first.text, first_document.path),
            );
        }
    }
}

/// Reports kubeconfigs whose server is neither a VIP nor a known machine, if the VIP and the API servers are
/// known.
fn strangers<'a>(fleet: &Fleet<'a>, vips: &[(&Document<'a>, Word<'a>)], found: &mut Found<'a>) {
    let masters = masters(fleet);
    let Some((first, vip)) = vips.first().filter(|_| !masters.is_empty()) else { return };
    let known: BTreeSet<IpAddr> =
        vips.iter().filter_map(|(_, word)| address(*word)).chain(masters).chain(machines(fleet)).collect();
    for (document, _, word) in kubeconfigs(fleet) {
        if url_address(word).is_some_and(|address| !address.is_loopback() && !known.contains(&address)) {
            found.at(
                document,
                word,
                format!(
                    "no known machine has the address in `{}`; the VIP is `{}` in `{}`",
                    word.text, vip.text, first.path
                ),
            );
        }
    }
}

pub(super) fn public_vips<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, word) in vips(fleet) {
        if address(word).is_some_and(|address| !is_private(address)) {
            found.at(document, word, format!("`{}` is a public address", word.text));
        }
    }
}

fn one_master<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let masters = masters(fleet);
    let of_agents =
        |path: &str| ["kubelet", "kube-proxy", "bootstrap"].iter().any(|agent| path.contains(agent));
    for (document, _, word) in kubeconfigs(fleet).filter(|(_, path, _)| of_agents(path)) {
        let server = word.text.trim_start_matches("https://").trim_end_matches('/');
        // A control-plane node may use its own API server.
        let own = fleet.programs("kube-apiserver").any(|server| server.machine == document.machine);
        if masters.len() > 1 && !own && host(server).is_some_and(|address| masters.contains(&address)) {
            found.at(document, word, format!("`{server}` is only one of {} API servers", masters.len()));
        }
    }
}

fn controllers_by_vip<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips: BTreeSet<IpAddr> = vips(fleet).into_iter().filter_map(|(_, word)| address(word)).collect();
    let of_controllers = |path: &str| path.contains("controller-manager") || path.contains("scheduler");
    let of_files = kubeconfigs(fleet)
        .filter(|(_, path, _)| of_controllers(path))
        .map(|(document, _, word)| (document, word));
    let controllers = fleet.invocations.iter().filter(|invocation| of_controllers(invocation.program));
    let of_flags = controllers.filter_map(|invocation| invocation.flag("master"));
    for (document, word) in of_files.chain(of_flags.map(|flag| (&fleet.documents[flag.document], flag.value)))
    {
        if url_address(word).is_some_and(|address| vips.contains(&address)) {
            found.at(document, word, "through the VIP, this component may reach any API server");
        }
    }
}

fn url_address(word: Word<'_>) -> Option<IpAddr> {
    host_name(word.text)?.parse().ok()
}

/// Returns the names in API server certificates and in requests for them, with their location.
fn named<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<(&'f Document<'a>, Word<'a>, BTreeSet<Cow<'a, str>>)> {
    let requests = fleet.manifests().filter_map(|(document, node)| {
        let hosts = node.get("hosts")?;
        let names: BTreeSet<Cow<'a, str>> =
            hosts.items().iter().filter_map(Node::scalar).map(|word| Cow::Borrowed(word.text)).collect();
        let of_server = names.iter().any(|name| name.starts_with("kubernetes"))
            || node.text("CN").is_some_and(|name| name.text.contains("apiserver"));
        of_server.then_some((document, hosts.word, names))
    });
    requests.chain(of_api_servers(fleet)).collect()
}

fn endpoint_names<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips: BTreeSet<IpAddr> = vips(fleet).into_iter().filter_map(|(_, word)| address(word)).collect();
    let named = named(fleet);
    let dialled: BTreeSet<&str> = kubeconfigs(fleet)
        .filter_map(|(_, _, word)| host_name(word.text))
        .filter(|name| is_name(name))
        .collect();
    for (document, place, names) in &named {
        for name in dialled.iter().filter(|name| !names.iter().any(|known| covers(known, name))) {
            found.at(document, *place, format!("the certificate lacks `{name}`"));
        }
        for vip in vips.iter().filter(|vip| !names.iter().any(|name| name.parse() == Ok(**vip))) {
            found.at(document, *place, format!("the certificate lacks `{vip}`"));
        }
    }
    if named.is_empty() {
        copied_certificates(fleet, found);
    }
}

/// Checks whether a host is a DNS name, and not an address, a placeholder or `localhost`.
fn is_name(host: &str) -> bool {
    let plain = host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
    plain && host != "localhost" && host.parse::<IpAddr>().is_err()
}

/// Checks whether a name in a certificate covers the host, directly or as a wildcard.
fn covers(known: &str, host: &str) -> bool {
    let wildcard = known
        .strip_prefix("*.")
        .is_some_and(|domain| host.split_once('.').is_some_and(|(_, rest)| rest == domain));
    wildcard || known.eq_ignore_ascii_case(host)
}

/// Reports machines that receive a copy of another machine's certificate, which may lack their names.
fn copied_certificates<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["scp"])) {
        let last = |word: &Word<'a>| word.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let keys = command.words.iter().any(|word| ["kubernetes", "ssl", "pki"].contains(&last(word)));
        if let Some(target) = command.words.last().filter(|word| keys && word.text.contains(':')) {
            let host = target.text.split(':').next().unwrap_or_default();
            let message = format!(
                "`{host}` receives a copy of another machine's certificate, which may lack `{host}` and the \
                VIP"
            );
            found.at(document, *target, message);
        }
    }
}

fn service_names<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const NAMES: [&str; 3] = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let first = services(fleet).iter().find_map(network).and_then(|network| network.trunc().hosts().next());
    for (document, place, names) in named(fleet) {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        if let Some(first) = first.filter(|first| !has(&first.to_string())) {
            found.at(document, place, format!("the certificate lacks `{first}`, the first service address"));
        }
        let missing: Vec<&str> = NAMES.into_iter().filter(|name| !has(name)).collect();
        if !missing.is_empty() {
            found.at(document, place, format!("the certificate lacks {}", missing.join(", ")));
        }
    }
}
