//! Virtual machine accelerator: hardware virtualization if it works here, otherwise emulation.

use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::host;

/// Environment variable that overrides the choice: `kvm` or `tcg`.
const VARIABLE: &str = "KILN_LAB_ACCELERATOR";

/// Method of running guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    /// QEMU's own emulation: correct, but tens of times slower.
    Tcg,
}

impl Accelerator {
    /// Returns the accelerator that the user chose, or detects the best one on this machine.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the user's choice is not a known accelerator.
    pub(super) fn detect() -> Result<Self> {
        match std::env::var(VARIABLE).as_deref() {
            Ok("kvm") => Ok(Self::Kvm),
            Ok("tcg") => Ok(Self::Tcg),
            Ok(other) => Err(Error::new(Kind::Input, format!("invalid `{VARIABLE}`: `{other}`"))
                .hint("set it to kvm or tcg, or unset it")),
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

    /// Returns the kernel parameters that emulation needs: longer timeouts, and no mitigations for CPU flaws
    /// that the emulated CPU does not have.
    pub(super) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &[],
            Self::Tcg => &[
                // QEMU 7.2 sometimes takes an interrupt with wrong flags after cmpxchg16b, and the kernel's
                // allocator, its most frequent user, then faults. Programs such as HAProxy need the
                // instruction.
                "clearcpuid=cx16",
                // Emulated timers look broken when the host is busy.
                "no_timer_check",
                "mitigations=off",
                // No `bpf` module: systemd's BPF programs for it take seconds to verify.
                "lsm=lockdown,capability,landlock,yama,apparmor",
                "systemd.default_timeout_start_sec=900",
                "systemd.default_device_timeout_sec=600",
                "systemd.watchdog_sec=0",
            ],
        }
    }
}

/// Checks whether virtual machines run at native speed here.
pub(crate) fn is_native() -> Result<bool> {
    Accelerator::detect().map(|accelerator| accelerator == Accelerator::Kvm)
}

/// Checks the CPU flags: on a host without virtualization flags, a paravirtual `/dev/kvm` can be opened and
/// creates virtual CPUs, but stock kernels hang on them.
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
