//! Contents of the initrd besides kernel modules and libraries: a table of files from the base, and a table
//! of kiln's own files.

/// A file that the initrd needs.
#[derive(Debug)]
pub(super) struct Required {
    pub(super) path: &'static str,
    /// Debian package that contains it, for the hint.
    pub(super) package: &'static str,
}

const fn systemd(path: &'static str) -> Required {
    Required { path, package: "systemd" }
}

const fn udev(path: &'static str) -> Required {
    Required { path, package: "udev" }
}

const fn from(package: &'static str, path: &'static str) -> Required {
    Required { path, package }
}

pub(super) const UNITS: &str = "/usr/lib/systemd/system";

/// Programs, generators, rules and accounts of the base.
pub(super) const REQUIRED: &[Required] = &[
    systemd("/usr/lib/systemd/systemd"),
    systemd("/usr/lib/systemd/systemd-executor"),
    systemd("/usr/lib/systemd/systemd-journald"),
    systemd("/usr/lib/systemd/systemd-modules-load"),
    systemd("/usr/lib/systemd/systemd-shutdown"),
    systemd("/usr/lib/systemd/systemd-sysroot-fstab-check"),
    systemd("/usr/lib/systemd/systemd-growfs"),
    systemd("/usr/lib/systemd/systemd-fsck"),
    systemd("/usr/lib/systemd/system-generators/systemd-fstab-generator"),
    systemd("/usr/bin/systemctl"),
    systemd("/usr/bin/journalctl"),
    udev("/usr/lib/systemd/systemd-udevd"),
    udev("/usr/bin/udevadm"),
    udev("/usr/lib/udev/rules.d/50-udev-default.rules"),
    udev("/usr/lib/udev/rules.d/60-block.rules"),
    udev("/usr/lib/udev/rules.d/60-persistent-storage.rules"),
    udev("/usr/lib/udev/rules.d/80-drivers.rules"),
    udev("/usr/lib/udev/rules.d/99-systemd.rules"),
    from("systemd-cryptsetup", "/usr/lib/systemd/systemd-veritysetup"),
    from("systemd-cryptsetup", "/usr/lib/systemd/system-generators/systemd-veritysetup-generator"),
    from("systemd-repart", "/usr/bin/systemd-repart"),
    // The rules below run dmsetup; without it the creator of a device waits forever.
    from("dmsetup", "/usr/sbin/dmsetup"),
    from("dmsetup", "/usr/lib/udev/rules.d/55-dm.rules"),
    from("dmsetup", "/usr/lib/udev/rules.d/60-persistent-storage-dm.rules"),
    from("dmsetup", "/usr/lib/udev/rules.d/95-dm-notify.rules"),
    from("kmod", "/usr/bin/kmod"),
    from("kmod", "/usr/sbin/modprobe"),
    from("mount", "/usr/bin/mount"),
    from("mount", "/usr/bin/umount"),
    from("util-linux", "/usr/sbin/fsck"),
    from("e2fsprogs", "/usr/sbin/fsck.ext4"),
    from("base-files", "/usr/lib/os-release"),
    from("base-passwd", "/etc/passwd"),
    from("base-passwd", "/etc/group"),
];

/// Units from the base, all in [`UNITS`] and all from the packages systemd and udev.
pub(super) const BASE_UNITS: &[&str] = &[
    "basic.target",
    "emergency.target",
    "final.target",
    "halt.target",
    "initrd-cleanup.service",
    "initrd-fs.target",
    "initrd-parse-etc.service",
    "initrd-root-device.target",
    "initrd-root-fs.target",
    "initrd-switch-root.service",
    "initrd-switch-root.target",
    "initrd-udevadm-cleanup-db.service",
    "initrd-usr-fs.target",
    "initrd.target",
    "local-fs-pre.target",
    "local-fs.target",
    "modprobe@.service",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "systemd-fsck@.service",
    "systemd-growfs@.service",
    "systemd-halt.service",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-modules-load.service",
    "systemd-poweroff.service",
    "systemd-reboot.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "timers.target",
    "umount.target",
    "veritysetup-pre.target",
    "veritysetup.target",
];

