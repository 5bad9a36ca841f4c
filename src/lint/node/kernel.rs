//! Kernel settings, modules and swap.

use std::collections::BTreeSet;

use crate::config::{Content, Document, Fleet, Setting};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Values that the kubelet requires with `protectKernelDefaults` (the kubelet's `setupKernelTunables`).
const KUBELET_SYSCTLS: [(&str, &str); 6] = [
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.keys.root_maxbytes", "25000000"),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA401", "bridge sysctls are incomplete or not applied at boot")
        .why(
            "the `net.bridge.…` keys exist only while br_netfilter is loaded, and sysctl does not load it; \
            unless both keys are set, the traffic of one address family bypasses the service rules",
        )
        .fix(
            "list `br_netfilter` in /etc/modules-load.d, and set `bridge-nf-call-iptables` and \
            `bridge-nf-call-ip6tables`",
        )
        .files(bridge),
    Lint::warning("HA404", "IPv6 is disabled")
        .why(
            "programs that listen on ::1 or resolve localhost to it fail, dual-stack clusters are \
            impossible, and disabling IPv6 has no benefit",
        )
        .fix("remove the setting")
        .files(no_ipv6),
    Lint::error("HA406", "swap is configured, but the kubelet does not run with swap enabled")
        .why("`failSwapOn` is on by default: the kubelet exits if a swap device is active")
        .fix(
            "remove the swap entry from /etc/fstab, or set `failSwapOn: false` and configure how pods may \
            use swap",
        )
        .files(swap),
    Lint::error("HA414", "the kernel settings do not match the values that the kubelet requires")
        .why(
            "with `protectKernelDefaults` the kubelet does not set six sysctls itself, but exits if one of \
            them differs from the expected value",
        )
        .fix(
            "set in /etc/sysctl.d: vm.overcommit_memory=1, vm.panic_on_oom=0, kernel.panic=10, \
            kernel.panic_on_oops=1, kernel.keys.root_maxkeys=1000000, kernel.keys.root_maxbytes=25000000",
        )
        .files(kernel_defaults),
    Lint::info("HA426", "enabling or disabling a service has no effect")
        .why("the ipvsadm service only restores a saved table, but kube-proxy needs the kernel modules")
        .fix("list `ip_vs`, `ip_vs_rr`, `ip_vs_wrr` and `ip_vs_sh` in /etc/modules-load.d")
        .files(superstition),
];

fn sysctls<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, &'f Setting<'a>)> {
    fleet.settings("sysctl")
}

fn key<'a>(setting: &Setting<'a>) -> &'a str {
    setting.key.text.trim_start_matches('-')
}

/// Checks whether a machine loads a module whose name starts with `name`, at boot or with `modprobe`.
pub(in crate::lint) fn loads_module(fleet: &Fleet<'_>, machine: &str, name: &str) -> bool {
    let is_list =
        |document: &Document<'_>| document.path.contains("modules-load") || document.path == "/etc/modules";
    let mut lists = fleet.on(machine).documents().filter(|document| is_list(document));
    let listed = lists.any(|list| list.text.lines().any(|line| line.trim().text.starts_with(name)));
    let mut commands = fleet.commands().filter(|(document, _)| document.machine == machine);
    listed
        || commands.any(|(_, command)| {
            command.runs(&["modprobe"]) && command.words.iter().any(|word| word.text.starts_with(name))
        })
}

fn bridge<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const KEYS: [&str; 2] = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];
    let mut reported = BTreeSet::new();
    for (document, setting) in sysctls(fleet).filter(|(_, setting)| KEYS.contains(&key(setting))) {
        let loads = loads_module(fleet, document.machine, "br_netfilter");
        let other = KEYS[usize::from(key(setting) == KEYS[0])];
        let both = fleet.on(document.machine).settings("sysctl").any(|(_, setting)| key(setting) == other);
        if !loads && reported.insert(document.machine) {
            found.at(document, setting.key, "br_netfilter is not loaded before this key is set");
        } else if !both {
            found.at(document, setting.key, format!("`{other}` is not set"));
        }
    }
}

