//! Machine roles derived from files: etcd members, servers behind balancers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::streams;
use crate::config::{Block, Fleet, Invocation, Node, Statement};
use crate::lint::found::Found;
use crate::lint::vocabulary::{Setting, address, host_name, masters, values, vips};

/// Returns the addresses or host names of the etcd members in a list of URLs.
fn members(text: &str) -> BTreeSet<&str> {
    text.split(',').filter_map(host_name).collect()
}

fn addresses(members: &BTreeSet<&str>) -> BTreeSet<IpAddr> {
    members.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Returns the etcd member lists, each with its location.
fn member_lists<'f, 'a>(fleet: &'f Fleet<'a>, flags: &[&str]) -> Vec<(Setting<'f, 'a>, BTreeSet<&'a str>)> {
    let of_flags = values(fleet, flags, &[]).into_iter().map(|setting| {
        let members = members(setting.word.text);
        (setting, members)
    });
    let of_kubeadm = fleet.of_kind("ClusterConfiguration").filter_map(|(document, node)| {
        let endpoints = node.get("etcd.external.endpoints")?;
        let members = endpoints
            .items()
            .iter()
            .filter_map(Node::scalar)
            .filter_map(|word| host_name(word.text))
            .collect();
        Some((Setting { document, word: endpoints.items().first()?.word }, members))
    });
    of_flags.chain(of_kubeadm).filter(|(_, members): &(_, BTreeSet<&str>)| !members.is_empty()).collect()
}

const MEMBERS: [&str; 2] = ["etcd-servers", "initial-cluster"];

/// Returns the lists that determine the number of members: the lists of etcd itself if there are any,
/// otherwise the lists of all API servers that do not use only their local member.
fn declared<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<(Setting<'f, 'a>, BTreeSet<&'a str>)> {
    let is_declared = !values(fleet, &["initial-cluster"], &[]).is_empty();
    let lists = member_lists(fleet, if is_declared { &["initial-cluster"] } else { &MEMBERS });
    let is_loopback =
        |name: &&str| *name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    lists.into_iter().filter(|(_, members)| !members.iter().all(is_loopback)).collect()
}

pub(in crate::lint) fn quorum<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (setting, members) in declared(fleet) {
        let count = members.len();
        if masters(fleet).len() >= 2 && (count < 3 || count.is_multiple_of(2)) {
            found.at(
                setting.document,
                setting.word,
                format!("etcd members: {count}, tolerated failures: {}", (count - 1) / 2),
            );
        }
    }
}

pub(in crate::lint) fn two_masters<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // HAProxy has a name before the address, nginx does not.
    let count = |section: &Statement<'_>, at: usize| {
        section
            .all(&["server"])
            .filter(|server| server.words.get(at).is_some_and(|word| word.text.ends_with(":6443")))
            .count()
    };
    let of_haproxy = fleet.haproxy(&["backend", "listen"]).filter(|block| count(block.statement, 2) == 2);
    let of_nginx = streams(fleet).flat_map(|block| {
        let upstreams = block.statement.all(&["upstream"]).filter(|upstream| count(upstream, 1) == 2);
        upstreams.map(|statement| Block { statement, ..block }).collect::<Vec<_>>()
    });
    for block in of_haproxy.chain(of_nginx) {
        found.at(
            block.document,
            block.statement.name(),
            "with two API servers there is no redundancy during maintenance",
        );
    }
}

pub(in crate::lint) fn etcd_beside<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let masters = masters(fleet);
    for (setting, members) in member_lists(fleet, &MEMBERS) {
        let members = addresses(&members);
        let elsewhere = members.difference(&masters).filter(|member| !is_etcds_alone(fleet, **member));
        let elsewhere: Vec<String> = elsewhere.map(ToString::to_string).collect();
        // Dedicated members are fine; if only some are on control-plane nodes, the rest are on workers.
        if !masters.is_empty() && members.intersection(&masters).next().is_some() && !elsewhere.is_empty() {
            found.at(
                setting.document,
                setting.word,
                format!("etcd also runs outside the control plane, on {}", elsewhere.join(", ")),
            );
        }
    }
}

/// Checks whether the machine with this address is known and runs etcd without a kubelet.
fn is_etcds_alone(fleet: &Fleet<'_>, address: IpAddr) -> bool {
    let own = |name: &str, etcd: &Invocation<'_>| {
        etcd.value(name).is_some_and(|urls| addresses(&members(urls)).contains(&address))
    };
    let mut seen = fleet
        .programs("etcd")
        .filter(|etcd| own("initial-advertise-peer-urls", etcd) || own("listen-peer-urls", etcd));
    seen.any(|etcd| !fleet.programs("kubelet").any(|kubelet| kubelet.machine == etcd.machine))
}

pub(in crate::lint) fn vip_before_etcd<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips: BTreeSet<IpAddr> = vips(fleet).into_iter().filter_map(|(_, word)| address(word)).collect();
    for (setting, members) in member_lists(fleet, &["etcd-servers", "initial-cluster", "etcd-endpoints"]) {
        if let Some(vip) = addresses(&members).intersection(&vips).next() {
            found.at(setting.document, setting.word, format!("`{vip}` is the VIP, not an etcd member"));
        }
    }
}
