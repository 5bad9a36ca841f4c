//! The machine below: kernel settings, firewall, clocks, names.

use std::collections::BTreeSet;

use crate::lint::Lint;
use crate::lint::files::{Block, Command, Content, Document, Fleet, Found, Setting, Word};

/// What the kubelet demands with `protectKernelDefaults` (kubelet's `setupKernelTunables`).
const KUBELET_SYSCTLS: [(&str, &str); 6] = [
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.keys.root_maxbytes", "25000000"),
];
/// Programs that systemd looks after.
const COMPONENTS: [&str; 9] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "etcd", "haproxy", "keepalived", "docker"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA401", "the bridge's settings are missing at boot, or are half of what is needed")
        .why("`net.bridge.…` exists only while br_netfilter is loaded, which sysctl does not do; and without both keys the traffic of one address family passes by the rules of services")
        .fix("list `br_netfilter` in /etc/modules-load.d, and set `bridge-nf-call-iptables` and `bridge-nf-call-ip6tables`")
        .files(bridge),
    Lint::error("HA402", "the firewall is switched off or emptied")
        .why("etcd, kubelets and the balancer's pages are then open to whoever reaches the machine; and a flush after the start removes the rules of services and pods too")
        .fix("write rules for the ports of the machine's roles, and drop the rest")
        .files(no_firewall),
    Lint::warning("HA403", "SELinux is switched off")
        .why("it is what keeps a process that broke out of its container from the rest of the machine")
        .fix("leave it enforcing, with the policy of container-selinux")
        .files(no_selinux),
    Lint::warning("HA404", "IPv6 is switched off")
        .why("programs that listen on ::1 or dial localhost by it fail, dual-stack clusters cannot be, and nothing is gained")
        .fix("remove the setting")
        .files(no_ipv6),
    Lint::error("HA406", "there is swap, and the kubelet refuses to run with it")
        .why("`failSwapOn` is the default: the kubelet exits as long as a swap device is active")
        .fix("remove the line from /etc/fstab, or set `failSwapOn: false` and choose how pods may swap")
        .files(swap),
    Lint::warning("HA407", "machines know different names")
        .why("where names come from /etc/hosts, a name that is missing on one machine is an API server, a member or a VIP that it does not find")
        .fix("write the same list on every machine, with the balancers and the VIP")
        .files(different_hosts),
    Lint::error("HA408", "a host name is not one that a node may have, or two machines share it")
        .why("Kubernetes takes lower-case letters, digits, `-` and `.` (RFC 1123) and knows a node by its name: two machines of one name take turns in being it")
        .fix("choose a name for each machine, and use it in its certificates too")
        .files(host_names),
    Lint::warning("HA409", "a timer starts what systemd looks after")
        .why("two supervisors start a component that the other is stopping, and hide how often it dies")
        .fix("use `Restart=always` in its unit")
        .files(double_supervision),
    Lint::error("HA413", "the firewall's rules lack a port that the cluster lives by")
        .why("without 2380 etcd has no quorum, without VRRP (protocol 112) every balancer holds the VIP, without UDP 8472 pods of different machines cannot speak: vxlan is not the 8285 of flannel's udp backend")
        .fix("allow 2380 between members, protocol 112 between balancers, UDP 8472 between nodes")
        .files(missing_ports),
    Lint::error("HA414", "the kubelet refuses the kernel's settings")
        .why("with `protectKernelDefaults` it exits when one of six settings differs from what it expects, instead of changing it")
        .fix("set them in /etc/sysctl.d: vm.overcommit_memory=1, vm.panic_on_oom=0, kernel.panic=10, kernel.panic_on_oops=1, kernel.keys.root_maxkeys=1000000, kernel.keys.root_maxbytes=25000000")
        .files(kernel_defaults),
    Lint::error("HA416", "machines share an identity that each has to make itself")
        .why("one machine-id gives two machines the same address by DHCP and the same identifiers in the network; one SSH host key lets each pretend to be the other")
        .fix("leave /etc/machine-id empty and the host keys out: both are made at the first boot")
        .files(shared_identity),
    Lint::warning("HA417", "pods ask a resolver on their own loopback address")
        .why("the kubelet gives the machine's resolv.conf to pods; 127.0.0.53 there leads CoreDNS to itself, and it stops when it finds the loop")
        .fix("set `resolvConf: /run/systemd/resolve/resolv.conf`")
        .files(stub_resolver),
    Lint::info("HA426", "a service is switched on and off in the hope that it helps")
        .why("ipvsadm's service loads a saved table and nothing else; what kube-proxy needs are the modules")
        .fix("list `ip_vs`, `ip_vs_rr`, `ip_vs_wrr` and `ip_vs_sh` in /etc/modules-load.d")
        .files(superstition),
];

