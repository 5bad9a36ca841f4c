//! systemd units of the components: whether they come back, and when they give up.

use crate::config::{Block, Fleet, Statement};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::profile::slip;

/// Keys that people misspell, with their neighbours, so that the right ones are not suspected (systemd.unit(5), systemd.service(5)).
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
/// Keys of `[Unit]`, which systemd passes over in `[Service]`, as people know them from there.
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
/// Units of the control plane, which exit on purpose when they lose etcd or their lease.
const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// Units that packages bring.
const COMPONENTS: [&str; 10] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "etcd",
    "haproxy",
    "keepalived",
    "containerd",
    "docker",
];
/// How long etcd may wait for its peers at the first boot, in seconds.
const FIRST_BOOT: f64 = 600.0;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA316", "systemd does not know a key")
        .why("it passes over the line with a remark in the journal: the order or dependency that somebody counts on is not there")
        .fix("correct the spelling: `Requires=` or `Wants=`")
        .files(unknown_key),
    Lint::warning("HA317", "keepalived leaves processes behind, or does not come back")
        .why("with `KillMode=process` its VRRP child lives on and holds the VIP beside another machine; without `Restart=` one crash is the end of redundancy")
        .fix("use `KillMode=control-group` and `Restart=always`")
        .files(keepalived_unit),
    Lint::error("HA410", "a component of the control plane stays down")
        .why("an API server exits when it finds no etcd, controllers exit when they cannot renew their lease: that is their design, and systemd has to start them again however often it happens")
        .fix("use `Restart=always`, `RestartSec=5s` and `StartLimitIntervalSec=0`")
        .files(stays_down),
    Lint::error("HA411", "etcd is not given the time that its first boot takes")
        .why("it reports ready only with a quorum, and the other machines may be switched on minutes later: systemd kills it meanwhile, again and again; and what has `Requires=etcd.service` goes down with it each time")
        .fix("use `TimeoutStartSec=infinity`, and `After=etcd.service` without `Requires=`")
        .files(impatient),
    Lint::warning("HA412", "a unit lies where packages put theirs")
        .why("the next update of the package replaces it, or it hides a newer unit of the package")
        .fix("put it into /etc/systemd/system")
        .files(in_place_of_a_package),
    Lint::error("HA415", "the kubelet or the runtime may not write where pods need it")
        .why("network add-ons copy their programs to /opt/cni/bin, and the kubelet mounts volumes that pods have to see: with a read-only view of the system both fail")
        .fix("leave `ProtectSystem=` out of these units")
        .files(read_only),
];

/// The name of the unit that a section belongs to; drop-ins belong to theirs.
fn unit<'a>(block: &Block<'_, 'a>) -> &'a str {
    block.document.unit().unwrap_or_default()
}

fn is_drop_in(block: &Block<'_, '_>) -> bool {
    block.document.is_drop_in()
}

/// A setting of a unit, its drop-ins included.
pub(super) fn setting<'a>(fleet: &Fleet<'a>, block: &Block<'_, 'a>, section: &'static str, name: &str) -> Option<&'a str> {
    let same = |other: &Block<'_, 'a>| unit(other) == unit(block);
    let mut all: Vec<Block<'_, 'a>> = fleet.on(block.document.machine).units(section).filter(same).collect();
    all.sort_by_key(is_drop_in);
    all.iter().rev().find_map(|other| other.statement.setting(name)).map(|word| word.text)
}

/// The `[Service]` sections of some units, drop-ins left out.
fn services<'f, 'a>(fleet: &'f Fleet<'a>, names: &'f [&str]) -> impl Iterator<Item = Block<'f, 'a>> {
    fleet.units("Service").filter(move |block| !is_drop_in(block) && names.contains(&unit(block)))
}

