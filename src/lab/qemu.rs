//! QEMU backend: the whole boot path, starting with UEFI. Artifacts are never written to, because each node
//! writes to its own overlay.

mod accelerator;
mod firmware;
mod machine;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use accelerator::is_native;

use accelerator::Accelerator;
use firmware::Firmware;
use machine::{Disk, Machine};

use crate::cluster::MatchRule;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::disk::SIZE_GIB;
use crate::lab::{Backend, Cable, Freezer, Guest, Lab};
use crate::words::Arch;

const QEMU_IMG: &str = "qemu-img";

/// The QEMU backend.
#[derive(Debug)]
pub(super) struct Qemu;

impl Backend for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn summary(&self) -> &'static str {
        "UEFI virtual machines: the whole boot path; uses KVM where it works, otherwise emulation"
    }

    fn tools(&self) -> Vec<&'static str> {
        vec![Arch::own().unwrap_or_default().qemu, QEMU_IMG]
    }

    fn cable(&self) -> Cable {
        Cable::Tap
    }

    fn needs_root(&self) -> bool {
        false
    }

    fn prepare(&self, lab: &Lab, guest: &Guest) -> Result<()> {
        Firmware::find()?;
        is_address(&lab.monitor_of(guest))?;
        carrier(lab, guest).map(drop)
    }

    fn command(&self, lab: &Lab, guest: &Guest) -> Result<Command> {
        let directory = lab.directory_of(guest);
        host::fs::create_directories(&directory)?;
        let carrier = carrier(lab, guest)?;
        let firmware = Firmware::find()?;
        let variables = directory.join("firmware-variables");
        if !variables.exists() {
            host::fs::write_atomic(&variables, &host::fs::read(&firmware.variables)?, host::fs::PRIVATE)?;
        }
        let mut machine = Machine {
            arch: lab.arch,
            accelerator: Accelerator::detect()?,
            firmware: firmware.code,
            variables,
            disk: overlay(&carrier.disk, &directory.join("disk.qcow2"))?,
            seed: guest.seed.clone().or(carrier.seed),
            monitor: lab.monitor_of(guest),
            tap: guest.tap(),
            mac: guest.mac(&lab.cluster),
            serial: guest.name.clone(),
            uuid: None,
            clock: guest.clock.clone(),
            // A failed boot powers the machine off instead of rebooting forever.
            parameters: vec!["kiln.on-failure=poweroff:3".into()],
        };
        guest.matches.iter().for_each(|rule| answer(&mut machine, rule));
        let mut command = host::process::command(lab.arch.qemu);
        command.args(machine.arguments());
        Ok(command)
    }

    fn can_exec(&self) -> bool {
        false
    }

    fn freezer(&self) -> Freezer {
        Freezer::Monitor
    }

    fn has_disks(&self) -> bool {
        false
    }

    fn has_clocks(&self) -> bool {
        true
    }
}

/// Checks that the path fits into a socket address (unix(7), `sun_path`): otherwise QEMU would exit at once.
fn is_address(socket: &Path) -> Result<()> {
    std::os::unix::net::SocketAddr::from_pathname(socket).map(drop).map_err(|_| {
        let length = socket.as_os_str().len();
        let why =
            format!("`{}` is {length} bytes long, which is too long for a socket path", socket.display());
        Error::new(Kind::Input, why).hint("set KILN_LAB to a directory with a shorter path")
    })
}

/// Disk that a node boots from, and the seed if the disk does not contain it.
struct Carrier {
    disk: Disk,
    seed: Option<PathBuf>,
}

/// Returns the node's own image or, if there is none, its role image with the seed as a second volume.
fn carrier(lab: &Lab, guest: &Guest) -> Result<Carrier> {
    let own = lab.artifacts_of(guest).join(&guest.name);
    if let Some(disk) = Disk::beside(&own) {
        return Ok(Carrier { disk, seed: None });
    }
    let seed = lab.seed_of(guest);
    match (Disk::beside(&lab.image_of(guest)), seed.exists()) {
        (Some(disk), true) => Ok(Carrier { disk, seed: Some(seed) }),
        (Some(_), false) => Err(Error::new(
            Kind::Input,
            format!("node `{}` has no seed: `{}` does not exist", guest.name, seed.display()),
        )
        .hint("run `kiln build` again")),
        (None, _) => Err(Error::new(Kind::Input, format!("no disk image to boot `{}` from", guest.name))
            .hint("add `raw` or `qcow2` to `outputs` in the cluster file, then run `kiln build`")),
    }
}

/// Creates the node's own writable disk on top of an image; the disk survives power cuts.
fn overlay(image: &Disk, path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        let temporary = path.with_extension("new");
        let create = ["create", "-q", "-f", "qcow2", "-F", image.format];
        host::process::run(
            host::process::command(QEMU_IMG)
                .args(create)
                .arg("-b")
                .arg(&image.path)
                .arg(&temporary)
                .arg(format!("{SIZE_GIB}G")),
        )?;
        host::fs::rename(&temporary, path)?;
    }
    Ok(path.to_owned())
}

/// Configures the machine so that a rule matches it.
fn answer(machine: &mut Machine, rule: &MatchRule) {
    match rule {
        MatchRule::KernelCommandLine(node) => machine.parameters.push(format!("kiln.node={node}")),
        MatchRule::Serial(serial) => machine.serial.clone_from(serial),
        MatchRule::Uuid(uuid) => machine.uuid = Some(uuid.clone()),
        MatchRule::Mac(mac) => machine.mac.clone_from(mac),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_address;

    #[test]
    fn a_monitor_whose_path_is_too_long_for_a_socket_is_refused() {
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        is_address(Path::new(&path(107))).unwrap();
        let err = is_address(Path::new(&path(108))).unwrap_err();
        assert!(err.to_string().ends_with("is 108 bytes long, which is too long for a socket path"), "{err}");
    }
}
