//! The two requests to the kernel that Rust can't check; everything unsafe of the sandbox is here.
#![expect(unsafe_code, reason = "no safe wrapper exists for unshare(2) and for installing a seccomp filter")]

use std::ffi::{c_int, c_ulong, c_ushort};
use std::io;

use rustix::thread::UnshareFlags;

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

/// Moves this process into new namespaces.
///
/// The caller is the only thread, as user namespaces require, and never asks for [`UnshareFlags::FILES`].
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "descriptors stay shared");
    // SAFETY: only `UnshareFlags::FILES` can break Rust's ownership of descriptors, and it is never passed.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Makes every `fsync` of this process and its children do nothing: what they write is temporary, and dpkg syncs for each package.
///
/// Calls of other architectures (32-bit programs) pass through. Needs `no_new_privs`.
pub(super) fn suppress_sync() -> io::Result<()> {
    let filter = sync_filter();
    let program = Program { length: c_ushort::try_from(filter.len()).expect("the filter is short"), filter: filter.as_ptr() };
    // SAFETY: `program` is a `struct sock_fprog` that points to `length` instructions, which the kernel copies during the call.
    let result = unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct Program {
    length: c_ushort,
    filter: *const Instruction,
}

/// `struct sock_filter` of linux/filter.h: one instruction of classic BPF.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

const PR_SET_SECCOMP: c_int = 22;
const SECCOMP_MODE_FILTER: c_ulong = 2;
/// Let the call through.
const ALLOW: u32 = 0x7fff_0000;
/// Don't make the call and return 0.
const SUCCEED: u32 = 0x0005_0000;
/// Loads a word of `struct seccomp_data`: 0 is the call's number, 4 the architecture.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const X86_64: u32 = 0xc000_003e;
/// fsync, fdatasync, sync, sync_file_range, syncfs and msync on x86_64.
const SYNC_CALLS: [u32; 6] = [74, 75, 162, 277, 306, 26];

fn sync_filter() -> Vec<Instruction> {
    let instruction = |code, if_true, if_false, value| Instruction { code, if_true, if_false, value };
    let mut left = u8::try_from(SYNC_CALLS.len()).expect("there are few calls");
    let mut filter = vec![instruction(LOAD, 0, 0, 4), instruction(JUMP_IF_EQUAL, 0, left + 1, X86_64), instruction(LOAD, 0, 0, 0)];
    for call in SYNC_CALLS {
        filter.push(instruction(JUMP_IF_EQUAL, left, 0, call));
        left -= 1;
    }
    filter.push(instruction(RETURN, 0, 0, ALLOW));
    filter.push(instruction(RETURN, 0, 0, SUCCEED));
    filter
}

/// Lets the test program stand in for kiln: started as a sandbox, it becomes one before it would run tests.
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
