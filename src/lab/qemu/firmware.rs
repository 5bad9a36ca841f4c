//! UEFI firmware for virtual machines (OVMF), wherever the distribution installs it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Paths of the firmware code and of an empty variable store, without Secure Boot: Debian, Fedora, Arch,
/// openSUSE.
const PLACES: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
];

/// One firmware build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Firmware {
    pub(super) code: PathBuf,
    /// Template of the variable store; each machine writes to a copy.
    pub(super) variables: PathBuf,
}

impl Firmware {
    /// Finds the firmware installed on this machine.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`], naming the package to install.
    pub(super) fn find() -> Result<Self> {
        let place = PLACES
            .iter()
            .find(|(code, variables)| Path::new(code).is_file() && Path::new(variables).is_file());
        place.map(|(code, variables)| Self { code: code.into(), variables: variables.into() }).ok_or_else(
            || {
                Error::new(Kind::Tool, "UEFI firmware for virtual machines is not installed")
                    .hint("install it: `apt-get install ovmf`")
            },
        )
    }
}
