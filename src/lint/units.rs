//! Lints for the systemd units of components: keys, restarts and limits.

use crate::config::{Block, Fleet, Statement};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::COMPONENTS;
use crate::profile::slip;

/// Keys that are often misspelt, and similar valid keys, so that the latter are not reported
/// (systemd.unit(5), systemd.service(5)).
const KEYS: [&str; 44] = [
    "After",
    "Before",
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "PartOf",
    "Upholds",
    "Conflicts",
    "Description",
    "Documentation",
    "OnFailure",
    "OnSuccess",
    "RequiresMountsFor",
    "WantsMountsFor",
    "StartLimitIntervalSec",
    "StartLimitBurst",
    "StartLimitAction",
    "Type",
    "ExecStart",
    "ExecStartPre",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
    "Restart",
    "RestartSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "TimeoutSec",
    "KillMode",
    "KillSignal",
    "PIDFile",
    "EnvironmentFile",
    "Environment",
    "LimitNOFILE",
    "LimitNPROC",
    "WantedBy",
    "RequiredBy",
    "UpheldBy",
    "Alias",
    "Also",
    "WorkingDirectory",
    "StateDirectory",
];
/// `[Unit]` keys, which systemd ignores in `[Service]`.
const UNIT_ONLY: [&str; 12] = [
    "After",
    "Before",
    "Requires",
    "Wants",
    "BindsTo",
    "PartOf",
    "Conflicts",
    "Description",
    "Documentation",
    "OnFailure",
    "RequiresMountsFor",
    "StartLimitIntervalSec",
];
/// Control-plane units, which exit by design when they lose etcd or their lease.
const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// Time that etcd may wait for its peers at the first boot, in seconds.
const FIRST_BOOT: f64 = 600.0;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA316", "a unit contains a key that systemd ignores")
        .why(
            "systemd ignores the line and only logs a warning in the journal: the intended ordering or \
            dependency is missing",
        )
        .fix("correct the spelling, as in `Requires=` or `Wants=`, or move the key to the right section")
        .files(unknown_key),
    Lint::warning("HA317", "keepalived leaves processes behind, or is not restarted")
        .why(
            "with `KillMode=process`, the VRRP child keeps running and holds the VIP while another machine \
            also takes it; without `Restart=`, a single crash ends redundancy",
        )
        .fix("use `KillMode=control-group` and `Restart=always`")
        .files(keepalived_unit),
    Lint::error("HA410", "a control-plane component is not restarted every time it exits")
        .why(
            "API servers exit when they can't reach etcd, and controllers exit when they can't renew their \
            lease: this is by design, so systemd has to restart them every time",
        )
        .fix("use `Restart=always`, `RestartSec=5s` and `StartLimitIntervalSec=0`")
        .files(stays_down),
    Lint::error("HA411", "etcd's start timeout is too short for a first boot")
        .why(
            "etcd reports that it is ready only once there is a quorum, and the other machines may be \
            powered on minutes later: until then systemd repeatedly kills etcd, and units with \
            `Requires=etcd.service` stop with it each time",
        )
        .fix("use `TimeoutStartSec=infinity`, and `After=etcd.service` without `Requires=`")
        .files(impatient),
    Lint::warning("HA412", "a unit is in the directory for package units")
        .why("the next package update replaces the unit, or the unit overrides a newer one from the package")
        .fix("move the unit to /etc/systemd/system")
        .files(in_place_of_a_package),
    Lint::error("HA415", "the kubelet or the runtime can't write to paths that pods need")
        .why(
            "network add-ons copy their programs to /opt/cni/bin, and the kubelet mounts volumes that pods \
            have to see: with a read-only view of the file system both fail",
        )
        .fix("remove `ProtectSystem=` from these units")
        .files(read_only),
];

/// Returns the name of the unit that a section belongs to, even if the section is in a drop-in.
fn unit<'a>(block: &Block<'_, 'a>) -> &'a str {
    block.document.unit().unwrap_or_default()
}

fn is_drop_in(block: &Block<'_, '_>) -> bool {
    block.document.is_drop_in()
}

/// Returns a unit's setting, taking drop-ins into account.
pub(super) fn setting<'a>(
    fleet: &Fleet<'a>,
    block: &Block<'_, 'a>,
    section: &'static str,
    name: &str,
) -> Option<&'a str> {
    let same = |other: &Block<'_, 'a>| unit(other) == unit(block);
    let mut all: Vec<Block<'_, 'a>> = fleet.on(block.document.machine).units(section).filter(same).collect();
    all.sort_by_key(is_drop_in);
    all.iter().rev().find_map(|other| other.statement.setting(name)).map(|word| word.text)
}

/// Returns the `[Service]` sections of these units, without drop-ins.
fn services<'f, 'a>(fleet: &'f Fleet<'a>, names: &'f [&str]) -> impl Iterator<Item = Block<'f, 'a>> {
    fleet.units("Service").filter(move |block| !is_drop_in(block) && names.contains(&unit(block)))
}

