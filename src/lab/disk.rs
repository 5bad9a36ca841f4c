//! A container's disk: a sparse file with a filesystem of its own, so that it can be slow or full without this machine's being so.
//!
//! It is mounted by the supervisor and in memory with the rest of the lab. The loop device that mount(8) makes ends with its last mount
//! (`LO_FLAGS_AUTOCLEAR`, loop(4)), so nothing is left however the lab ends.
//!
//! The filesystem has no journal: what a power cut of this machine leaves is no matter, and a journal is written by the kernel, whom no
//! control group bounds. So each sync is written by who asked for it.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::lab::{Guest, Lab};

/// Size that a node's disk appears to have, in GiB; what is not written costs nothing.
pub(super) const SIZE_GIB: u64 = 16;
/// Milliseconds that a sync of a slow disk takes, unless others are named: twice what makes a leader of etcd hand leadership on.
pub(crate) const SYNC: u32 = 200;
/// What makes the filesystem.
const MAKE: &str = "mkfs.ext4";
/// Host programs without which containers have no disk of their own; `kiln doctor` checks them.
pub(crate) const TOOLS: &[&str] = &[MAKE];
/// Writes for which one sync of etcd's log waits: two or three of its own, and those of its database.
const WRITES: u32 = 6;

/// The disk of one node, made or not.
#[derive(Debug)]
pub(super) struct OwnDisk {
    node: String,
    /// The node's directory, which holds all of it.
    directory: PathBuf,
}

impl OwnDisk {
    pub(super) fn of(lab: &Lab, guest: &Guest) -> Self {
        Self { node: guest.name.clone(), directory: lab.directory_of(guest) }
    }

    /// The directory that is the node's `/var`. The disk is made and mounted if it is not; without [`MAKE`] it is a plain directory.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if it can't be made or mounted.
    pub(super) fn var(&self) -> Result<PathBuf> {
        let plain = self.directory.join("var");
        let var = match host::process::find(MAKE) {
            _ if self.is_there() => self.mount().join("var"),
            // What a node has once written stays where it is.
            Some(make) if !plain.exists() => {
                self.make(&make).within(|| format!("making the disk of `{}`", self.node))?;
                self.mount().join("var")
            }
            _ => plain,
        };
        host::fs::create_directories(&var)?;
        host::fs::set_mode(&var, 0o755)?;
        Ok(var)
    }

    fn make(&self, program: &std::path::Path) -> Result<()> {
        let file = self.directory.join("disk.ext4");
        host::fs::create_sparse(&file, SIZE_GIB << 30, host::fs::PRIVATE)?;
        let mut make = host::process::command(program);
        make.args(["-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,nodiscard"]);
        host::process::run(make.arg(&file))?;
        host::fs::create_private_directory(&self.mount())?;
        // A thread of the kernel would write inodes that are zeros already; what is deleted is given back.
        let mut mount = host::process::command("mount");
        mount.args(["-t", "ext4", "-o", "loop,nodev,noinit_itable,discard"]);
        host::process::run(mount.arg(&file).arg(self.mount())).map(|_| ())
    }

    fn mount(&self) -> PathBuf {
        self.directory.join("disk")
    }

    /// What takes all the room of a full disk; the node does not see it.
    fn ballast(&self) -> PathBuf {
        self.mount().join("ballast")
    }

    fn is_there(&self) -> bool {
        host::mount::is_mount_point(&self.mount())
    }

    /// The device that holds it, `MAJOR:MINOR`.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the node has no disk of its own.
    pub(super) fn device(&self) -> Result<String> {
        if self.is_there() {
            return host::fs::device(&self.mount());
        }
        Err(Error::new(Kind::Tool, format!("`{}` has no disk of its own: there was no `{MAKE}` when it was first started", self.node))
            .hint("install it (`apt install e2fsprogs`, `dnf install e2fsprogs`), then `kiln lab kill --lose-disk` and `kiln lab start`"))
    }

    /// Takes all the room that is left. Repeated, it takes what was freed since.
    ///
    /// # Errors
    ///
    /// As [`OwnDisk::device`].
    pub(super) fn fill(&self) -> Result<()> {
        self.device()?;
        host::fs::fill(&self.ballast(), host::fs::PRIVATE)
    }

    pub(super) fn is_full(&self) -> bool {
        self.ballast().exists()
    }

    /// Gives the room of a full disk back.
    pub(super) fn relieve(&self) -> Result<()> {
        if self.is_full() { host::fs::remove(&self.ballast()) } else { Ok(()) }
    }

    /// Unmounts it: what is lost is removed with the node's directory.
    pub(super) fn lose(&self) -> Result<()> {
        if self.is_there() { host::mount::detach(&self.mount()) } else { Ok(()) }
    }
}

/// Writes a second by which a sync of etcd's log takes `milliseconds` on average.
pub(super) fn writes_per_second(milliseconds: u32) -> u32 {
    (WRITES * 1000 / milliseconds.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::writes_per_second;

    #[test]
    fn a_slow_disk_writes_a_few_times_a_second_and_at_least_once() {
        let table = [(20, 300), (200, 30), (350, 17), (2000, 3), (60_000, 1)];
        assert_eq!(table.map(|(milliseconds, _)| (milliseconds, writes_per_second(milliseconds))), table);
    }
}
