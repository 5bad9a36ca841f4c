//! `kiln sandbox-init`: the first process in the namespaces. Builds the file tree and runs the program;
//! everything ends when the program exits.

use std::process::Command;

use rustix::process::{Signal, geteuid, set_parent_process_death_signal, umask};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use super::{Sandbox, exit_code, fakeroot, kernel, mounts};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// Capabilities with effects beyond the namespaces if root has not created a user namespace.
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
    rustix::system::sethostname(b"kiln").doing(Kind::Tool, step("setting the host name"))?;
    for capability in DANGEROUS {
        // An older kernel does not know the newest ones.
        let _ = remove_capability_from_bounding_set(capability);
    }
    set_no_new_privs(true).doing(Kind::Tool, step("setting no_new_privs"))?;
    kernel::suppress_sync().doing(Kind::Tool, step("suppressing sync"))?;
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    debug_assert!(geteuid().is_root(), "the first process is root in its namespaces");
    execute(sandbox)
}

fn execute(sandbox: &Sandbox) -> Result<u8> {
    let mut command = program(sandbox);
    let faked =
        sandbox.fakeroot.as_ref().map(|fakeroot| fakeroot::start(fakeroot, &mut command)).transpose()?;
    let status =
        command.status().doing(Kind::Tool, || format!("starting `{}` in the sandbox", sandbox.command[0]))?;
    if let Some(faked) = faked {
        faked.stop()?;
    }
    Ok(exit_code(status))
}

fn program(sandbox: &Sandbox) -> Command {
    let mut command = host::process::command(&sandbox.command[0]);
    command
        .args(&sandbox.command[1..])
        .env_clear()
        .envs(&sandbox.environment)
        .current_dir("/")
        .stdin(std::process::Stdio::inherit());
    command
}

/// Like its namesake in `outer`, but reads the parent from the host's `/proc`, since getppid(2) can't return
/// it here.
fn die_with(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .doing(Kind::Tool, || "setting the parent death signal".into())?;
    let status = host::fs::read_to_string("/proc/self/status".as_ref())?;
    let alive = status
        .lines()
        .any(|line| line.strip_prefix("PPid:").is_some_and(|pid| pid.trim().parse() == Ok(parent)));
    if alive { Ok(()) } else { Err(Error::new(Kind::Interrupted, "kiln has exited")) }
}
