//! First process of a container: runs the agent, then replaces itself with systemd. On a virtual or physical
//! machine, the initrd does this.

use std::ffi::OsString;
use std::path::Path;

use rustix::mount::MountFlags;

use crate::agent::places::SEED_VARIABLE;
use crate::agent::{Places, Request, Status, apply};
use crate::error::Result;
use crate::host;

/// Path of systemd in a Debian image.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Configures the container, then executes systemd; returns only on error.
///
/// # Errors
///
/// As [`apply()`]; [`crate::error::Kind::Tool`] if systemd is missing.
pub(crate) fn init(arguments: &[OsString], tell: impl FnOnce(&Status)) -> Result<()> {
    mount_missing()?;
    let places = Places::of_this_machine(Path::new("/"))?;
    tell(&apply(&places, &Request::default())?);
    host::process::replace(host::process::command(SYSTEMD).args(arguments).env_remove(SEED_VARIABLE))
}

/// Mounts the API filesystems that the container manager has not mounted; chroot-like managers may mount
/// none.
fn mount_missing() -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (kind, target, options) in
        [("proc", "/proc", ""), ("sysfs", "/sys", ""), ("tmpfs", "/run", "mode=0755")]
    {
        let target = Path::new(target);
        if !host::mount::is_mount_point(target) {
            let flags = if kind == "tmpfs" { flags - MountFlags::NOEXEC } else { flags };
            host::mount::filesystem(kind, kind, target, flags, options)?;
        }
    }
    Ok(())
}
