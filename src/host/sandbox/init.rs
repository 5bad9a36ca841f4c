//! `kiln sandbox-init`: the first process of the namespaces. Builds the view, runs the program, and ends everything with it.

use std::process::Command;

use rustix::process::{Signal, geteuid, set_parent_process_death_signal, umask};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use super::{Sandbox, exit_code, fakeroot, kernel, mounts};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// What reaches beyond the namespaces when root has made no user namespace.
const DANGEROUS: [CapabilitySet; 17] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_TIME,
    CapabilitySet::SYS_NICE,
    CapabilitySet::SYS_PACCT,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_TTY_CONFIG,
    CapabilitySet::SYSLOG,
    CapabilitySet::MKNOD,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::LINUX_IMMUTABLE,
    CapabilitySet::WAKE_ALARM,
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
];

pub(super) fn run(sandbox: &Sandbox) -> Result<u8> {
    die_with(sandbox.parent)?;
    mounts::enter(sandbox)?;
    let step = |what: &'static str| move || format!("confining the program: {what}");
    rustix::system::sethostname(b"kiln").doing(Kind::Tool, step("naming the host"))?;
    for capability in DANGEROUS {
        // An older kernel doesn't know the newest ones.
        let _ = remove_capability_from_bounding_set(capability);
    }
    set_no_new_privs(true).doing(Kind::Tool, step("no new privileges"))?;
    kernel::suppress_sync().doing(Kind::Tool, step("suppressing sync"))?;
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    debug_assert!(geteuid().is_root(), "the first process is root of its namespaces");
    execute(sandbox)
}

fn execute(sandbox: &Sandbox) -> Result<u8> {
    let mut command = program(sandbox);
    let faked = sandbox.fakeroot.as_ref().map(|fakeroot| fakeroot::start(fakeroot, &mut command)).transpose()?;
    let status = command.status().doing(Kind::Tool, || format!("starting `{}` in the sandbox", sandbox.command[0]))?;
    if let Some(faked) = faked {
        faked.stop()?;
    }
    Ok(exit_code(status))
}

fn program(sandbox: &Sandbox) -> Command {
    let mut command = host::process::command(&sandbox.command[0]);
    command.args(&sandbox.command[1..]).env_clear().envs(&sandbox.environment).current_dir("/").stdin(std::process::Stdio::inherit());
    command
}

/// As its namesake in `outer`; a first process has no parent that it could name, but the host's `/proc` still can.
fn die_with(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing(Kind::Tool, || "tying the sandbox to kiln".into())?;
    let status = host::fs::read_to_string("/proc/self/status".as_ref())?;
    let alive = status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|pid| pid.trim().parse() == Ok(parent)));
    if alive { Ok(()) } else { Err(Error::new(Kind::Interrupted, "kiln is gone")) }
}
