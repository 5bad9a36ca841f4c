//! Container disks: each is a sparse file with its own filesystem, so that it can be slow or full without
//! affecting this machine's disk.
//!
//! The file is in memory like the rest of the lab, and is mounted by the supervisor. The loop device that
//! mount(8) creates is released with its last mount (`LO_FLAGS_AUTOCLEAR`, loop(4)), so nothing is left
//! behind however the lab ends.
//!
//! The filesystem has no journal: its state after a power failure on this machine does not matter, and a
//! journal would be written by the kernel, which no cgroup limits. Without a journal, each sync is written by
//! the process that requested it.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::lab::{Guest, Lab};

/// Apparent size of a node's disk, in GiB; unwritten blocks occupy no space.
pub(super) const SIZE_GIB: u64 = 16;
/// Default duration of a sync on a slow disk, in milliseconds: twice the duration at which an etcd leader
/// transfers leadership.
pub(crate) const SYNC: u32 = 200;
/// Program that creates the filesystem.
const MAKE: &str = "mkfs.ext4";
/// Host programs that are required for separate container disks; `kiln doctor` checks them.
pub(crate) const TOOLS: &[&str] = &[MAKE];
/// Number of writes that one sync of etcd's log waits for: two or three to the log itself, the others to the
/// database.
const WRITES: u32 = 6;

/// Disk of one node, which may not have been created yet.
#[derive(Debug)]
pub(super) struct OwnDisk {
    node: String,
    /// The node's directory, which contains the disk.
    directory: PathBuf,
}

impl OwnDisk {
    pub(super) fn of(lab: &Lab, guest: &Guest) -> Self {
        Self { node: guest.name.clone(), directory: lab.directory_of(guest) }
    }

    /// Returns the directory that becomes the node's `/var`. Creates and mounts the disk if needed; without
    /// [`MAKE`], `/var` is a plain directory.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the disk can't be created or mounted.
    pub(super) fn var(&self) -> Result<PathBuf> {
        let plain = self.directory.join("var");
        let var = match host::process::find(MAKE) {
            _ if self.is_there() => self.mount().join("var"),
            // Data that a node has already written is not moved.
            Some(make) if !plain.exists() => {
                self.make(&make).within(|| format!("creating the disk for `{}`", self.node))?;
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
        // `noinit_itable` keeps a kernel thread from zeroing inode tables that are zero already; `discard`
        // frees deleted blocks.
        let mut mount = host::process::command("mount");
        mount.args(["-t", "ext4", "-o", "loop,nodev,noinit_itable,discard"]);
        host::process::run(mount.arg(&file).arg(self.mount())).map(|_| ())
    }

    fn mount(&self) -> PathBuf {
        self.directory.join("disk")
    }

    /// Returns the path of the file that takes up all space on a full disk; the node can't see it.
    fn ballast(&self) -> PathBuf {
        self.mount().join("ballast")
    }

    fn is_there(&self) -> bool {
        host::mount::is_mount_point(&self.mount())
    }

    /// Returns the disk's block device as `MAJOR:MINOR`.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the node has no separate disk.
    pub(super) fn device(&self) -> Result<String> {
        if self.is_there() {
            return host::fs::device(&self.mount());
        }
        Err(Error::new(
            Kind::Tool,
            format!("`{}` has no separate disk: `{MAKE}` was missing when the node first started", self.node),
        )
        .hint(
            "install it (`apt install e2fsprogs` or `dnf install e2fsprogs`), then run `kiln lab kill \
            --lose-disk` and `kiln lab start`",
        ))
    }

    /// Fills all free space. Repeated calls fill space that has been freed since.
    ///
    /// # Errors
    ///
    /// Same as [`OwnDisk::device`].
    pub(super) fn fill(&self) -> Result<()> {
        self.device()?;
        host::fs::fill(&self.ballast(), host::fs::PRIVATE)
    }

    pub(super) fn is_full(&self) -> bool {
        self.ballast().exists()
    }

    /// Frees the space on a full disk.
    pub(super) fn relieve(&self) -> Result<()> {
        if self.is_full() { host::fs::remove(&self.ballast()) } else { Ok(()) }
    }

    /// Unmounts the disk; the data is removed with the node's directory.
    pub(super) fn lose(&self) -> Result<()> {
        if self.is_there() { host::mount::detach(&self.mount()) } else { Ok(()) }
    }
}

/// Returns the writes per second at which a sync of etcd's log takes `milliseconds` on average.
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
