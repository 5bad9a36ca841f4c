//! Ansible inventories, variables in environment files, `/etc/hosts`, and the output of `kubectl get nodes`.

use crate::config::{Document, Fleet, Node as Yaml, Statement, Word};
use crate::import::facts::{Facts, Naming, Origin, address};
use crate::import::settings::Setting;
use crate::words::Role;

/// Parts of group and machine names, and the roles that they imply; the first match applies.
const ROLES: [(&[&str], Role); 4] = [
    (&["etcd"], Role::Etcd),
    (&["lb", "loadbalance", "haproxy", "nginx", "keepalived"], Role::Lb),
    (&["master", "control", "controller"], Role::ControlPlane),
    (&["node", "worker", "minion"], Role::Worker),
];

/// Variable names, in lower case, and the corresponding settings.
const VARIABLES: [(&[&str], Setting); 9] = [
    (&["vip", "lb_vip", "apiserver_vip", "master_vip", "keepalived_vip", "vip_address"], Setting::Vip),
    (&["vrid", "router_id", "virtual_router_id", "keepalived_router_id"], Setting::RouterId),
    (
        &["vip_port", "apiserver_dest_port", "lb_port", "lb_apiserver_port", "loadbalancer_apiserver_port"],
        Setting::Port,
    ),
    (&["service_cluster_ip_range", "service_cidr", "kube_service_addresses"], Setting::Services),
    (&["cluster_cidr", "flannel_net", "pod_cidr", "kube_pods_subnet"], Setting::Pods),
    (&["flannel_subnetlen", "kube_network_node_prefix", "node_cidr_len"], Setting::PodsPrefix),
    (&["node_port_range", "kube_apiserver_node_port_range"], Setting::NodePorts),
    (&["kube_version", "k8s_version", "kubernetes_version"], Setting::Version),
    (&["cluster_dns_domain", "cluster_domain", "dns_domain"], Setting::Domain),
];

/// Files that list servers, one per line; the keyword of these lines; and the corresponding setting.
const SERVERS: [(&str, &str, Setting); 5] = [
    ("chrony.conf", "server", Setting::Ntp),
    ("chrony.conf", "pool", Setting::Ntp),
    ("ntp.conf", "server", Setting::Ntp),
    ("ntp.conf", "pool", Setting::Ntp),
    ("resolv.conf", "nameserver", Setting::Dns),
];

/// Maximum for the last number in a range of machines.
const MOST: usize = 10_000;

/// Variables that contain a machine's address.
const ADDRESSES: [&str; 3] = ["ip", "ansible_host", "ansible_ssh_host"];

pub(super) fn learn(fleet: &Fleet<'_>, facts: &mut Facts) {
    for document in &fleet.documents {
        if is_inventory(document) {
            inventory(document, facts);
        } else if document.path.ends_with("/hosts") {
            hosts(document, facts);
        }
        for setting in document.content.settings().into_iter().flatten() {
            variable(setting.key, setting.value, document, facts);
        }
        for node in document.content.yaml().into_iter().flatten() {
            groups("", node, document, facts);
            if let Some((_, file)) = document.path.split_once("host_vars/") {
                let known = ADDRESSES.iter().find_map(|key| node.text(key));
                let name = file.split(['/', '.']).next();
                known.into_iter().for_each(|word| {
                    facts.mention(name, address(word.text), None, Naming::Host, Origin::of(document, word));
                });
            }
            let scalars = node.entries().iter().filter(|_| document.path.contains("_vars/"));
            scalars
                .filter_map(|(name, value)| Some((name, value.scalar()?)))
                .for_each(|(name, value)| variable(*name, value, document, facts));
        }
        for (_, word, setting) in SERVERS.iter().filter(|(path, ..)| document.path.ends_with(path)) {
            let lines = document.content.lines().into_iter().flatten().filter(|line| line.is(&[word]));
            lines.filter_map(Statement::value).for_each(|server| facts.say(*setting, document, server));
        }
    }
    sessions(fleet, facts);
}

/// Checks whether a document is an INI file that contains groups and has one of the usual inventory names.
fn is_inventory(document: &Document<'_>) -> bool {
    let name = document.path.rsplit('/').next().unwrap_or_default();
    let named = name == "hosts" || name.ends_with(".ini") || name.starts_with("inventory");
    named
        && document.text.lines().any(|line| line.text.starts_with('[') && line.text.trim_end().ends_with(']'))
}

fn inventory(document: &Document<'_>, facts: &mut Facts) {
    let (mut group, mut part) = ("", "");
    for line in document.text.lines().map(Word::trim) {
        if line.text.is_empty() || line.text.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (group, part) = header.split_once(':').unwrap_or((header, ""));
            continue;
        }
        match part {
            "vars" => {
                if let Some((name, value)) = line.split_once('=') {
                    variable(name.trim(), value.trim(), document, facts);
                }
            }
            "children" => {}
            _ => machine(group, line, document, facts),
        }
    }
}

