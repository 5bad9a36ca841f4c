//! File tree that the program sees: its root, an empty `/run` and `/tmp`, harmless devices, its own `/proc`,
//! and bind-mounted files.

use std::fs::DirBuilder;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::{Access, Sandbox};
use crate::error::{Doing, Kind, Result};
use crate::host;

/// Devices without state or effect.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Directories created empty for every program, and therefore never bound from a read-only root.
const OWN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// File on the host, opened while it is still accessible.
struct Source {
    handle: OwnedFd,
    inside: String,
    access: Access,
}

/// Replaces the host's files with the sandbox's files.
pub(super) fn enter(sandbox: &Sandbox) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .doing(Kind::Tool, || "detaching mounts".into())?;
    let sources = open_sources(sandbox)?;
    let processes = open_path(Path::new("/proc"))?;
    let root = match sandbox.access {
        Access::Write => {
            bind(&sandbox.root, &sandbox.root)?;
            sandbox.root.clone()
        }
        Access::Read => assemble(&sandbox.root)?,
    };
    let step = || format!("entering `{}`", root.display());
    chdir(&root).doing(Kind::Tool, step)?;
    pivot_root(".", ".").doing(Kind::Tool, step)?;
    // From here on, every path is inside the sandbox, even through a malicious link.
    furnish(&processes)?;
    for source in &sources {
        attach(source)?;
    }
    chdir("/").doing(Kind::Tool, step)?;
    // The old root is mounted on top of the new one.
    unmount(".", UnmountFlags::DETACH).doing(Kind::Tool, || "unmounting the host's files".into())
}

fn open_sources(sandbox: &Sandbox) -> Result<Vec<Source>> {
    let devices = DEVICES
        .iter()
        .map(|name| (PathBuf::from(format!("/dev/{name}")), format!("/dev/{name}"), Access::Write));
    let binds = sandbox.binds.iter().map(|bind| (bind.host.clone(), bind.inside.clone(), bind.access));
    let open = |(path, inside, access): (PathBuf, String, Access)| {
        Ok(Source { handle: open_path(&path)?, inside, access })
    };
    devices.chain(binds).map(open).collect()
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing(Kind::Io, || format!("opening `{}`", path.display()))
}

/// Binds each entry of `root` read-only into an empty directory, which hides `root/run`.
fn assemble(root: &Path) -> Result<PathBuf> {
    let top = root.join("run");
    memory(&top, "mode=755")?;
    for entry in host::fs::list(root)? {
        let name = entry.file_name().expect("a listed entry has a name");
        let target = top.join(name);
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        if entry.is_symlink() {
            let text = entry.read_link().doing(Kind::Io, || format!("reading `{}`", entry.display()))?;
            symlink(text, &target).doing(Kind::Io, || format!("creating the link `{}`", target.display()))?;
        } else {
            make_target(&target, entry.is_dir())?;
            bind(&entry, &target)?;
            make_read_only(&target)?;
        }
    }
    Ok(top)
}

/// Creates the directories that every program expects: `/dev`, `/proc`, `/run`, `/sys`, `/tmp`.
fn furnish(processes: &OwnedFd) -> Result<()> {
    for name in OWN {
        make_target(&Path::new("/").join(name), true)?;
    }
    process_information(processes)?;
    // Not world-writable: in a world-writable sticky directory, the kernel rejects opening another owner's
    // device with `O_CREAT`.
    memory(Path::new("/dev"), "mode=755")?;
    for (name, target) in DEVICE_LINKS {
        symlink(target, Path::new("/dev").join(name))
            .doing(Kind::Io, || format!("creating the link `/dev/{name}`"))?;
    }
    make_directory(Path::new("/dev/shm"), 0o1777)?;
    memory(Path::new("/run"), "mode=755")?;
    make_directory(Path::new("/run/lock"), 0o1777)?;
    memory(Path::new("/tmp"), "mode=1777")
}

/// Mounts `/proc`. A container that hides parts of its own `/proc` forbids that, so the container's `/proc`
/// is bound instead.
fn process_information(host: &OwnedFd) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("proc", "/proc", "proc", flags, None).is_err() {
        fchdir(host).doing(Kind::Tool, || "entering the host's `/proc`".into())?;
        bind(Path::new("."), Path::new("/proc"))?;
    }
    let settings = Path::new("/proc/sys");
    bind(settings, settings)?;
    make_read_only(settings)
}

fn attach(source: &Source) -> Result<()> {
    let target = Path::new(&source.inside);
    let handle = PathBuf::from(format!("/proc/self/fd/{}", source.handle.as_raw_fd()));
    make_target(target, handle.is_dir())?;
    bind(&handle, target)?;
    match source.access {
        Access::Read => make_read_only(target),
        Access::Write => Ok(()),
    }
}

fn make_target(path: &Path, directory: bool) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if directory {
        return make_directory(path, 0o755);
    }
    if let Some(parent) = path.parent() {
        make_directory(parent, 0o755)?;
    }
    host::fs::create(path, host::fs::PUBLIC).map(drop)
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.doing(Kind::Io, || format!("creating the mount point `{}`", path.display()))?;
    if mode == 0o755 { Ok(()) } else { host::fs::set_mode(path, mode) }
}

fn memory(target: &Path, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).expect("mount options contain no NUL");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str())
        .doing(Kind::Tool, || format!("mounting `{}`", target.display()))
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind_recursive(source, target).doing(Kind::Tool, || format!("bind-mounting `{}`", target.display()))
}

/// Remounts a bind mount read-only. The flags of the underlying mount must be kept: a user namespace is not
/// allowed to drop them.
fn make_read_only(target: &Path) -> Result<()> {
    let step = || format!("remounting `{}` read-only", target.display());
    let there = statvfs(target).doing(Kind::Tool, step)?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let flags = kept
        .iter()
        .filter(|(flag, _)| there.contains(*flag))
        .fold(MountFlags::RDONLY | MountFlags::BIND, |all, (_, flag)| all | *flag);
    mount_remount(target, flags, c"").doing(Kind::Tool, step)
}