fn unknown_key<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for section in ["Unit", "Service", "Install"] {
        for block in fleet.units(section) {
            for word in block.statement.body.iter().map(Statement::name).filter(|word| !KEYS.contains(&word.text)) {
                if let Some(key) = slip(word.text, KEYS.iter().copied()) {
                    found.at(block.document, word, format!("systemd has no `{}=`; did you mean `{key}=`?", word.text));
                }
            }
        }
    }
    for block in fleet.units("Service") {
        for word in block.statement.body.iter().map(Statement::name).filter(|word| UNIT_ONLY.contains(&word.text)) {
            found.at(block.document, word, format!("systemd knows `{}=` in `[Unit]`, and passes over it here", word.text));
        }
    }
}

fn keepalived_unit<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.units("Service").filter(|block| unit(block) == "keepalived") {
        let own = block.statement.last(&["KillMode"]);
        let process = setting(fleet, &block, "Service", "KillMode") == Some("process");
        if let Some(own) = own.filter(|_| process) {
            found.at(block.document, own.name(), "the child that holds the VIP outlives keepalived");
        }
    }
    for block in services(fleet, &["keepalived"]) {
        if setting(fleet, &block, "Service", "Restart").is_none_or(|restart| restart == "no") {
            found.at(block.document, block.statement.name(), "nothing starts keepalived again");
        }
    }
}

fn stays_down<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in services(fleet, &CONTROL_PLANE) {
        let word = block.statement.last(&["Restart"]).map_or(block.statement.name(), Statement::name);
        let restart = setting(fleet, &block, "Service", "Restart").unwrap_or("no");
        if restart != "always" {
            found.at(block.document, word, format!("`Restart={restart}` leaves {} down when it exits on purpose", unit(&block)));
            continue;
        }
        let unlimited = ["StartLimitIntervalSec", "StartLimitInterval"].iter().any(|name| setting(fleet, &block, "Unit", name) == Some("0"))
                // Its place before systemd 230, and read there still.
                || setting(fleet, &block, "Service", "StartLimitInterval") == Some("0");
        // Five starts within ten seconds are systemd's limit.
        let slow = setting(fleet, &block, "Service", "RestartSec").and_then(seconds).is_some_and(|pause| pause >= 2.0);
        if !unlimited && !slow {
            found.at(block.document, word, "after five quick starts systemd gives up");
        }
    }
}

/// A time span as systemd writes it, as far as units of components do.
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
    for block in services(fleet, &["etcd"]).filter(|block| setting(fleet, block, "Service", "Type") == Some("notify")) {
        let limit = ["TimeoutStartSec", "TimeoutSec"].iter().find_map(|name| setting(fleet, &block, "Service", name));
        let enough =
            limit.is_some_and(|limit| limit == "infinity" || limit == "0" || seconds(limit).is_some_and(|time| time >= FIRST_BOOT));
        if !enough {
            let word = block.statement.last(&["TimeoutStartSec"]).map_or(block.statement.name(), Statement::name);
            found.at(block.document, word, format!("etcd is killed after {} without its peers", limit.unwrap_or("90s")));
        }
    }
    for block in fleet.units("Unit").filter(|block| unit(block) != "etcd") {
        for name in ["Requires", "BindsTo", "Requisite"] {
            if let Some(statement) = block.statement.body.iter().find(|statement| statement.is(&[name]) && statement.has("etcd.service")) {
                found.at(block.document, statement.name(), format!("{} goes down with etcd", unit(&block)));
            }
        }
    }
}

fn in_place_of_a_package<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in services(fleet, &COMPONENTS) {
        if ["/usr/lib/systemd/", "/lib/systemd/"].iter().any(|place| block.document.path.starts_with(place)) {
            found.at(block.document, block.statement.name(), format!("`{}` belongs to packages", block.document.path));
        }
    }
}

fn read_only<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.units("Service").filter(|block| ["kubelet", "containerd"].contains(&unit(block))) {
        if let Some(word) = block.statement.setting("ProtectSystem").filter(|word| ["strict", "full", "yes", "true"].contains(&word.text)) {
            found.at(block.document, word, format!("{} sees /usr, and perhaps /opt/cni/bin, read-only", unit(&block)));
        }
    }
}
