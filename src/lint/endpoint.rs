//! What clients dial, as files show it: the VIP, its port, the names in the certificate.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::{Document, Fleet, Node, Word};
use crate::lint::Lint;
use crate::lint::certificates::of_api_servers;
use crate::lint::found::Found;
use crate::lint::listen::nonlocal_bind;
use crate::lint::vocabulary::{address, host, host_name, is_private, kubeconfigs, machines, masters, network, own_vips, services, vips};

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA001", "the API server's certificate does not name what clients dial")
        .why("clients refuse a certificate that does not name the VIP, the balancer or the name that they dial; adding one later means a new certificate for every API server")
        .fix("list the VIP, every balancer, every name and every control-plane node, also those to come")
        .files(endpoint_names),
    Lint::error("HA007", "the VIP is another in every file")
        .why("clients dial one address and machines hold another: it is a mistake of copying, and nothing answers")
        .fix("write the VIP once, and make all files from there")
        .files(different_vips),
    Lint::error("HA016", "the agents of nodes dial one API server")
        .why("when that machine is down its nodes are NotReady and their pods are moved, though the cluster is well")
        .fix("write the VIP, or a balancer of the node itself, into the kubeconfig")
        .files(one_master),
    Lint::info("HA017", "controllers reach the API through the VIP")
        .why("during an update they may meet a server that is older than they are, and the VIP that they help to keep is what they wait for")
        .fix("let them ask the API server of their own machine")
        .files(controllers_by_vip),
    Lint::error("HA111", "the API server's certificate lacks the names that pods use")
        .why("pods call `kubernetes.default.svc` at the first service address; every controller inside the cluster fails without them")
        .fix("list kubernetes, kubernetes.default, kubernetes.default.svc, the name with the cluster's domain, and the first service address")
        .files(service_names),
    Lint::error("HA315", "the balancer binds to the VIP where it is not")
        .why("on the machine that waits the address does not exist yet: the balancer does not start, and when the VIP comes nothing listens")
        .fix("set `net.ipv4.ip_nonlocal_bind = 1`, or add `transparent` to the `bind` line")
        .files(nonlocal_bind),
];

fn different_vips<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips = vips(fleet);
    strangers(fleet, &vips, found);
    let Some((first_document, first)) = vips.first() else { return };
    // One machine may well carry two.
    let several: BTreeSet<Option<IpAddr>> = fleet.keepalived("vrrp_instance").flat_map(|block| own_vips(block)).collect();
    for (document, word) in &vips[1..] {
        let known = several.contains(&address(*word)) && several.contains(&address(*first));
        if address(*word) != address(*first) && !known {
            found.at(document, *word, format!("the VIP is `{}` here and `{}` in `{}`", word.text, first.text, first_document.path));
        }
    }
}

