//! `kiln sandbox-exec`: makes the namespaces and waits for what runs in them.

use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getppid, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use super::{INNER, SPEC, Sandbox, exit_code, kernel};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

pub(super) fn run(sandbox: &Sandbox) -> Result<u8> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    if unshare(user == 0)? {
        map("setgroups", "deny")?;
        map("uid_map", &format!("0 {user} 1"))?;
        map("gid_map", &format!("0 {group} 1"))?;
    }
    // Last: new namespaces make the kernel forget it.
    die_with(sandbox.parent)?;
    let spec = serde_json::to_string(&Sandbox { parent: std::process::id(), ..sandbox.clone() });
    let spec = spec.doing(Kind::Internal, || "describing a sandbox".into())?;
    let mut command = host::process::command("/proc/self/exe");
    command.arg(INNER).env_clear().env(SPEC, spec).stdin(std::process::Stdio::inherit());
    let status = command.status().doing(Kind::Tool, || "starting the sandbox's first process".into())?;
    Ok(exit_code(status))
}

/// Returns whether there is a user namespace now. Root makes one only where it is not allowed to do without.
fn unshare(root: bool) -> Result<bool> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    let made = match if root { kernel::unshare(flags) } else { Err(Errno::PERM) } {
        Err(Errno::PERM) => kernel::unshare(flags | UnshareFlags::NEWUSER).map(|()| true),
        made => made.map(|()| false),
    };
    made.map_err(|err| {
        Error::new(Kind::Tool, format!("making namespaces: {err}"))
            .hint("the kernel or a container refuses user namespaces: run as root")
            .hint(
                "or allow them: `sysctl user.max_user_namespaces=15000`, on some distributions also \
                 `sysctl kernel.unprivileged_userns_clone=1` or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
            )
    })
}

fn map(name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/self/{name}");
    host::fs::write_existing(path.as_ref(), text.as_bytes())
}

/// Asks the kernel to end this process with its parent, and ends it now if that is gone already.
fn die_with(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).doing(Kind::Tool, || "tying the sandbox to kiln".into())?;
    let alive = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent));
    if alive { Ok(()) } else { Err(Error::new(Kind::Interrupted, "kiln is gone")) }
}
