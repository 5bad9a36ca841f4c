//! Firewall, SELinux, clock and process supervision.

use crate::config::{Command, Content, Document, Fleet, Word};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::COMPONENTS;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA402", "the firewall is disabled or flushed")
        .why(
            "this exposes etcd, the kubelet and the balancer's statistics page to anyone who can reach the \
            machine; a flush after startup also removes the rules for services and pods",
        )
        .fix("allow the ports that the machine's roles need, and drop everything else")
        .files(no_firewall),
    Lint::warning("HA403", "SELinux is disabled")
        .why("SELinux confines a process that has escaped from its container")
        .fix("keep SELinux enforcing, with the container-selinux policy")
        .files(no_selinux),
    Lint::warning("HA409", "a cron job starts a component that systemd supervises")
        .why("one supervisor restarts a component that the other is stopping, and crashes go unnoticed")
        .fix("remove the cron job, and set `Restart=always` in the component's unit")
        .files(double_supervision),
    Lint::error("HA413", "the firewall rules block a port or protocol that the cluster needs")
        .why(
            "without TCP 2380 etcd has no quorum, without VRRP (IP protocol 112) every balancer claims the \
            VIP, and without UDP 8472 pods on different nodes can't communicate (8285 is used by flannel's \
            udp backend, not by vxlan)",
        )
        .fix(
            "allow TCP 2380 between etcd members, IP protocol 112 between balancers and UDP 8472 between \
            nodes",
        )
        .files(missing_ports),
];

fn no_firewall<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const SERVICES: [&str; 4] = ["firewalld", "ufw", "nftables", "iptables"];
    for (document, command) in fleet.commands() {
        let service =
            command.words.iter().any(|word| SERVICES.contains(&word.text.trim_end_matches(".service")));
        let stopped = (command.runs(&["systemctl"]) || command.runs(&["service"]))
            && service
            && ["stop", "disable", "mask"]
                .iter()
                .any(|verb| command.words.iter().any(|word| word.text == *verb));
        let flushed = (command.runs(&["iptables"]) || command.runs(&["ip6tables"])) && empties_all(command);
        if stopped
            || flushed
            || command.runs(&["ufw", "disable"])
            || command.runs(&["nft", "flush", "ruleset"])
        {
            found.at(document, command.name(), "this opens every port on the machine");
        }
    }
}

/// Checks whether an `iptables` command flushes every chain, or one that all traffic passes through.
fn empties_all(command: &Command<'_>) -> bool {
    let Some(at) = command.words.iter().position(|word| word.text == "-F" || word.text == "--flush") else {
        return false;
    };
    let chain = command.words.get(at + 1).map(|word| word.text).filter(|word| !word.starts_with('-'));
    chain.is_none_or(|chain| ["INPUT", "FORWARD", "OUTPUT"].contains(&chain))
}

fn no_selinux<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands() {
        let rewrites = command.runs(&["sed"])
            && command.words.iter().any(|word| word.text.contains("selinux"))
            && command.words.iter().any(|word| word.text.contains("disabled"));
        if command.runs(&["setenforce", "0"]) || rewrites {
            found.at(document, command.name(), "this disables SELinux");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path == "/etc/selinux/config") {
        if let Some(line) = document.text.lines().find(|line| line.text.trim() == "SELINUX=disabled") {
            found.at(document, line, "this disables SELinux");
        }
    }
}

fn double_supervision<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.blocks(Content::lines).filter(|block| block.document.path.contains("/cron")) {
        let has = |words: &[&str]| {
            words.iter().any(|word| block.statement.words.iter().any(|other| other.text.ends_with(word)))
        };
        // Status queries start nothing.
        let controls = has(&["systemctl", "service"])
            && ["start", "restart"].iter().any(|verb| block.statement.has(verb));
        let starts = controls || has(&["pidof", "pgrep", "nohup"]);
        let is_component = |word: &Word<'_>| {
            COMPONENTS
                .contains(&word.text.trim_end_matches(".service").rsplit('/').next().unwrap_or_default())
        };
        let component = block.statement.words.iter().find(|word| is_component(word));
        if let Some(word) = component.filter(|_| starts) {
            found.at(
                block.document,
                block.statement.name(),
                format!("cron and systemd both start `{}`", word.text),
            );
        }
    }
}

/// Checks whether a document is a firewall ruleset that drops by default.
fn is_ruleset(document: &Document<'_>) -> bool {
    const PLACES: [&str; 4] = ["nft", "iptables", "firewall", "rules"];
    let text = if PLACES.iter().any(|place| document.path.contains(place)) { document.text.text } else { "" };
    ["policy drop", "-P INPUT DROP", ":INPUT DROP", "-A INPUT -j DROP", "-A INPUT -j REJECT"]
        .iter()
        .any(|rule| text.contains(rule))
}

fn missing_ports<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| is_ruleset(document)) {
        let runs = |program: &'static str| {
            fleet.programs(program).any(|invocation| invocation.machine == document.machine)
        };
        let on = |machine: &str| machine == document.machine;
        let vrrp = fleet.keepalived("vrrp_instance").any(|block| on(block.document.machine));
        let lines = || document.text.text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let has = |words: &[&str]| words.iter().any(|word| lines().any(|line| names(line, word)));
        let wanted = [
            (runs("etcd"), "TCP 2380, which etcd members use", &["2380"][..]),
            (vrrp, "VRRP (IP protocol 112), which keepalived uses", &["vrrp", "112"][..]),
            (runs("flanneld"), "UDP 8472, which vxlan uses", &["8472"][..]),
        ];
        for (_, name, _) in wanted.iter().filter(|(needed, _, words)| *needed && !has(words)) {
            found.about(document, format!("the firewall rules drop {name}"));
        }
    }
}

/// Checks whether a rule contains a port or protocol, alone or in a range such as `2379-2381` or `2379:2381`.
fn names(rule: &str, wanted: &str) -> bool {
    let mut parts = rule.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-:".contains(letter));
    let within = |part: &str| {
        let (first, last) = part.split_once(['-', ':'])?;
        Some((first.parse::<u16>().ok()?..=last.parse().ok()?).contains(&wanted.parse().ok()?))
    };
    parts.any(|part| part.split(['-', ':']).any(|word| word == wanted) || within(part).unwrap_or(false))
}

/// Reports clocks that are set only once, for HA405.
pub(in crate::lint) fn clock<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["ntpdate"])) {
        let kept = fleet.on(document.machine).has(&["chrony", "timesyncd", "ntp.conf"]);
        if !kept {
            found.at(document, command.name(), "the clock is set only once and drifts afterwards");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with("/chrony.conf")) {
        // With `local`, the machine serves its own clock to others.
        const SOURCES: [&str; 6] = ["server", "pool", "peer", "refclock", "sourcedir", "local"];
        let lines = document.content.lines().map(Vec::as_slice).unwrap_or_default();
        if !lines.iter().any(|line| SOURCES.contains(&line.name().text)) {
            found.about(document, "chrony has no time source and no `local` directive");
        }
    }
}
