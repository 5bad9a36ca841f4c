//! Namespaces: created for a lab, entered through a process handle.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// Namespaces of a process to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Network only: programs and files are still this machine's own.
    Network,
    /// All namespaces of the process.
    All,
}

/// Checks whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// PID namespace in which this process's children started before [`begin_processes`] was called.
#[derive(Debug)]
pub(crate) struct Before(std::fs::File);

impl Before {
    /// Makes later children start in that namespace again, because no process can be started in a PID
    /// namespace whose first process has exited. Requires root.
    pub(crate) fn restore(&self) -> Result<()> {
        rustix::thread::move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .doing(Kind::Io, || "leaving the lab's PID namespace".into())
    }
}

/// Makes the next child of this process the first process in a new PID namespace: when it exits, the kernel
/// kills all others in the namespace. For an unprivileged user, this also creates a user namespace, in which
/// the user is root.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel does not allow it.
pub(crate) fn begin_processes() -> Result<Before> {
    let before = Before(host::fs::open(Path::new("/proc/self/ns/pid"))?);
    if is_root() {
        return unshare(UnshareFlags::NEWPID).map(|()| before);
    }
    let (uid, gid) = host::process::owner();
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID).map_err(|err| {
        err.hint("allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1`, or run as root")
    })?;
    host::fs::write_existing(Path::new("/proc/self/setgroups"), b"deny")?;
    host::fs::write_existing(Path::new("/proc/self/uid_map"), format!("0 {uid} 1").as_bytes())?;
    host::fs::write_existing(Path::new("/proc/self/gid_map"), format!("0 {gid} 1").as_bytes())?;
    Ok(before)
}

/// Moves this process into its own network, IPC and host name namespaces.
///
/// # Errors
///
/// As [`begin_processes`].
pub(crate) fn isolate() -> Result<()> {
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS)
}

/// Moves this process into its own mount namespace, whose mounts do not propagate.
///
/// # Errors
///
/// As [`begin_processes`].
pub(crate) fn isolate_mounts() -> Result<()> {
    unshare(UnshareFlags::NEWNS)?;
    host::mount::make_all_private()
}

#[expect(deprecated, reason = "unshare is unsafe only with CLONE_FILES, which no caller uses")]
fn unshare(flags: UnshareFlags) -> Result<()> {
    rustix::thread::unshare(flags).doing(Kind::Io, || "creating namespaces for the lab".into())
}

/// Asks the kernel to send SIGTERM to this process when its parent dies.
pub(crate) fn end_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .doing(Kind::Io, || "setting the parent death signal".into())
}

/// Starts a session, so that this process does not receive the terminal's signals.
pub(crate) fn leave_terminal() -> Result<()> {
    rustix::process::setsid().map(|_| ()).doing(Kind::Io, || "detaching from the terminal".into())
}

/// Opens a handle to the process `id`, valid in every namespace and never referring to another process.
pub(crate) fn handle(id: u32) -> Result<OwnedFd> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new(Kind::Internal, format!("{id} is not a process ID")))?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).doing(Kind::Io, || format!("opening process {id}"))
}

/// Moves this process into the namespaces of another process. With [`Scope::All`], only children enter its
/// PID namespace.
pub(crate) fn enter(process: impl AsFd, scope: Scope) -> Result<()> {
    let kinds = match scope {
        Scope::Network => ThreadNameSpaceType::NETWORK,
        Scope::All => {
            ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::NETWORK
                | ThreadNameSpaceType::PROCESS_ID
                | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
                | ThreadNameSpaceType::CONTROL_GROUP
        }
    };
    let kinds = if is_root() { kinds } else { kinds | ThreadNameSpaceType::USER };
    rustix::thread::move_into_thread_name_spaces(process.as_fd(), kinds)
        .doing(Kind::Io, || "entering the lab's namespaces".into())
}