fn unknown_key<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for section in ["Unit", "Service", "Install"] {
        for block in fleet.units(section) {
            for word in
                block.statement.body.iter().map(Statement::name).filter(|word| !KEYS.contains(&word.text))
            {
                if let Some(key) = slip(word.text, KEYS.iter().copied()) {
                    found.at(
                        block.document,
                        word,
                        format!("systemd has no `{}=`; did you mean `{key}=`?", word.text),
                    );
                }
            }
        }
    }
    for block in fleet.units("Service") {
        for word in
            block.statement.body.iter().map(Statement::name).filter(|word| UNIT_ONLY.contains(&word.text))
        {
            found.at(
                block.document,
                word,
                format!("`{}=` belongs in `[Unit]`; systemd ignores it here", word.text),
            );
        }
    }
}

fn keepalived_unit<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.units("Service").filter(|block| unit(block) == "keepalived") {
        let own = block.statement.last(&["KillMode"]);
        let process = setting(fleet, &block, "Service", "KillMode") == Some("process");
        if let Some(own) = own.filter(|_| process) {
            found.at(block.document, own.name(), "the child process that holds the VIP outlives keepalived");
        }
    }
    for block in services(fleet, &["keepalived"]) {
        if setting(fleet, &block, "Service", "Restart").is_none_or(|restart| restart == "no") {
            found.at(block.document, block.statement.name(), "nothing restarts keepalived");
        }
    }
}

fn stays_down<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in services(fleet, &CONTROL_PLANE) {
        let word = block.statement.last(&["Restart"]).map_or(block.statement.name(), Statement::name);
        let restart = setting(fleet, &block, "Service", "Restart").unwrap_or("no");
        if restart != "always" {
            found.at(
                block.document,
                word,
                format!("with `Restart={restart}`, {} stays down after an intentional exit", unit(&block)),
            );
            continue;
        }
        let unlimited = ["StartLimitIntervalSec", "StartLimitInterval"].iter().any(|name| setting(fleet, &block, "Unit", name) == Some("0"))
                // Before systemd 230 the key was in this section, which is still supported.
                || setting(fleet, &block, "Service", "StartLimitInterval") == Some("0");
        // systemd's default limit is five starts within ten seconds.
        let slow = setting(fleet, &block, "Service", "RestartSec")
            .and_then(seconds)
            .is_some_and(|pause| pause >= 2.0);
        if !unlimited && !slow {
            found.at(block.document, word, "systemd gives up after five starts in quick succession");
        }
    }
}

/// Parses a systemd time span, in the formats that component units use.
fn seconds(text: &str) -> Option<f64> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let number: f64 = text[..digits].parse().ok()?;
    match text[digits..].trim() {
        "" | "s" | "sec" | "seconds" => Some(number),
        "ms" => Some(number / 1000.0),
        "m" | "min" | "minutes" => Some(number * 60.0),
        "h" | "hours" => Some(number * 3600.0),
        _ => None,
    }
}

fn impatient<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in
        services(fleet, &["etcd"]).filter(|block| setting(fleet, block, "Service", "Type") == Some("notify"))
    {
        let limit =
            ["TimeoutStartSec", "TimeoutSec"].iter().find_map(|name| setting(fleet, &block, "Service", name));
        let enough = limit.is_some_and(|limit| {
            limit == "infinity" || limit == "0" || seconds(limit).is_some_and(|time| time >= FIRST_BOOT)
        });
        if !enough {
            let word =
                block.statement.last(&["TimeoutStartSec"]).map_or(block.statement.name(), Statement::name);
            found.at(
                block.document,
                word,
                format!("systemd kills etcd after {} if its peers are not up", limit.unwrap_or("90s")),
            );
        }
    }
    for block in fleet.units("Unit").filter(|block| unit(block) != "etcd") {
        for name in ["Requires", "BindsTo", "Requisite"] {
            if let Some(statement) = block
                .statement
                .body
                .iter()
                .find(|statement| statement.is(&[name]) && statement.has("etcd.service"))
            {
                found.at(
                    block.document,
                    statement.name(),
                    format!("{} stops whenever etcd stops", unit(&block)),
                );
            }
        }
    }
}

fn in_place_of_a_package<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in services(fleet, &COMPONENTS) {
        if ["/usr/lib/systemd/", "/lib/systemd/"].iter().any(|place| block.document.path.starts_with(place)) {
            found.at(
                block.document,
                block.statement.name(),
                format!("`{}` is in a directory for package units", block.document.path),
            );
        }
    }
}

fn read_only<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.units("Service").filter(|block| ["kubelet", "containerd"].contains(&unit(block))) {
        if let Some(word) = block
            .statement
            .setting("ProtectSystem")
            .filter(|word| ["strict", "full", "yes", "true"].contains(&word.text))
        {
            found.at(
                block.document,
                word,
                format!("/usr, and perhaps /opt/cni/bin, is read-only for {}", unit(&block)),
            );
        }
    }
}