fn sysctls<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, &'f Setting<'a>)> {
    fleet.settings("sysctl")
}

fn key<'a>(setting: &Setting<'a>) -> &'a str {
    setting.key.text.trim_start_matches('-')
}

fn bridge<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const KEYS: [&str; 2] = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];
    let mut told = BTreeSet::new();
    for (document, setting) in sysctls(fleet).filter(|(_, setting)| KEYS.contains(&key(setting))) {
        let loaded = fleet
            .on(document.machine)
            .documents()
            .any(|other| other.path.contains("modules-load") && other.text.text.contains("br_netfilter"));
        let loads =
            fleet.commands().any(|(other, command)| other.machine == document.machine && command.runs(&["modprobe", "br_netfilter"]));
        let other = KEYS[usize::from(key(setting) == KEYS[0])];
        let both = fleet.on(document.machine).settings("sysctl").any(|(_, setting)| key(setting) == other);
        if !loaded && !loads && told.insert(document.machine) {
            found.at(document, setting.key, "nothing loads br_netfilter before this is set");
        } else if !both {
            found.at(document, setting.key, format!("`{other}` is not set"));
        }
    }
}

fn no_firewall<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const SERVICES: [&str; 4] = ["firewalld", "ufw", "nftables", "iptables"];
    for (document, command) in fleet.commands() {
        let service = command.words.iter().any(|word| SERVICES.contains(&word.text.trim_end_matches(".service")));
        let stopped = command.runs(&["systemctl"])
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

fn no_ipv6<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, setting) in sysctls(fleet).filter(|(_, setting)| key(setting).ends_with(".disable_ipv6") && setting.value.text == "1") {
        found.at(document, setting.key, "IPv6 is switched off");
    }
}

fn swap<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let tolerant = |machine: &str| {
        fleet.on(machine).of_kind("KubeletConfiguration").any(|(_, node)| node.text("failSwapOn").is_some_and(|word| word.text == "false"))
    };
    for block in fleet.blocks(Content::lines).filter(|block| block.document.path.ends_with("/fstab") && !tolerant(block.document.machine)) {
        if block.statement.words.get(2).is_some_and(|word| word.text == "swap") {
            found.at(block.document, block.statement.name(), "the kubelet exits while this is active");
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with(".swap") && !tolerant(document.machine)) {
        found.about(document, "the kubelet exits while this is active");
    }
}

/// The names in a machine's /etc/hosts.
fn names<'a>(document: &Document<'a>) -> BTreeSet<&'a str> {
    let lines = document.content.lines().into_iter().flatten();
    let foreign = lines.filter(|line| !line.name().text.starts_with("127.") && line.name().text != "::1");
    foreign.flat_map(|line| line.words[1..].iter().take_while(|word| !word.text.starts_with('#')).map(|word| word.text)).collect()
}

fn different_hosts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let hosts: Vec<&Document<'a>> = fleet.documents.iter().filter(|document| document.path == "/etc/hosts").collect();
    let all: BTreeSet<&str> = hosts.iter().flat_map(|document| names(document)).collect();
    for document in &hosts {
        let own = names(document);
        let missing: Vec<&str> = all.iter().filter(|name| !own.contains(**name)).copied().collect();
        if !missing.is_empty() {
            found.about(document, format!("`{}` does not know {}", document.machine, missing.join(", ")));
        }
    }
}