fn no_ipv6<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const TOLD: &str = "IPv6 is disabled";
    for (document, setting) in sysctls(fleet)
        .filter(|(_, setting)| key(setting).ends_with(".disable_ipv6") && setting.value.text == "1")
    {
        found.at(document, setting.key, TOLD);
    }
    for (document, command) in fleet.commands() {
        let written = command
            .output
            .filter(|path| path.text.ends_with("/disable_ipv6") && command.runs(&["echo", "1"]));
        let set = command
            .words
            .iter()
            .find(|word| command.runs(&["sysctl"]) && word.text.ends_with(".disable_ipv6=1"));
        if let Some(word) = written.or(set.copied()) {
            found.at(document, word, TOLD);
        }
    }
    for (document, setting) in
        fleet.settings("/default/grub").filter(|(_, setting)| setting.value.text.contains("ipv6.disable=1"))
    {
        found.at(document, setting.key, TOLD);
    }
}

fn swap<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let runs = |machine: &str| {
        let unit =
            || fleet.on(machine).units("Service").any(|block| block.document.unit() == Some("kubelet"));
        fleet.programs("kubelet").any(|kubelet| kubelet.machine == machine)
            || fleet.on(machine).of_kind("KubeletConfiguration").next().is_some()
            || unit()
    };
    // If any machine is known to run a kubelet, the others are assumed not to.
    let known = fleet.machines().any(runs);
    let tolerant = |machine: &str| {
        if known && !runs(machine) {
            return true;
        }
        let mut kubelets = fleet.programs("kubelet").filter(|kubelet| kubelet.machine == machine);
        fleet
            .on(machine)
            .of_kind("KubeletConfiguration")
            .any(|(_, node)| node.text("failSwapOn").is_some_and(|word| word.text == "false"))
            || kubelets.any(|kubelet| kubelet.value("fail-swap-on") == Some("false"))
    };
    for (document, command) in fleet
        .commands()
        .filter(|(document, command)| command.runs(&["swapon"]) && !tolerant(document.machine))
    {
        // Without arguments or with `--show`, `swapon` only lists active swap.
        if command.words[1..]
            .iter()
            .any(|word| word.text.starts_with('/') || ["-a", "--all"].contains(&word.text))
        {
            found.at(document, command.name(), "the kubelet exits while this swap is active");
        }
    }
    for block in fleet
        .blocks(Content::lines)
        .filter(|block| block.document.path.ends_with("/fstab") && !tolerant(block.document.machine))
    {
        if block.statement.words.get(2).is_some_and(|word| word.text == "swap") {
            found.at(block.document, block.statement.name(), "the kubelet exits while this swap is active");
        }
    }
    for document in
        fleet.documents.iter().filter(|document| is_swap(document.path) && !tolerant(document.machine))
    {
        found.about(document, "the kubelet exits while this swap is active");
    }
}

/// Checks whether the mere presence of a file activates swap.
fn is_swap(path: &str) -> bool {
    path.ends_with(".swap") || path.ends_with("/zram-generator.conf")
}

fn kernel_defaults<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_files = fleet
        .of_kind("KubeletConfiguration")
        .filter_map(|(document, node)| Some((document, node.text("protectKernelDefaults")?)));
    let of_files = of_files.filter(|(_, word)| word.text == "true");
    let of_flags = fleet.programs("kubelet").filter_map(|kubelet| kubelet.flag("protect-kernel-defaults"));
    let of_flags = of_flags
        .filter(|flag| flag.value.text != "false")
        .map(|flag| (&fleet.documents[flag.document], flag.word));
    for (document, word) in of_files.chain(of_flags) {
        let set = |(name, value): &(&str, &str)| {
            fleet
                .on(document.machine)
                .settings("sysctl")
                .any(|(_, setting)| key(setting) == *name && setting.value.text == *value)
        };
        let missing: Vec<&str> =
            KUBELET_SYSCTLS.iter().filter(|pair| !set(pair)).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            found.at(
                document,
                word,
                format!("the kubelet exits: missing or wrong value for {}", missing.join(", ")),
            );
        }
    }
}

fn superstition<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["systemctl"])) {
        if let Some(word) =
            command.words.iter().find(|word| word.text.trim_end_matches(".service") == "ipvsadm")
        {
            found.at(document, *word, "the ipvsadm service loads no kernel modules");
        }
    }
}
