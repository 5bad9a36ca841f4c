//! Namespaces and the system call filter; contains all unsafe code of the sandbox.
#![expect(unsafe_code, reason = "no safe wrapper exists for unshare(2)")]

use rustix::thread::UnshareFlags;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Moves this process into new namespaces.
///
/// The caller must be the only thread, as user namespaces require, and never pass [`UnshareFlags::FILES`].
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "file descriptors stay shared");
    // SAFETY: only `UnshareFlags::FILES` can break Rust's ownership of descriptors, and it is never passed.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// System calls that wait for a disk.
const SYNC_CALLS: [libc::c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_msync,
];

/// Makes every `fsync` of this process and its children a no-op: their files are temporary, and dpkg syncs
/// for each package. A program for another architecture is killed.
pub(super) fn suppress_sync() -> Result<(), seccompiler::Error> {
    let rules = SYNC_CALLS.into_iter().map(|call| (call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

/// Lets the test program act as kiln: started as a sandbox, it becomes one before running tests.
#[cfg(test)]
mod stand_in {
    extern "C" fn enter() {
        if let Some(code) = crate::host::sandbox::enter_if_asked() {
            #[expect(clippy::exit, reason = "the sandbox's process ends here and must not run tests")]
            std::process::exit(code.into());
        }
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTER: extern "C" fn() = enter;
}
