//! The first process of a container: the agent, then systemd in its place. A virtual or real machine does the same in its initrd.

use std::ffi::OsString;
use std::path::Path;

use rustix::mount::MountFlags;

use crate::agent::places::SEED_VARIABLE;
use crate::agent::{Places, Request, Status, apply};
use crate::error::Result;
use crate::host;

/// What systemd is called in a Debian image.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Configures the container and becomes systemd; returns only if something is wrong.
///
/// # Errors
///
/// As [`apply`]; [`crate::error::Kind::Tool`] if systemd is not there.
pub(crate) fn init(arguments: &[OsString], tell: impl FnOnce(&Status)) -> Result<()> {
    mount_missing()?;
    let places = Places::of_this_machine(Path::new("/"))?;
    tell(&apply(&places, &Request::default())?);
    host::process::replace(host::process::command(SYSTEMD).args(arguments).env_remove(SEED_VARIABLE))
}

/// Container managers mount these; chroot-like ones may not.
fn mount_missing() -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (kind, target, options) in [("proc", "/proc", ""), ("sysfs", "/sys", ""), ("tmpfs", "/run", "mode=0755")] {
        let target = Path::new(target);
        if !host::mount::is_mount_point(target) {
            let flags = if kind == "tmpfs" { flags - MountFlags::NOEXEC } else { flags };
            host::mount::filesystem(kind, kind, target, flags, options)?;
        }
    }
    Ok(())
}