/// Kubeconfigs whose server is neither a VIP nor a machine that is known, where both are.
fn strangers<'a>(fleet: &Fleet<'a>, vips: &[(&Document<'a>, Word<'a>)], found: &mut Found<'a>) {
    let masters = masters(fleet);
    let Some((first, vip)) = vips.first().filter(|_| !masters.is_empty()) else { return };
    let known: BTreeSet<IpAddr> = vips.iter().filter_map(|(_, word)| address(*word)).chain(masters).chain(machines(fleet)).collect();
    for (document, _, word) in kubeconfigs(fleet) {
        if url_address(word).is_some_and(|address| !address.is_loopback() && !known.contains(&address)) {
            found.at(
                document,
                word,
                format!("nothing here has the address of `{}`; the VIP is `{}` in `{}`", word.text, vip.text, first.path),
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
    let of_agents = |path: &str| ["kubelet", "kube-proxy", "bootstrap"].iter().any(|agent| path.contains(agent));
    for (document, _, word) in kubeconfigs(fleet).filter(|(_, path, _)| of_agents(path)) {
        let server = word.text.trim_start_matches("https://").trim_end_matches('/');
        // A control-plane node may well ask its own server.
        let own = fleet.programs("kube-apiserver").any(|server| server.machine == document.machine);
        if masters.len() > 1 && !own && host(server).is_some_and(|address| masters.contains(&address)) {
            found.at(document, word, format!("`{server}` is one API server of {}", masters.len()));
        }
    }
}

fn controllers_by_vip<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips: BTreeSet<IpAddr> = vips(fleet).into_iter().filter_map(|(_, word)| address(word)).collect();
    let of_controllers = |path: &str| path.contains("controller-manager") || path.contains("scheduler");
    let of_files = kubeconfigs(fleet).filter(|(_, path, _)| of_controllers(path)).map(|(document, _, word)| (document, word));
    let controllers = fleet.invocations.iter().filter(|invocation| of_controllers(invocation.program));
    let of_flags = controllers.filter_map(|invocation| invocation.flag("master"));
    for (document, word) in of_files.chain(of_flags.map(|flag| (&fleet.documents[flag.document], flag.value))) {
        if url_address(word).is_some_and(|address| vips.contains(&address)) {
            found.at(document, word, "this component asks any API server through the VIP");
        }
    }
}

fn url_address(word: Word<'_>) -> Option<IpAddr> {
    host_name(word.text)?.parse().ok()
}

/// The names that a certificate of the API server lists, or a request for one, with their place.
fn named<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<(&'f Document<'a>, Word<'a>, BTreeSet<Cow<'a, str>>)> {
    let requests = fleet.manifests().filter_map(|(document, node)| {
        let hosts = node.get("hosts")?;
        let names: BTreeSet<Cow<'a, str>> = hosts.items().iter().filter_map(Node::scalar).map(|word| Cow::Borrowed(word.text)).collect();
        let of_server =
            names.iter().any(|name| name.starts_with("kubernetes")) || node.text("CN").is_some_and(|name| name.text.contains("apiserver"));
        of_server.then_some((document, hosts.word, names))
    });
    requests.chain(of_api_servers(fleet)).collect()
}

fn endpoint_names<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips: BTreeSet<IpAddr> = vips(fleet).into_iter().filter_map(|(_, word)| address(word)).collect();
    let named = named(fleet);
    let dialled: BTreeSet<&str> = kubeconfigs(fleet).filter_map(|(_, _, word)| host_name(word.text)).filter(|name| is_name(name)).collect();
    for (document, place, names) in &named {
        for name in dialled.iter().filter(|name| !names.iter().any(|known| covers(known, name))) {
            found.at(document, *place, format!("`{name}` is not among the names"));
        }
        for vip in vips.iter().filter(|vip| !names.iter().any(|name| name.parse() == Ok(**vip))) {
            found.at(document, *place, format!("`{vip}` is not among the names"));
        }
    }
    if named.is_empty() {
        copied_certificates(fleet, found);
    }
}

/// Whether a host is called by a name that somebody chose: no address, no placeholder, not the machine itself.
fn is_name(host: &str) -> bool {
    let plain = host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
    plain && host != "localhost" && host.parse::<IpAddr>().is_err()
}

/// Whether a name of a certificate is the host's, or stands for all of its domain.
fn covers(known: &str, host: &str) -> bool {
    let wildcard = known.strip_prefix("*.").is_some_and(|domain| host.split_once('.').is_some_and(|(_, rest)| rest == domain));
    wildcard || known.eq_ignore_ascii_case(host)
}

/// Machines that get another's certificate, of which nothing says that it names them.
fn copied_certificates<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["scp"])) {
        let last = |word: &Word<'a>| word.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let keys = command.words.iter().any(|word| ["kubernetes", "ssl", "pki"].contains(&last(word)));
        if let Some(target) = command.words.last().filter(|word| keys && word.text.contains(':')) {
            let host = target.text.split(':').next().unwrap_or_default();
            let message = format!("`{host}` gets another machine's certificate, and nothing here says that it names `{host}` and the VIP");
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
            found.at(document, place, format!("`{first}`, the first service address, is not among the names"));
        }
        let missing: Vec<&str> = NAMES.into_iter().filter(|name| !has(name)).collect();
        if !missing.is_empty() {
            found.at(document, place, format!("{} is not among the names", missing.join(", ")));
        }
    }
}
