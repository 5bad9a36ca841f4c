//! Control groups, version 2: everything a lab starts is in a branch of its own, so that it can be ended at one stroke. Where this machine
//! has the controller of disks in version 1, as `blkio`, version 2 lacks it as `io`: one controller is in one hierarchy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::MountFlags;

use crate::error::{Error, Kind, Result};
use crate::host;

const MOUNT: &str = "/sys/fs/cgroup";
/// A process that waits for a disk stops after that.
const FREEZING: Duration = Duration::from_secs(5);

/// One branch of the hierarchy.
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
    host::mount::filesystem("cgroup2", "none", mount, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")
}

/// Mounts version 1's hierarchy of `blkio` on `target`, if this machine uses it. No new one is made: it would outlast this mount.
pub(crate) fn mount_disks(target: &Path) -> Result<()> {
    let own = host::fs::read_to_string(Path::new("/proc/self/cgroup"))?;
    if !has_blkio(&own) {
        return Ok(());
    }
    host::fs::create_directories(target)?;
    host::mount::filesystem("cgroup", "none", target, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "blkio")
}

/// Reads lines of `HIERARCHY:CONTROLLERS:PATH`, cgroups(7).
fn has_blkio(own: &str) -> bool {
    own.lines().filter_map(|line| line.split(':').nth(1)).any(|controllers| controllers.split(',').any(|name| name == "blkio"))
}

impl Branch {
    /// A branch at the top of the hierarchy; it need not exist.
    pub(crate) fn top(name: &str) -> Self {
        Self::at(Path::new(MOUNT), name)
    }

    /// The same of the hierarchy that is mounted at `mount`.
    pub(crate) fn at(mount: &Path, name: &str) -> Self {
        Self(mount.join(name))
    }

    /// A branch below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Moves this process out of the branch, which is one at the top.
    pub(crate) fn leave(&self) -> Result<()> {
        host::fs::write_existing(&self.0.with_file_name("cgroup.procs"), b"0")
    }

    /// Makes the branch and moves this process into it; what it starts from now on begins there.
    pub(crate) fn join(&self) -> Result<()> {
        host::fs::create_directories(&self.0)?;
        host::fs::write_existing(&self.0.join("cgroup.procs"), b"0")
    }

    /// Every process in the branch and below it, by its number in this PID namespace.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let own = host::fs::read_to_string(&self.0.join("cgroup.procs")).unwrap_or_default();
        let below = host::fs::list(&self.0).unwrap_or_default().into_iter().filter(|child| child.is_dir());
        let below = below.flat_map(|child| Self(child).processes());
        own.lines().filter_map(|id| id.parse().ok()).filter(|id| *id != 0).chain(below).collect()
    }

    /// Ends every process in the branch at once, as a power cut does.
    pub(crate) fn kill(&self) -> Result<()> {
        let kill = self.0.join("cgroup.kill");
        if kill.exists() { host::fs::write_existing(&kill, b"1") } else { Ok(()) }
    }

    /// Stops every process in the branch, or lets all go on, and returns when they have; kernels have this since 5.2.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if they do not, and then they go on.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let switch = self.0.join("cgroup.freeze");
        let word: &[u8] = if frozen { b"1" } else { b"0" };
        host::fs::write_existing(&switch, word)?;
        let watch = host::clock::Stopwatch::start();
        while self.is_frozen() != frozen {
            if watch.elapsed() > FREEZING {
                host::fs::write_existing(&switch, b"0")?;
                return Err(Error::new(Kind::Tool, format!("the processes in `{}` do not stop", self.0.display())));
            }
            host::clock::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether every process in the branch is stopped.
    pub(crate) fn is_frozen(&self) -> bool {
        let events = host::fs::read_to_string(&self.0.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "frozen 1")
    }

    /// Lets processes of the branch write to a device so often a second and no more; none lifts that. The device is `MAJOR:MINOR`.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the kernel has no controller of disks here.
    pub(crate) fn bound_writes(&self, device: &str, per_second: Option<u32>) -> Result<()> {
        let (old, new) = (self.0.join("blkio.throttle.write_iops_device"), self.0.join("io.max"));
        if old.exists() {
            return host::fs::write_existing(&old, format!("{device} {}", per_second.unwrap_or(0)).as_bytes());
        }
        self.ask_for_io();
        if !new.exists() {
            let why = "the kernel bounds no writes to disks: control groups have neither `io` (version 2) nor `blkio` (version 1)";
            return Err(Error::new(Kind::Tool, why));
        }
        let bound = per_second.map_or_else(|| "max".to_owned(), |number| number.to_string());
        host::fs::write_existing(&new, format!("{device} wiops={bound}").as_bytes())
    }

    /// Has version 2 bound disks in this branch, from the top down; where it has no such controller nothing changes.
    fn ask_for_io(&self) {
        let above: Vec<&Path> = self.0.ancestors().skip(1).take_while(|above| above.starts_with(MOUNT)).collect();
        for above in above.into_iter().rev() {
            let _ = host::fs::write_existing(&above.join("cgroup.subtree_control"), b"+io");
        }
    }

    /// Removes the branch and all below it, waiting a little for killed processes to be gone.
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
        for (own, expected) in
            [("7:blkio:/\n0::/\n", true), ("4:cpu,blkio:/a\n", true), ("0::/init.scope\n", false), ("3:cpu:/blkio\n", false)]
        {
            assert_eq!(has_blkio(own), expected, "{own}");
        }
    }
}
