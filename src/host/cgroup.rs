//! Control groups, version 2: everything a lab starts is in a branch of its own, so that it can be ended at one stroke.

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

impl Branch {
    /// A branch at the top of the hierarchy; it need not exist.
    pub(crate) fn top(name: &str) -> Self {
        Self(Path::new(MOUNT).join(name))
    }

    /// A branch below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Moves this process out of all branches.
    pub(crate) fn leave() -> Result<()> {
        host::fs::write_existing(&Path::new(MOUNT).join("cgroup.procs"), b"0")
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
