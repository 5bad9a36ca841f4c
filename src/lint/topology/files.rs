//! Who runs what, as files show it: etcd's members, the servers behind balancers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::lint::endpoint::{address, host, vips};
use crate::lint::files::{Block, Fleet, Found};
use crate::lint::network::files::{Setting, values};

/// Members of etcd as a list of URLs names them.
fn members(text: &str) -> BTreeSet<IpAddr> {
    text.split(',').filter_map(|url| host(url.rsplit('/').next()?)).collect()
}

/// The lists of etcd's members, with their places.
fn member_lists<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<(Setting<'f, 'a>, BTreeSet<IpAddr>)> {
    let settings = values(fleet, &["etcd-servers", "initial-cluster"], &[]);
    let lists = settings.into_iter().map(|setting| {
        let members = members(setting.word.text);
        (setting, members)
    });
    lists.filter(|(_, members)| !members.is_empty()).collect()
}

/// Addresses of API servers, as balancers and the servers themselves name them.
pub(in crate::lint) fn masters(fleet: &Fleet<'_>) -> BTreeSet<IpAddr> {
    let backends = fleet
        .haproxy(&["backend", "listen"])
        .flat_map(|block| block.statement.all(&["server"]).filter_map(|server| server.words.get(2)).collect::<Vec<_>>());
    let of_balancers = backends.filter(|word| word.text.ends_with(":6443")).filter_map(|word| host(word.text));
    let flags = fleet.programs("kube-apiserver").filter_map(|server| server.value("advertise-address")).filter_map(host);
    of_balancers.chain(flags).filter(|address| !address.is_unspecified()).collect()
}

pub(in crate::lint) fn quorum<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (setting, members) in member_lists(fleet) {
        let count = members.len();
        if masters(fleet).len() >= 2 && (count < 3 || count.is_multiple_of(2)) {
            found.at(setting.document, setting.word, format!("{count} etcd members tolerate the loss of {}", (count - 1) / 2));
        }
    }
}

pub(in crate::lint) fn two_masters<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let count = |block: &Block<'_, 'a>| {
        block.statement.all(&["server"]).filter(|server| server.words.get(2).is_some_and(|word| word.text.ends_with(":6443"))).count()
    };
    for block in fleet.haproxy(&["backend", "listen"]).filter(|block| count(block) == 2) {
        found.at(block.document, block.statement.name(), "two API servers leave no room for maintenance");
    }
}

pub(in crate::lint) fn etcd_beside<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let masters = masters(fleet);
    for (setting, members) in member_lists(fleet) {
        let elsewhere: Vec<String> = members.difference(&masters).map(ToString::to_string).collect();
        // Members of their own are well; some here and some there means that the rest are workers.
        if !masters.is_empty() && members.intersection(&masters).next().is_some() && !elsewhere.is_empty() {
            found.at(setting.document, setting.word, format!("etcd also runs on {}, which is no control-plane node", elsewhere.join(", ")));
        }
    }
}

pub(in crate::lint) fn vip_before_etcd<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vips: BTreeSet<IpAddr> = vips(fleet).into_iter().filter_map(|(_, word)| address(word)).collect();
    for setting in values(fleet, &["etcd-servers", "initial-cluster", "etcd-endpoints"], &[]) {
        if let Some(vip) = members(setting.word.text).intersection(&vips).next() {
            found.at(setting.document, setting.word, format!("`{vip}` is the VIP"));
        }
    }
}
