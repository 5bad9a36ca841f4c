//! Flags by version: deprecation, removal, replacement.

use super::known;
use crate::config::{Flag, Fleet, Invocation};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::profile::slip;
use crate::words::{FLAGS, FlagHistory};

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA201", "a flag is no longer supported in this version")
        .why(
            "a component that is started with an unknown flag prints its usage and exits, and systemd \
            keeps restarting it",
        )
        .fix("remove the flag, or use its replacement")
        .files(|fleet, found| {
            gone(
                fleet,
                found,
                &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"],
            );
        }),
    Lint::warning("HA202", "a flag is deprecated")
        .why(
            "the component still accepts the flag and logs a warning, but a later version will refuse to \
            start with it",
        )
        .fix("use its replacement")
        .files(deprecated),
    Lint::error("HA212", "a flag is misspelt")
        .why("a component that is started with an unknown flag prints its usage and exits")
        .fix("correct the spelling")
        .files(misspelt),
    Lint::error("HA217", "a kubelet flag is no longer supported in this version")
        .why(
            "a kubelet that is started with an unknown flag exits: after a boot no pod starts, static pods \
            included, and the node becomes NotReady",
        )
        .fix("remove the flag, or use its replacement")
        .files(|fleet, found| gone(fleet, found, &["kubelet"])),
    Lint::error("HA224", "this version of etcd or its tools does not support a flag or a command")
        .why(
            "etcd 3.6 removed the v2 API and `etcdctl snapshot restore`, and 3.7 the experimental flags: \
            each member that does not start brings the cluster closer to losing quorum",
        )
        .fix("remove the flag, or use its replacement; restore with `etcdutl snapshot restore`")
        .files(etcd),
];

/// Returns the flag as written, with its value if only that value is affected.
fn shown(row: &FlagHistory, flag: &Flag<'_>) -> String {
    row.value.map_or_else(|| format!("--{}", flag.name), |value| format!("--{}={value}", flag.name))
}

fn instead(row: &FlagHistory) -> String {
    if row.instead.starts_with("nothing") {
        "there is no replacement".to_owned()
    } else {
        format!("use {}", row.instead)
    }
}

/// Returns the major and minor version that a program's flags are checked against.
fn version(fleet: &Fleet<'_>, program: &str) -> (u32, u32) {
    if program == "etcd" { (3, fleet.target.etcd) } else { (1, fleet.target.kubernetes) }
}

/// Returns every flag that has a row in the table, with that row.
fn flags<'f, 'a>(
    fleet: &'f Fleet<'a>,
) -> impl Iterator<Item = (&'f Invocation<'a>, &'f Flag<'a>, &'static FlagHistory)> {
    fleet.invocations.iter().flat_map(|invocation| {
        let row = |flag: &Flag<'_>| FlagHistory::find(invocation.program, &flag.name, flag.value.text);
        invocation.flags.iter().filter_map(move |flag| Some((invocation, flag, row(flag)?)))
    })
}

fn gone<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, programs: &[&str]) {
    for (invocation, flag, row) in
        flags(fleet).filter(|(invocation, ..)| programs.contains(&invocation.program))
    {
        let (major, minor) = version(fleet, invocation.program);
        if let Some(removed) = row.span.removed.filter(|removed| minor >= *removed) {
            let message = format!(
                "{} {major}.{minor} does not start with {} (removed in {major}.{removed})",
                invocation.program,
                shown(row, flag)
            );
            found.flag(flag, fleet, format!("{message}: {}", instead(row)));
        }
    }
}

/// Flag that selects Docker. It is reported in place of all flags that a kubelet has only because it uses
/// Docker.
const DOCKER: &str = "docker-endpoint";
const BECAUSE_OF_DOCKER: [&str; 3] = ["network-plugin", "cni-conf-dir", "cni-bin-dir"];

fn deprecated<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (invocation, flag, row) in flags(fleet) {
        let (major, minor) = version(fleet, invocation.program);
        // Port 0 closes a port that is open by default in this version.
        let closes = flag.value.text == "0";
        let follows = BECAUSE_OF_DOCKER.contains(&row.name) && invocation.flag(DOCKER).is_some();
        let deprecated = row.span.deprecated.filter(|_| row.is_replaceable(minor));
        if let Some(deprecated) = deprecated.filter(|_| !closes && !follows) {
            found.flag(
                flag,
                fleet,
                format!(
                    "{} has been deprecated since {major}.{deprecated}: {}",
                    shown(row, flag),
                    instead(row)
                ),
            );
        }
    }
}

fn etcd<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    gone(fleet, found, &["etcd"]);
    if fleet.target.etcd < 6 {
        return;
    }
    for (document, command) in fleet.commands() {
        if command.runs(&["etcdctl", "snapshot", "restore"]) {
            found.at(document, command.name(), "etcdctl 3.6 and later can't restore snapshots: use etcdutl");
        } else if command.runs(&["etcdctl", "snapshot", "status"]) {
            found.at(
                document,
                command.name(),
                "etcdctl 3.6 and later can't show snapshot status: use etcdutl",
            );
        }
    }
}

fn misspelt<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in &fleet.invocations {
        let removed = || FLAGS.iter().filter(|row| row.is_of(invocation.program)).map(|row| row.name);
        let names = || known::flags(invocation.program).chain(removed());
        for flag in invocation
            .flags
            .iter()
            .filter(|flag| flag.name.len() > 5 && !names().any(|name| name == flag.name))
        {
            if let Some(name) = slip(&flag.name, names()) {
                found.flag(
                    flag,
                    fleet,
                    format!("{} has no flag --{}; did you mean --{name}?", invocation.program, flag.name),
                );
            }
        }
    }
}
