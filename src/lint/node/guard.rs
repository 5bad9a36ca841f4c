//! Firewall, SELinux, clock, and who starts what.

use crate::config::{Command, Content, Document, Fleet, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Programs that systemd looks after.
const COMPONENTS: [&str; 9] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "etcd", "haproxy", "keepalived", "docker"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA402", "the firewall is switched off or emptied")
        .why("etcd, kubelets and the balancer's pages are then open to whoever reaches the machine; and a flush after the start removes the rules of services and pods too")
        .fix("write rules for the ports of the machine's roles, and drop the rest")
        .files(no_firewall),
    Lint::warning("HA403", "SELinux is switched off")
        .why("it is what keeps a process that broke out of its container from the rest of the machine")
        .fix("leave it enforcing, with the policy of container-selinux")
        .files(no_selinux),
    Lint::warning("HA409", "a timer starts what systemd looks after")
        .why("two supervisors start a component that the other is stopping, and hide how often it dies")
        .fix("use `Restart=always` in its unit")
        .files(double_supervision),
    Lint::error("HA413", "the firewall's rules lack a port that the cluster lives by")
        .why("without 2380 etcd has no quorum, without VRRP (protocol 112) every balancer holds the VIP, without UDP 8472 pods of different machines cannot speak: vxlan is not the 8285 of flannel's udp backend")
        .fix("allow 2380 between members, protocol 112 between balancers, UDP 8472 between nodes")
        .files(missing_ports),
];

fn no_firewall<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const SERVICES: [&str; 4] = ["firewalld", "ufw", "nftables", "iptables"];
    for (document, command) in fleet.commands() {
        let service = command.words.iter().any(|word| SERVICES.contains(&word.text.trim_end_matches(".service")));
        let stopped = (command.runs(&["systemctl"]) || command.runs(&["service"]))
            && service
            && ["stop", "disable", "mask"].iter().any(|verb| command.words.iter().any(|word| word.text == *verb));
        let flushed = (command.runs(&["iptables"]) || command.runs(&["ip6tables"])) && empties_all(command);
        if stopped || flushed || command.runs(&["ufw", "disable"]) || command.runs(&["nft", "flush", "ruleset"]) {
            found.at(document, command.name(), "after this every port of the machine is open");
        }
    }
}

/// Whether `iptables` empties every chain, or one that all traffic passes.
fn empties_all(command: &Command<'_>) -> bool {
    let Some(at) = command.words.iter().position(|word| word.text == "-F" || word.text == "--flush") else { return false };
    let chain = command.words.get(at + 1).map(|word| word.text).filter(|word| !word.starts_with('-'));
    chain.is_none_or(|chain| ["INPUT", "FORWARD", "OUTPUT"].contains(&chain))
}

fn no_selinux<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands() {
        let rewrites = command.runs(&["sed"])
            && command.words.iter().any(|word| word.text.contains("selinux"))
            && command.words.iter().any(|word| word.text.contains("disabled"));
        if command.runs(&["setenforce", "0"]) || rewrites {
            found.at(document, command.name(), "this switches SELinux off");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path == "/etc/selinux/config") {
        if let Some(line) = document.text.lines().find(|line| line.text.trim() == "SELINUX=disabled") {
            found.at(document, line, "this switches SELinux off");
        }
    }
}

fn double_supervision<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.blocks(Content::lines).filter(|block| block.document.path.contains("/cron")) {
        let has = |words: &[&str]| words.iter().any(|word| block.statement.words.iter().any(|other| other.text.ends_with(word)));
        // To ask whether something runs starts nothing.
        let controls = has(&["systemctl", "service"]) && ["start", "restart"].iter().any(|verb| block.statement.has(verb));
        let starts = controls || has(&["pidof", "pgrep", "nohup"]);
        let is_component =
            |word: &Word<'_>| COMPONENTS.contains(&word.text.trim_end_matches(".service").rsplit('/').next().unwrap_or_default());
        let component = block.statement.words.iter().find(|word| is_component(word));
        if let Some(word) = component.filter(|_| starts) {
            found.at(block.document, block.statement.name(), format!("cron and systemd both start `{}`", word.text));
        }
    }
}

/// Whether a document holds rules of a firewall that drops what they do not name.
fn is_ruleset(document: &Document<'_>) -> bool {
    const PLACES: [&str; 4] = ["nft", "iptables", "firewall", "rules"];
    let text = if PLACES.iter().any(|place| document.path.contains(place)) { document.text.text } else { "" };
    ["policy drop", "-P INPUT DROP", ":INPUT DROP", "-A INPUT -j DROP", "-A INPUT -j REJECT"].iter().any(|rule| text.contains(rule))
}

fn missing_ports<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| is_ruleset(document)) {
        let runs = |program: &'static str| fleet.programs(program).any(|invocation| invocation.machine == document.machine);
        let on = |machine: &str| machine == document.machine;
        let vrrp = fleet.keepalived("vrrp_instance").any(|block| on(block.document.machine));
        let lines = || document.text.text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let has = |words: &[&str]| words.iter().any(|word| lines().any(|line| names(line, word)));
        let wanted = [
            (runs("etcd"), "TCP 2380, by which etcd's members speak", &["2380"][..]),
            (vrrp, "VRRP, protocol 112", &["vrrp", "112"][..]),
            (runs("flanneld"), "UDP 8472, which vxlan uses", &["8472"][..]),
        ];
        for (_, name, _) in wanted.iter().filter(|(needed, _, words)| *needed && !has(words)) {
            found.about(document, format!("the rules drop {name}"));
        }
    }
}

/// Whether a rule names a port or a protocol: by itself, or by a range such as `2379-2381` and `2379:2381`.
fn names(rule: &str, wanted: &str) -> bool {
    let mut parts = rule.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-:".contains(letter));
    let within = |part: &str| {
        let (first, last) = part.split_once(['-', ':'])?;
        Some((first.parse::<u16>().ok()?..=last.parse().ok()?).contains(&wanted.parse().ok()?))
    };
    parts.any(|part| part.split(['-', ':']).any(|word| word == wanted) || within(part).unwrap_or(false))
}

/// Clocks that are set once, for HA405.
pub(in crate::lint) fn clock<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["ntpdate"])) {
        let kept = fleet.on(document.machine).has(&["chrony", "timesyncd", "ntp.conf"]);
        if !kept {
            found.at(document, command.name(), "the clock is set once, and drifts from then on");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with("/chrony.conf")) {
        // `local` is a machine whose own clock the others follow.
        const SOURCES: [&str; 6] = ["server", "pool", "peer", "refclock", "sourcedir", "local"];
        let lines = document.content.lines().map(Vec::as_slice).unwrap_or_default();
        if !lines.iter().any(|line| SOURCES.contains(&line.name().text)) {
            found.about(document, "chrony has nobody to ask for the time, and its own clock is none that others may follow");
        }
    }
}
