//! ARCHES: processor architectures of machines; each row has everything that is specific to an architecture.

use std::fmt;
use std::ops::Deref;

use goblin::elf::header::{EI_CLASS, ELFCLASS64, ELFMAG, EM_AARCH64, EM_X86_64};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number of bytes at the start of a program that show its architecture: up to `e_machine` (ELF gABI).
pub(crate) const ELF_START: u64 = 20;

/// Processor architecture of a cluster's machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arch {
    /// 64-bit x86
    #[default]
    Amd64,
    /// 64-bit ARM
    Arm64,
}

/// Properties of an architecture.
#[derive(Debug)]
pub(crate) struct ArchProperties {
    /// Name in cluster files, Debian, Go and release archives.
    pub(crate) name: &'static str,
    /// Debian's multiarch triplet, which is also the name of the library directory.
    pub(crate) triplet: &'static str,
    /// Machine in the header of an ELF file (ELF gABI, `e_machine`).
    pub(crate) elf: u16,
    /// Suffix in the names of systemd's UEFI programs: `linuxx64.efi.stub` (UEFI specification, section
    /// 3.5.1.1).
    pub(crate) efi: &'static str,
    /// Types of the root partition and of its verity partition, as GUIDs (UAPI.2).
    pub(crate) root: u128,
    pub(crate) root_verity: u128,
    /// Device of the first serial port.
    pub(crate) serial: &'static str,
    /// Debian's kernel package for virtual machines.
    pub(crate) kernel: &'static str,
    /// QEMU's program, its Debian package, and the machine type to emulate.
    pub(crate) qemu: &'static str,
    pub(crate) qemu_package: &'static str,
    pub(crate) qemu_machine: &'static str,
}

static AMD64: ArchProperties = ArchProperties {
    name: "amd64",
    triplet: "x86_64-linux-gnu",
    elf: EM_X86_64,
    efi: "x64",
    root: 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
    root_verity: 0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5,
    serial: "ttyS0",
    kernel: "linux-image-cloud-amd64",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    qemu_machine: "q35",
};

static ARM64: ArchProperties = ArchProperties {
    name: "arm64",
    triplet: "aarch64-linux-gnu",
    elf: EM_AARCH64,
    efi: "aa64",
    root: 0xb921b045_1df0_41c3_af44_4c6f280d3fae,
    root_verity: 0xdf3300ce_d69f_4c92_978c_9bfb0f38d820,
    serial: "ttyAMA0",
    kernel: "linux-image-cloud-arm64",
    qemu: "qemu-system-aarch64",
    qemu_package: "qemu-system-arm",
    qemu_machine: "virt",
};

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// Returns the architecture of the running program; `None` if kiln does not support it for machines.
    pub(crate) fn own() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Returns a description of the machines that a program is for, if it is an ELF file that can't run on
    /// this architecture. `start` is its first [`ELF_START`] bytes.
    pub(crate) fn is_foreign(self, start: &[u8]) -> Option<String> {
        let machine = start.get(18..20)?;
        let machine = u16::from_le_bytes([machine[0], machine[1]]);
        let is_elf = start.starts_with(ELFMAG);
        if !is_elf || (start[EI_CLASS] == ELFCLASS64 && machine == self.elf) {
            return None;
        }
        let known = Self::ALL.into_iter().find(|arch| arch.elf == machine && *arch != self);
        Some(
            known.map_or_else(
                || format!("another architecture (ELF machine {machine})"),
                |arch| arch.to_string(),
            ),
        )
    }

    /// Replaces `{architecture}` in a name or URL.
    pub(crate) fn fill(self, text: &str) -> String {
        text.replace("{architecture}", self.name)
    }
}

impl Deref for Arch {
    type Target = ArchProperties;

    fn deref(&self) -> &ArchProperties {
        match self {
            Self::Amd64 => &AMD64,
            Self::Arm64 => &ARM64,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arch, ELF_START};
    use crate::host;
    use crate::judge::{accepts, judge};

    #[test]
    fn partition_types_are_those_of_systemd() {
        let Some(mut systemd) = judge("systemd-id128") else { return };
        let table = accepts(systemd.arg("show"));
        let named = |name: &str| {
            let line = table.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
            u128::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        for (arch, name) in [(Arch::Amd64, "x86-64"), (Arch::Arm64, "arm64")] {
            assert_eq!(named(&format!("root-{name}")), arch.root);
            assert_eq!(named(&format!("root-{name}-verity")), arch.root_verity);
        }
    }

    #[test]
    fn triplets_are_those_of_dpkg() {
        for arch in Arch::ALL {
            let Some(mut dpkg) = judge("dpkg-architecture") else { return };
            let triplet = accepts(dpkg.args(["--host-arch", arch.name, "--query", "DEB_HOST_MULTIARCH"]));
            assert_eq!(triplet.trim(), arch.triplet);
        }
    }

    #[test]
    fn a_program_for_another_architecture_is_foreign_and_a_script_is_not() {
        let own = host::fs::start(&std::env::current_exe().unwrap(), ELF_START).unwrap();
        let arch = Arch::own().unwrap();
        let other = Arch::ALL.into_iter().find(|other| *other != arch).unwrap();
        assert_eq!(arch.is_foreign(&own), None);
        assert_eq!(other.is_foreign(&own).as_deref(), Some(arch.name));
        let mut riscv = own.clone();
        riscv[18] = 243;
        assert_eq!(arch.is_foreign(&riscv).as_deref(), Some("another architecture (ELF machine 243)"));
        for script in [&b"#!/bin/sh\nexec kubelet\n"[..], b"", b"\x7fELF"] {
            assert_eq!(arch.is_foreign(script), None);
        }
    }
}
