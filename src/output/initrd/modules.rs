//! Kernel modules of the initrd: drivers for disks and everything needed to boot from them, with dependencies
//! from modules.dep.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind, Result};
use crate::output::initrd::{missing, path};
use crate::tree::{EntryKind, ImagePath, Tree};

const MODULES: &str = "/usr/lib/modules";

/// Modules that no device requests, for `modules-load.d`. Digests come first: verity uses the fastest one
/// available when it starts.
pub(super) const LOADED: &str = "sha256_ssse3\ncrc32c_intel\ndm_mod\ndm_verity\nloop\noverlay\n";

/// udev rule that ignores processors, because the modules that they request, for cryptography and
/// virtualization, are in the root.
pub(super) const RULES: &str = "SUBSYSTEM==\"cpu\", ENV{MODALIAS}=\"\"\n";

/// Modules that may be needed between firmware and a mounted root. A kernel may have them built in, or lack
/// them.
const WANTED: &[&str] = &[
    // Verity; filesystems of root, state and seeds.
    "dm_mod",
    "dm_verity",
    "loop",
    "squashfs",
    "erofs",
    "overlay",
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859_1",
    "isofs",
    // Digests for verity and ext4 at the processor's best speed.
    "sha256_ssse3",
    "crc32c_intel",
    "crc32c_generic",
    "libcrc32c",
    // Modules that PID 1 itself requests.
    "autofs4",
    "efivarfs",
    "qemu_fw_cfg",
    "dmi_sysfs",
    "virtio_rng",
    "ip_tables",
    "x_tables",
    // Virtual machines.
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "vmw_pvscsi",
    "hv_vmbus",
    "hv_storvsc",
    "xen_blkfront",
    "pvpanic_pci",
    // Hardware.
    "sd_mod",
    "sr_mod",
    "nvme",
    "ahci",
    "ata_piix",
    "ata_generic",
    "usb_storage",
    "uas",
    "xhci_pci",
    "ehci_pci",
    "mmc_block",
    "sdhci_pci",
    "sdhci_acpi",
    "mpt3sas",
    "megaraid_sas",
    "smartpqi",
    "hpsa",
    "aacraid",
    // Network cards: a seed may match by their address.
    "virtio_net",
    "vmxnet3",
    "hv_netvsc",
    "xen_netfront",
    "ena",
    "gve",
    "e1000",
    "e1000e",
    "igb",
    "igc",
    "ixgbe",
    "i40e",
    "ice",
    "r8169",
    "tg3",
    "bnxt_en",
    "mlx4_en",
    "mlx5_core",
];

/// Tables that libkmod reads; the first is required.
const TABLES: &[&str] = &[
    "modules.dep.bin",
    "modules.alias.bin",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.modinfo",
    "modules.devname",
    "modules.softdep",
    "modules.weakdep",
];

/// Returns `/usr/lib/modules/RELEASE` of the only kernel.
///
/// # Errors
///
/// [`Kind::Input`] if there is none or more than one.
pub(super) fn directory(base: &Tree) -> Result<ImagePath> {
    let parent = path(MODULES);
    let mut kernels = base.iter().filter(|(path, entry)| {
        path.parent().as_ref() == Some(&parent) && matches!(entry.kind, EntryKind::Directory)
    });
    match (kernels.next(), kernels.next()) {
        (Some((only, _)), None) => Ok(only.clone()),
        (None, _) => {
            Err(Error::new(Kind::Input, format!("the base does not contain a kernel: `{MODULES}` is empty")))
        }
        (Some((one, _)), Some((two, _))) => {
            Err(Error::new(Kind::Input, format!("the base contains two kernels: `{one}` and `{two}`")))
        }
    }
}

/// Returns the files to copy from `directory`: tables, wanted modules, and the modules they depend on.
///
/// # Errors
///
/// [`Kind::Input`] if depmod(8) has not been run on the base.
pub(super) fn select(base: &Tree, directory: &ImagePath) -> Result<BTreeSet<ImagePath>> {
    let table = directory.join("modules.dep")?;
    let Some(EntryKind::File(content)) = base.get(&table).map(|entry| &entry.kind) else {
        return Err(missing(&table));
    };
    let text = content.read()?;
    let mut files: BTreeSet<ImagePath> = BTreeSet::from([directory.join(TABLES[0])?]);
    for name in TABLES {
        let table = directory.join(name)?;
        files.extend(base.get(&table).is_some().then_some(table));
    }
    for module in with_dependencies(&String::from_utf8_lossy(&text), WANTED) {
        files.insert(directory.join(module)?);
    }
    Ok(files)
}

/// Returns the paths of `wanted` modules and all their dependencies: modules.dep lists indirect ones as well
/// (modules.dep(5)).
fn with_dependencies<'a>(modules_dep: &'a str, wanted: &[&str]) -> BTreeSet<&'a str> {
    let lines = modules_dep.lines().filter_map(|line| line.split_once(':'));
    let by_name: BTreeMap<String, (&str, &str)> =
        lines.map(|(module, needs)| (name(module), (module, needs))).collect();
    let found = wanted.iter().filter_map(|wanted| by_name.get(*wanted));
    found.flat_map(|(module, needs)| std::iter::once(*module).chain(needs.split_whitespace())).collect()
}

/// Returns the name of a module: `kernel/drivers/md/dm-verity.ko.xz` is `dm_verity`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::with_dependencies;

    #[test]
    fn dependencies_come_along_and_other_modules_stay() {
        let table = "kernel/md/dm-verity.ko.xz: kernel/md/dm-bufio.ko.xz \
            kernel/md/dm-mod.ko.xz\nkernel/md/dm-mod.ko.xz:\nkernel/md/dm-bufio.ko.xz: \
            kernel/md/dm-mod.ko.xz\nkernel/net/veth.ko.xz:\n";
        let chosen = with_dependencies(table, &["dm_verity", "not_in_this_kernel"]);
        assert_eq!(
            chosen.into_iter().collect::<Vec<_>>(),
            ["kernel/md/dm-bufio.ko.xz", "kernel/md/dm-mod.ko.xz", "kernel/md/dm-verity.ko.xz"]
        );
    }
}
