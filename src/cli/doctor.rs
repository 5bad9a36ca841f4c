//! `kiln doctor`: checks whether this machine can build images and run the lab.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::base;
use crate::cli::{Ui, input};
use crate::error::{Doing as _, Error, Kind, Result};
use crate::host;
use crate::host::sandbox::{Access, Sandbox};
use crate::lab::{self, BACKENDS};
use crate::store::Store;
use crate::words::Arch;

/// Check whether this machine can build images and run the lab
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

const EXAMPLES: &str = "\
Examples:
  kiln doctor
  kiln doctor --json | jq '.[] | select(.state != \"good\")'

The exit code is 3 if this machine can't build images; missing lab requirements do not affect it.";

/// Approximate disk space needed to build one role's images.
const ROOM: u64 = 8 << 30;
/// 2025-01-01: if the clock is set earlier, certificates expire before they are used.
const PLAUSIBLE: u64 = 1_735_689_600;

/// Programs and their Debian packages, where the names differ.
const DEBIAN: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("mkfs.ext4", "e2fsprogs"),
    ("nft", "nftables"),
    ("qemu-img", "qemu-utils"),
    ("systemd-nspawn", "systemd-container"),
];

/// Result of one check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Finding {
    name: String,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Good,
    /// Builds work, with restrictions.
    Doubtful,
    /// Builds fail.
    Bad,
}

pub(super) fn run(_: &Args, ui: &Ui) -> Result<()> {
    let mut findings = vec![
        finding("sandbox", State::Bad, sandbox()),
        finding("store", State::Bad, store(ui)),
        finding("mirror", State::Bad, mirror(ui)),
        finding("clock", State::Bad, clock()),
        finding("kvm", State::Doubtful, kvm()),
    ];
    for backend in BACKENDS {
        findings.push(finding(
            &format!("lab {}", backend.name()),
            State::Doubtful,
            programs(&backend.tools()),
        ));
    }
    findings.push(finding("lab disks", State::Doubtful, programs(lab::DISK_TOOLS)));
    ui.show(&findings, |findings| findings.iter().map(line).collect())?;
    let bad = findings.iter().filter(|finding| finding.state == State::Bad).count();
    if bad == 0 {
        Ok(())
    } else {
        Err(Error::new(
            Kind::Io,
            format!("this machine can't build images: {bad} of {} checks failed", findings.len()),
        ))
    }
}

/// Converts a check's result to a finding; `worst` is its state on failure.
fn finding(name: &str, worst: State, found: Result<String>) -> Finding {
    let name = name.to_owned();
    match found {
        Ok(found) => Finding { name, state: State::Good, found, hints: Vec::new() },
        Err(err) => Finding { name, state: worst, found: err.to_string(), hints: err.hints().to_vec() },
    }
}

fn line(finding: &Finding) -> String {
    let state = match finding.state {
        State::Good => "good",
        State::Doubtful => "limited",
        State::Bad => "BAD",
    };
    let hints: String = finding.hints.iter().map(|hint| format!("{:24}hint: {hint}\n", "")).collect();
    format!("{state:<8}  {:<12}  {}\n{hints}", finding.name, finding.found)
}

/// Runs kiln itself in a sandbox: if that works, so do the locked tools.
fn sandbox() -> Result<String> {
    let root = tempfile::tempdir().doing(Kind::Io, || "creating a temporary directory".into())?;
    host::fs::create_directories(&root.path().join("run"))?;
    let program = host::process::own_program()?;
    Sandbox::new(root.path(), Access::Read, "/kiln")
        .bind(&program, "/kiln", Access::Read)
        .arg("--version")
        .run()?;
    let (user, _) = host::process::owner();
    Ok(if user == 0 {
        "programs run in a sandbox, as root"
    } else {
        "programs run in a sandbox, in a user namespace"
    }
    .to_owned())
}

fn store(ui: &Ui) -> Result<String> {
    let store = Store::open(ui.global().store.as_deref())?;
    let free = host::fs::free_space(store.root())?;
    let text = format!("`{}` has {} GiB free", store.root().display(), free >> 30);
    if free >= ROOM {
        return Ok(text);
    }
    Err(Error::new(Kind::Io, text).hint(format!(
        "a build needs {} GiB: run `kiln store gc`, or set KILN_STORE to a directory on a larger disk",
        ROOM >> 30
    )))
}

/// Returns the mirror that `kiln lock` or `kiln build` would use; an unreadable cluster file is ignored.
fn mirror(ui: &Ui) -> Result<String> {
    let configured = input::cluster(ui).ok().and_then(|cluster| cluster.base.mirror);
    let mirrors = base::mirror(configured.as_deref())?;
    let urls = mirrors.of(base::Archive::Debian);
    urls.first()
        .map(|url| format!("packages come from {url}"))
        .ok_or_else(|| Error::new(Kind::Input, "no Debian mirror is configured"))
}

fn clock() -> Result<String> {
    let now = host::clock::now();
    if now >= PLAUSIBLE {
        return Ok(host::clock::rfc3339(now));
    }
    Err(Error::new(Kind::Io, format!("the system time is {}", host::clock::rfc3339(now)))
        .hint("set the clock: new certificates become valid at the current time"))
}

fn kvm() -> Result<String> {
    if lab::is_native()? {
        return Ok("virtual machines run at native speed".to_owned());
    }
    Err(Error::new(Kind::Io, "virtual machines are emulated, which is tens of times slower").hint(
        "native speed requires a processor with VT-x or AMD-V enabled, and access to `/dev/kvm`: `usermod \
        -aG kvm $USER`",
    ))
}

fn programs(names: &[&str]) -> Result<String> {
    let missing: Vec<&str> =
        names.iter().copied().filter(|name| host::process::find(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(format!("found {}", names.join(", ")));
    }
    let package = |name: &str| {
        let emulator = Arch::ALL.into_iter().find(|arch| arch.qemu == name).map(|arch| arch.qemu_package);
        let listed = DEBIAN.iter().find(|(program, _)| *program == name).map(|(_, package)| *package);
        listed.or(emulator).unwrap_or(name).to_owned()
    };
    let packages: BTreeSet<String> = missing.iter().map(|name| package(name)).collect();
    let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
    Err(Error::new(Kind::Tool, format!("missing: {}", missing.join(", ")))
        .hint(format!("on Debian: `apt-get install {packages}`")))
}
