//! systemd-nspawn(1) backend: containers that run the same trees and seeds at native speed, with real VRRP
//! between network namespaces. There is no boot loader, no separate kernel and no initrd: `kiln agent init`
//! does the initrd's part.
//!
//! Containers are not registered with machined, and this machine need not run systemd.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::disk::OwnDisk;
use crate::lab::{Backend, Cable, Freezer, Guest, Lab, image, overlay};

/// Path of the seed inside the container.
const SEED: &str = "/run/host/kiln.seed";
/// Capabilities beyond nspawn's defaults: network interfaces and packet filters, locked memory, BPF programs
/// for cgroups, and the kernel log that kubelet watches.
const CAPABILITIES: &str = "CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_BPF,CAP_PERFMON,CAP_SYSLOG";
/// System calls that container runtimes make but nspawn's list omits.
const SYSTEM_CALLS: &str = "@keyring bpf perf_event_open";

/// The systemd-nspawn backend.
#[derive(Debug)]
pub(super) struct Nspawn;

impl Backend for Nspawn {
    fn name(&self) -> &'static str {
        "nspawn"
    }

    fn summary(&self) -> &'static str {
        "systemd-nspawn containers: native speed, but no boot loader or separate kernel; requires root"
    }

    fn tools(&self) -> Vec<&'static str> {
        vec!["systemd-nspawn", "ip", "mount"]
    }

    fn cable(&self) -> Cable {
        Cable::Namespace
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn prepare(&self, lab: &Lab, guest: &Guest) -> Result<()> {
        if !lab.has_control_groups() {
            return Err(Error::new(
                Kind::Input,
                "this lab was started without containers and has no cgroups for them",
            )
            .hint("kiln lab down && kiln lab up --backend nspawn"));
        }
        // nspawn starts only if this directory exists, which normally shows that systemd is running.
        host::fs::create_directories(Path::new("/run/systemd"))?;
        overlay::write(&overlay_of(lab))?;
        let target = root_of(lab, guest);
        let (disk, directory) = (lab.image_of(guest).with_extension("raw"), lab.image_of(guest));
        if host::mount::is_mount_point(&target) {
            Ok(())
        } else if disk.exists() {
            image::mount(&disk, &target)
        } else if directory.is_dir() {
            image::mount_parts(&directory, &target)
        } else {
            Err(Error::new(
                Kind::Input,
                format!("neither `{}` nor `{}` exists", disk.display(), directory.display()),
            )
            .hint("add `raw` to `outputs` in the cluster file, then run `kiln build`"))
        }
    }

    fn command(&self, lab: &Lab, guest: &Guest) -> Result<Command> {
        let var = OwnDisk::of(lab, guest).var()?;
        let own = || lab.seed_of(guest);
        let seed = guest.seed.clone().unwrap_or_else(own);
        let mut command = host::process::command("systemd-nspawn");
        command.args(
            overlay::mounts(&overlay_of(lab)).map(|(from, to)| format!("--bind-ro={}:{to}", escaped(&from))),
        );
        command.args(arguments(&root_of(lab, guest), &var, &seed, guest));
        // Network settings belong to the node, all others to this machine.
        command.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
        Ok(command)
    }

    fn can_exec(&self) -> bool {
        true
    }

    fn freezer(&self) -> Freezer {
        Freezer::ControlGroup
    }

    fn has_disks(&self) -> bool {
        true
    }

    fn has_clocks(&self) -> bool {
        false
    }
}

fn root_of(lab: &Lab, guest: &Guest) -> PathBuf {
    lab.private().join("images").join(&guest.image)
}

fn overlay_of(lab: &Lab) -> PathBuf {
    lab.private().join("overlay")
}

fn arguments(root: &Path, var: &Path, seed: &Path, guest: &Guest) -> Vec<String> {
    let with = |option: &str, value: &dyn std::fmt::Display| format!("--{option}={value}");
    let name = &guest.name;
    let mut arguments: Vec<String> = vec![
        with("directory", &root.display()),
        with("network-namespace-path", &format!("/run/netns/{}", guest.namespace())),
        with("bind", &format!("{}:/var", escaped(var))),
        with("bind-ro", &format!("{}:{SEED}", escaped(seed))),
        with("bind-ro", &"/dev/kmsg"),
        with("setenv", &format!("KILN_SEED={SEED}")),
        with("setenv", &format!("SYSTEMD_PROC_CMDLINE=kiln.node={name} systemd.show_status=yes")),
        with("machine", name),
        with("capability", &CAPABILITIES),
        with("system-call-filter", &SYSTEM_CALLS),
    ];
    let fixed = [
        "--quiet",
        "--read-only",
        "--register=no",
        "--keep-unit",
        "--console=read-only",
        "--kill-signal=SIGRTMIN+3",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "/usr/bin/kiln",
        "agent",
        "init",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments
}

/// Escapes a path: nspawn separates the parts of a bind mount with colons.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::escaped;

    #[test]
    fn a_colon_in_a_path_does_not_end_it() {
        assert_eq!(escaped(Path::new("/a:b\\c")), "/a\\:b\\\\c");
    }
}
