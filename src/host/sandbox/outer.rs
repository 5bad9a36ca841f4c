//! `kiln sandbox-exec`: creates the namespaces and waits for the program in them.

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
    // This must be last: creating namespaces clears the parent death signal.
    die_with(sandbox.parent)?;
    let spec = serde_json::to_string(&Sandbox { parent: std::process::id(), ..sandbox.clone() });
    let spec = spec.doing(Kind::Internal, || "serializing the sandbox".into())?;
    let mut command = host::process::command("/proc/self/exe");
    command.arg(INNER).env_clear().env(SPEC, spec).stdin(std::process::Stdio::inherit());
    let status = command.status().doing(Kind::Tool, || "starting the sandbox's first process".into())?;
    Ok(exit_code(status))
}

/// Creates the namespaces; returns true if a user namespace is among them. Root creates one only if the
/// kernel rejects the others without it.
fn unshare(root: bool) -> Result<bool> {
    let flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    let made = match if root { kernel::unshare(flags) } else { Err(Errno::PERM) } {
        Err(Errno::PERM) => kernel::unshare(flags | UnshareFlags::NEWUSER).map(|()| true),
        made => made.map(|()| false),
    };
    made.map_err(|err| {
        Error::new(Kind::Tool, format!("creating namespaces: {err}"))
            .hint("the kernel or the container does not allow user namespaces: run as root")
            .hint(
                "or allow them: `sysctl user.max_user_namespaces=15000`, and on some distributions `sysctl \
                kernel.unprivileged_userns_clone=1` or `sysctl \
                kernel.apparmor_restrict_unprivileged_userns=0`",
            )
    })
}

fn map(name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/self/{name}");
    host::fs::write_existing(path.as_ref(), text.as_bytes())
}

/// Asks the kernel to kill this process when its parent exits, and fails if the parent has already exited.
fn die_with(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .doing(Kind::Tool, || "setting the parent death signal".into())?;
    let alive = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent));
    if alive { Ok(()) } else { Err(Error::new(Kind::Interrupted, "kiln has exited")) }
}