/// Files that other bases contain in other places, or not at all.
pub(super) const OPTIONAL: &[&str] = &[
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/usr/lib/systemd/systemd-sysctl",
    "/usr/lib/udev/ata_id",
    "/usr/lib/udev/scsi_id",
    "/usr/lib/udev/rules.d/70-memory.rules",
    "/usr/lib/systemd/system/system-systemd\\x2dveritysetup.slice",
];

/// Mount points of the kernel, systemd and the agent.
pub(super) const MOUNT_POINTS: &[&str] = &["/dev", "/proc", "/run", "/sys", "/sysroot", "/tmp", "/var"];

/// kiln's own links: the init program, the file by which systemd recognizes an initrd, and systemd's targets.
pub(super) const LINKS: &[(&str, &str)] = &[
    ("/init", "usr/lib/systemd/systemd"),
    ("/etc/initrd-release", "../usr/lib/os-release"),
    ("/usr/lib/systemd/system/default.target", "initrd.target"),
    ("/usr/lib/systemd/system/ctrl-alt-del.target", "reboot.target"),
];

/// Links `NAME.wants/UNIT` and `NAME.requires/UNIT`.
pub(super) const WANTS: &[(&str, &[&str])] = &[
    (
        "sockets.target.wants",
        &[
            "systemd-journald.socket",
            "systemd-journald-dev-log.socket",
            "systemd-udevd-control.socket",
            "systemd-udevd-kernel.socket",
        ],
    ),
    (
        "sysinit.target.wants",
        &[
            "systemd-journald.service",
            "systemd-modules-load.service",
            "systemd-udevd.service",
            "systemd-udev-trigger.service",
            "veritysetup.target",
        ],
    ),
    ("initrd-root-fs.target.requires", &["sysroot-var.mount", "kiln-agent.service"]),
];

/// kiln's own units.
pub(super) const OWN: &[(&str, &str)] = &[
    ("/usr/lib/systemd/system/systemd-repart.service", include_str!("units/systemd-repart.service")),
    ("/usr/lib/systemd/system/sysroot-var.mount", include_str!("units/sysroot-var.mount")),
    ("/usr/lib/systemd/system/kiln-agent.service", include_str!("units/kiln-agent.service")),
    ("/usr/lib/systemd/system/emergency.service", include_str!("units/emergency.service")),
];

#[cfg(test)]
mod tests {
    use super::OWN;
    use crate::words::STATE;

    #[test]
    fn the_state_partition_is_mounted_and_grown_by_its_label() {
        let unit = |path: &str| OWN.iter().find(|(own, _)| own.ends_with(path)).unwrap().1;
        assert!(unit("/sysroot-var.mount").contains(&format!("What=/dev/disk/by-partlabel/{STATE}\n")));
        let grown = include_str!("../../../overlays/image/rootfs/usr/lib/repart.d/50-kiln-state.conf");
        assert!(grown.contains(&format!("Label={STATE}\n")));
    }

    /// The target wants the root's filesystems, which require these units: with a conflict, systemd drops one
    /// side or the other, which sometimes unmounts the state partition.
    #[test]
    fn no_unit_conflicts_with_the_switch_to_the_root_that_needs_it() {
        let conflicts = |text: &'static str| text.lines().filter_map(|line| line.strip_prefix("Conflicts="));
        for (path, text) in OWN.iter().filter(|(path, _)| !path.ends_with("/emergency.service")) {
            let units: Vec<&str> = conflicts(text).flat_map(str::split_whitespace).collect();
            assert!(units.contains(&"shutdown.target"), "{path} does not end with the machine");
            assert!(!units.contains(&"initrd-switch-root.target"), "{path}");
        }
    }
}
