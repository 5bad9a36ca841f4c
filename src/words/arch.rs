//! ARCHES: processor architectures of machines; each row has everything that is specific to an architecture.

use std::fmt;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
