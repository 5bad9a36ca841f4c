//! Control groups, version 2: all processes of a lab are in the lab's own cgroup, so that they can be killed
//! together. If this machine uses the version 1 disk controller (`blkio`), the version 2 disk controller
//! (`io`) is missing, because a controller is in only one hierarchy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::MountFlags;

use crate::error::{Error, Kind, Result};
use crate::host;

const MOUNT: &str = "/sys/fs/cgroup";
/// Time limit for freezing; a process that waits for a disk freezes only after that wait.
const FREEZING: Duration = Duration::from_secs(5);

/// A cgroup in the hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct Branch(PathBuf);

/// Mounts the version 2 hierarchy in this mount namespace if the machine uses version 1.
pub(crate) fn mount() -> Result<()> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return Ok(());
    }
    if host::mount::is_mount_point(mount) {
        host::mount::detach(mount)?;
    }
    host::mount::filesystem(
        "cgroup2",
        "none",
        mount,
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        "",
    )
}

/// Mounts the version 1 hierarchy of `blkio` on `target`, if this machine uses it. Never creates a hierarchy,
/// since it would outlive this mount.
pub(crate) fn mount_disks(target: &Path) -> Result<()> {
    let own = host::fs::read_to_string(Path::new("/proc/self/cgroup"))?;
    if !has_blkio(&own) {
        return Ok(());
    }
    host::fs::create_directories(target)?;
    host::mount::filesystem(
        "cgroup",
        "none",
        target,
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        "blkio",
    )
}

/// Checks for `blkio` in lines of `HIERARCHY:CONTROLLERS:PATH`, cgroups(7).
fn has_blkio(own: &str) -> bool {
    own.lines()
        .filter_map(|line| line.split(':').nth(1))
        .any(|controllers| controllers.split(',').any(|name| name == "blkio"))
}

impl Branch {
    /// Returns a top-level cgroup; it need not exist.
    pub(crate) fn top(name: &str) -> Self {
        Self::at(Path::new(MOUNT), name)
    }

    /// Returns the cgroup with this name in the hierarchy mounted at `mount`.
    pub(crate) fn at(mount: &Path, name: &str) -> Self {
        Self(mount.join(name))
    }

    /// Returns a cgroup below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Moves this process out of the cgroup, which must be at the top level.
    pub(crate) fn leave(&self) -> Result<()> {
        host::fs::write_existing(&self.0.with_file_name("cgroup.procs"), b"0")
    }

    /// Creates the cgroup and moves this process into it; children start there from now on.
    pub(crate) fn join(&self) -> Result<()> {
        host::fs::create_directories(&self.0)?;
        host::fs::write_existing(&self.0.join("cgroup.procs"), b"0")
    }

    /// Lists the IDs, in this PID namespace, of all processes in the cgroup and below it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let own = host::fs::read_to_string(&self.0.join("cgroup.procs")).unwrap_or_default();
        let below = host::fs::list(&self.0).unwrap_or_default().into_iter().filter(|child| child.is_dir());
        let below = below.flat_map(|child| Self(child).processes());
        own.lines().filter_map(|id| id.parse().ok()).filter(|id| *id != 0).chain(below).collect()
    }

    /// Kills every process in the cgroup at once, like a power cut.
    pub(crate) fn kill(&self) -> Result<()> {
        let kill = self.0.join("cgroup.kill");
        if kill.exists() { host::fs::write_existing(&kill, b"1") } else { Ok(()) }
    }

    /// Freezes every process in the cgroup, or thaws them, and returns when that is done; available since
    /// kernel 5.2.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if they do not freeze; they are then thawed again.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let switch = self.0.join("cgroup.freeze");
        let word: &[u8] = if frozen { b"1" } else { b"0" };
        host::fs::write_existing(&switch, word)?;
        let watch = host::clock::Stopwatch::start();
        while self.is_frozen() != frozen {
            if watch.elapsed() > FREEZING {
                host::fs::write_existing(&switch, b"0")?;
                return Err(Error::new(
                    Kind::Tool,
                    format!("the processes in `{}` did not freeze in time", self.0.display()),
                ));
            }
            host::clock::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Checks whether every process in the cgroup is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        let events = host::fs::read_to_string(&self.0.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "frozen 1")
    }

    /// Limits the writes per second of the cgroup's processes to a device; `None` removes the limit. The
    /// device is `MAJOR:MINOR`.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the kernel provides no disk controller here.
    pub(crate) fn bound_writes(&self, device: &str, per_second: Option<u32>) -> Result<()> {
        let (old, new) = (self.0.join("blkio.throttle.write_iops_device"), self.0.join("io.max"));
        if old.exists() {
            return host::fs::write_existing(
                &old,
                format!("{device} {}", per_second.unwrap_or(0)).as_bytes(),
            );
        }
        self.ask_for_io();
        if !new.exists() {
            let why = "the kernel can't limit disk writes: neither the `io` (cgroup v2) nor the `blkio` \
                (cgroup v1) controller exists";
            return Err(Error::new(Kind::Tool, why));
        }
        let bound = per_second.map_or_else(|| "max".to_owned(), |number| number.to_string());
        host::fs::write_existing(&new, format!("{device} wiops={bound}").as_bytes())
    }

    /// Enables the version 2 disk controller for this cgroup, from the top of the hierarchy down; does
    /// nothing if that controller is missing.
    fn ask_for_io(&self) {
        let above: Vec<&Path> =
            self.0.ancestors().skip(1).take_while(|above| above.starts_with(MOUNT)).collect();
        for above in above.into_iter().rev() {
            let _ = host::fs::write_existing(&above.join("cgroup.subtree_control"), b"+io");
        }
    }

    /// Removes the cgroup and everything below it; waits briefly for killed processes to exit.
    pub(crate) fn remove(&self) -> Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        for child in host::fs::list(&self.0)?.into_iter().filter(|child| child.is_dir()) {
            Self(child).remove()?;
        }
        let mut tries = 40;
        loop {
            match host::fs::remove_empty_directory(&self.0) {
                Err(_) if tries > 0 => host::clock::sleep(Duration::from_millis(50)),
                other => return other,
            }
            tries -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_blkio;

    #[test]
    fn a_machine_whose_disks_are_bounded_by_version_1_is_known() {
        for (own, expected) in [
            ("7:blkio:/\n0::/\n", true),
            ("4:cpu,blkio:/a\n", true),
            ("0::/init.scope\n", false),
            ("3:cpu:/blkio\n", false),
        ] {
            assert_eq!(has_blkio(own), expected, "{own}");
        }
    }
}