fn host_names<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_files =
        fleet.documents.iter().filter(|document| document.path == "/etc/hostname").map(|document| (document, document.text.trim()));
    let of_commands = fleet.commands().filter(|(_, command)| command.runs(&["hostnamectl", "set-hostname"]));
    let of_commands = of_commands.filter_map(|(document, command)| Some((document, *command.words.last()?)));
    let all: Vec<(&Document<'a>, Word<'a>)> = of_files.chain(of_commands).filter(|(_, word)| !word.text.contains('$')).collect();
    for (index, (document, word)) in all.iter().enumerate() {
        let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.".contains(letter);
        let other = all[..index].iter().find(|(other, name)| other.machine != document.machine && name.text == word.text);
        if word.text.is_empty() || word.text.len() > 63 || !word.text.chars().all(allowed) || word.text.starts_with(['-', '.']) {
            found.at(document, *word, format!("`{}` is no name of a node", word.text));
        } else if let Some((other, _)) = other {
            found.at(document, *word, format!("`{}` is also the name of `{}`", word.text, other.machine));
        }
    }
}

fn double_supervision<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.blocks(Content::lines).filter(|block| block.document.path.contains("/cron")) {
        let starts = ["systemctl", "service", "pidof", "pgrep", "nohup"]
            .iter()
            .any(|word| block.statement.words.iter().any(|other| other.text.ends_with(word)));
        let component =
            block.statement.words.iter().find(|word| COMPONENTS.iter().any(|name| word.text.trim_end_matches(".service").ends_with(name)));
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
        let has = |words: &[&str]| {
            words.iter().any(|word| document.text.text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == *word))
        };
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

fn kernel_defaults<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        let Some(word) = node.text("protectKernelDefaults").filter(|word| word.text == "true") else { continue };
        let set = |(name, value): &(&str, &str)| {
            fleet.on(document.machine).settings("sysctl").any(|(_, setting)| key(setting) == *name && setting.value.text == *value)
        };
        let missing: Vec<&str> = KUBELET_SYSCTLS.iter().filter(|pair| !set(pair)).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            found.at(document, word, format!("the kubelet exits: {} is not as it demands", missing.join(", ")));
        }
    }
}

fn shared_identity<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let identities: Vec<&Document<'a>> = fleet.documents.iter().filter(|document| document.path == "/etc/machine-id").collect();
    for (index, document) in identities.iter().enumerate() {
        let id = document.text.text.trim();
        let other = identities[..index].iter().find(|other| other.machine != document.machine && other.text.text.trim() == id);
        if let Some(other) = other.filter(|_| id.len() == 32) {
            found.about(document, format!("`{}` has the machine-id of `{}`", document.machine, other.machine));
        }
    }
    for document in
        fleet.documents.iter().filter(|document| document.path.starts_with("/etc/ssh/ssh_host_") && document.path.ends_with("_key"))
    {
        found.about(document, "the host key is the same on every machine that gets this file");
    }
}

fn stub_resolver<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        let path = node.text("resolvConf").map_or("/etc/resolv.conf", |word| word.text);
        let stub = |block: &Block<'_, 'a>| block.document.path == path && block.statement.is(&["nameserver"]);
        let server = fleet
            .on(document.machine)
            .blocks(Content::lines)
            .filter(stub)
            .find(|block| block.statement.value().is_some_and(|word| word.text.starts_with("127.")));
        if path.ends_with("stub-resolv.conf") || server.is_some() {
            found.at(document, node.text("resolvConf").unwrap_or(node.word), format!("`{path}` leads pods to their own loopback"));
        }
    }
}

fn superstition<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["systemctl"])) {
        if let Some(word) = command.words.iter().find(|word| word.text.trim_end_matches(".service") == "ipvsadm") {
            found.at(document, *word, "ipvsadm's service loads no modules");
        }
    }
}

/// Clocks that are set once, for HA405.
pub(super) fn clock<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["ntpdate"])) {
        let kept = fleet.on(document.machine).has(&["chrony", "timesyncd", "ntp.conf"]);
        if !kept {
            found.at(document, command.name(), "the clock is set once, and drifts from then on");
        }
    }
}