/// Reads `m1 ansible_host=10.0.0.11 …`, or a line with only an address.
fn machine(group: &str, line: Word<'_>, document: &Document<'_>, facts: &mut Facts) {
    let mut words = line.words();
    let Some(first) = words.next() else { return };
    let variables: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
    let known = ADDRESSES.iter().find_map(|name| variables.iter().find(|(key, _)| key.text == *name));
    let known = known.and_then(|(_, value)| address(value.text));
    for text in several(first.text) {
        let own = text.parse().ok();
        let name = Some(text.as_str()).filter(|_| own.is_none());
        facts.mention(name, known.or(own), role(group), Naming::Host, Origin::of(document, first));
    }
}

/// Expands `w[1:2]` to `w1` and `w2`; Ansible keeps the first number's leading zeros.
fn several(pattern: &str) -> Vec<String> {
    let range = || {
        let (before, rest) = pattern.split_once('[')?;
        let (range, after) = rest.split_once(']')?;
        let (first, last) = range.split_once(':')?;
        let numbers =
            first.parse::<usize>().ok()?..=last.parse::<usize>().ok().filter(|last| *last < MOST)?;
        Some(numbers.map(|number| format!("{before}{number:0width$}{after}", width = first.len())).collect())
    };
    range().unwrap_or_else(|| vec![pattern.to_owned()])
}

/// Reads a YAML inventory: the `hosts` of groups, and the groups under `children`.
fn groups(group: &str, node: &Yaml<'_>, document: &Document<'_>, facts: &mut Facts) {
    for (key, below) in node.entries() {
        match key.text {
            "hosts" => {
                for (name, variables) in below.entries() {
                    let known = ADDRESSES
                        .iter()
                        .find_map(|key| variables.text(key))
                        .and_then(|word| address(word.text));
                    facts.mention(
                        Some(name.text),
                        known,
                        role(group),
                        Naming::Host,
                        Origin::of(document, *name),
                    );
                }
            }
            "vars" => {
                let scalars =
                    below.entries().iter().filter_map(|(name, value)| Some((name, value.scalar()?)));
                scalars.for_each(|(name, value)| variable(*name, value, document, facts));
            }
            "all" | "children" => groups(group, below, document, facts),
            name if below.get("hosts").or(below.get("children")).is_some() => {
                groups(name, below, document, facts);
            }
            _ => {}
        }
    }
}

fn variable(name: Word<'_>, value: Word<'_>, document: &Document<'_>, facts: &mut Facts) {
    let lower = name.text.trim_start_matches("export ").to_lowercase();
    if let Some((_, setting)) = VARIABLES.iter().find(|(names, _)| names.contains(&lower.as_str())) {
        facts.say(*setting, document, value);
    }
}

/// Returns the role that a group or machine name implies.
pub(super) fn role(name: &str) -> Option<Role> {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(|letter: char| !letter.is_ascii_alphabetic()).collect();
    // `lb` counts only as a whole word: Melbourne contains it too.
    let means =
        |part: &&str| words.iter().any(|word| word == part || (part.len() > 2 && word.contains(part)));
    ROLES.iter().find(|(parts, _)| parts.iter().any(means)).map(|(_, role)| *role)
}

fn hosts(document: &Document<'_>, facts: &mut Facts) {
    for line in document.text.lines().map(Word::trim).filter(|line| !line.text.starts_with('#')) {
        let mut words = line.words();
        if let (Some(first), Some(name)) = (words.next(), words.next()) {
            let known = first.text.parse().ok();
            if known.is_some() {
                facts.mention(Some(name.text), known, None, Naming::Host, Origin::of(document, first));
            }
        }
    }
}

/// Reads recorded commands and output: the time server, an API server address that was edited, and the output
/// of `kubectl get nodes`.
fn sessions(fleet: &Fleet<'_>, facts: &mut Facts) {
    for (document, command) in fleet.commands() {
        if command.runs(&["ntpdate"])
            && let Some(server) = command.words[1..].iter().find(|word| !word.text.starts_with('-'))
        {
            facts.say(Setting::Ntp, document, *server);
        }
        let edited = ["--bind-address=", "--advertise-address="]
            .iter()
            .find_map(|flag| command.name().text.strip_prefix(flag));
        if let Some(value) = edited {
            facts.mention(
                None,
                address(value),
                Some(Role::ControlPlane),
                Naming::Alias,
                Origin::of(document, command.name()),
            );
        }
    }
    for (document, _) in fleet.scripts() {
        for line in document.text.lines() {
            let words: Vec<_> = line.words().collect();
            if words.len() == 5 && words[1].text.contains("Ready") && words[4].text.starts_with("v1.") {
                let known = words[0].text.parse().ok();
                let name = Some(words[0].text).filter(|_| known.is_none());
                let role = if words[2].text == "<none>" { Some(Role::Worker) } else { role(words[2].text) };
                facts.mention(name, known, role, Naming::Host, Origin::of(document, words[0]));
                facts.say(Setting::Version, document, words[4]);
            }
        }
    }
}
