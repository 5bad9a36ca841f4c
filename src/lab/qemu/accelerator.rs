//! Whether the processor's virtualisation works here, or must be emulated.

use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::host;

/// Overrides the choice: `kvm` or `tcg`.
const VARIABLE: &str = "KILN_LAB_ACCELERATOR";

/// How guest code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    /// QEMU's own emulation: right, and tens of times slower.
    Tcg,
}

impl Accelerator {
    /// Looks at this machine, unless the user chose.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the user's choice is neither.
    pub(super) fn detect() -> Result<Self> {
        match std::env::var(VARIABLE).as_deref() {
            Ok("kvm") => Ok(Self::Kvm),
            Ok("tcg") => Ok(Self::Tcg),
            Ok(other) => Err(Error::new(Kind::Input, format!("`{VARIABLE}` is `{other}`")).hint("set it to kvm or tcg, or unset it")),
            Err(_) => {
                let openable = host::fs::open_writable(Path::new("/dev/kvm")).is_ok();
                let flags = host::fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
                Ok(if openable && has_virtualisation(&flags) { Self::Kvm } else { Self::Tcg })
            }
        }
    }

    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// Kernel parameters that emulation needs: patience, and nothing that guards against flaws of processors it does not have.
    pub(super) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &[],
            Self::Tcg => &[
                // QEMU 7.2 sometimes takes an interrupt with wrong flags after cmpxchg16b, and the kernel's allocator, its most
                // frequent user, then faults. Programs such as HAProxy can't do without the instruction.
                "clearcpuid=cx16",
                // Emulated timers look broken when the host is busy.
                "no_timer_check",
                "mitigations=off",
                // systemd's BPF programs for this module take seconds to verify.
                "lsm=lockdown,capability,landlock,yama,apparmor",
                "systemd.default_timeout_start_sec=900",
                "systemd.default_device_timeout_sec=600",
                "systemd.watchdog_sec=0",
            ],
        }
    }
}

/// Whether virtual machines run at the processor's own speed here.
pub(crate) fn is_native() -> Result<bool> {
    Accelerator::detect().map(|accelerator| accelerator == Accelerator::Kvm)
}

/// A paravirtual `/dev/kvm` of a host without these flags opens and makes processors, on which stock kernels then hang.
fn has_virtualisation(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm"))
}

#[cfg(test)]
mod tests {
    use super::has_virtualisation;

    #[test]
    fn only_a_processor_that_can_virtualise_counts() {
        assert!(has_virtualisation("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualisation("flags\t\t: svm\n"));
        assert!(!has_virtualisation("flags\t\t: fpu hypervisor svm_lock\nbugs\t\t: vmx\n"));
        assert!(!has_virtualisation(""));
    }
}
