//! Description of one virtual machine, and the QEMU command line for it.

use std::path::{Path, PathBuf};

use crate::lab::qemu::accelerator::Accelerator;
use crate::words::Arch;

/// Memory in MiB and number of CPUs, enough for etcd, an API server and its controllers.
const MEMORY_MIB: &str = "2560";
const PROCESSORS: &str = "2";

/// An image to boot from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    /// QEMU's name for the format, which is also the file extension.
    pub(super) format: &'static str,
}

impl Disk {
    /// Returns `stem.qcow2` or `stem.raw`, whichever exists.
    pub(super) fn beside(stem: &Path) -> Option<Self> {
        let name = stem.file_name()?.to_string_lossy().into_owned();
        let disks = ["qcow2", "raw"]
            .map(|format| Self { path: stem.with_file_name(format!("{name}.{format}")), format });
        disks.into_iter().find(|disk| disk.path.is_file())
    }
}

/// One virtual machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) arch: Arch,
    pub(super) accelerator: Accelerator,
    pub(super) firmware: PathBuf,
    pub(super) variables: PathBuf,
    /// The writable qcow2 disk.
    pub(super) disk: PathBuf,
    /// A volume that contains the seed.
    pub(super) seed: Option<PathBuf>,
    /// Path for the monitor socket, which must not exist yet.
    pub(super) monitor: PathBuf,
    /// An existing tap device.
    pub(super) tap: String,
    pub(super) mac: String,
    /// SMBIOS system serial number and UUID (DMTF DSP0134, type 1).
    pub(super) serial: String,
    pub(super) uuid: Option<String>,
    /// Clock time at power-on, in UTC.
    pub(super) clock: Option<String>,
    /// Kernel parameters, appended to the image's own parameters.
    pub(super) parameters: Vec<String>,
}

impl Machine {
    /// Returns the QEMU arguments. The console is written to standard output; standard input is not read.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        add(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            self.arch.qemu_machine,
            "-m",
            MEMORY_MIB,
            "-smp",
            PROCESSORS,
        ]);
        add(&self.accelerator.arguments());
        add(&["-drive", &format!("if=pflash,format=raw,readonly=on,file={}", escape(&self.firmware))]);
        add(&["-drive", &format!("if=pflash,format=raw,file={}", escape(&self.variables))]);
        // Data lost in a power failure on this machine does not matter: the lab's disks disappear with it
        // anyway.
        add(&["-drive", &format!("if=none,id=disk,format=qcow2,cache=unsafe,file={}", escape(&self.disk))]);
        add(&["-device", "virtio-blk-pci,drive=disk,bootindex=1"]);
        if let Some(seed) = &self.seed {
            add(&["-drive", &format!("if=none,id=seed,format=raw,readonly=on,file={}", escape(seed))]);
            add(&["-device", "virtio-blk-pci,drive=seed"]);
        }
        add(&["-netdev", &format!("tap,id=lan,ifname={},script=no,downscript=no", self.tap)]);
        // No option ROM: nothing boots from the network here, and the firmware would wait for a network boot.
        add(&["-device", &format!("virtio-net-pci,netdev=lan,mac={},romfile=", self.mac)]);
        add(&["-device", "virtio-rng-pci", "-serial", "stdio"]);
        add(&["-qmp", &format!("unix:{},server=on,wait=off", escape(&self.monitor))]);
        if let Some(clock) = &self.clock {
            add(&["-rtc", &format!("base={clock}")]);
        }
        add(&["-smbios", &self.system_information()]);
        add(&[
            "-smbios",
            &format!(
                "type=11,value=io.systemd.stub.kernel-cmdline-extra={}",
                self.command_line().replace(',', ",,")
            ),
        ]);
        arguments
    }

    fn system_information(&self) -> String {
        let uuid = self.uuid.as_ref().map(|uuid| format!(",uuid={uuid}")).unwrap_or_default();
        format!("type=1,serial={}{uuid}", self.serial.replace(',', ",,"))
    }

    /// Returns the parameters that systemd-stub adds to the image's own command line (systemd-stub(7)).
    fn command_line(&self) -> String {
        let own = self.parameters.iter().map(String::as_str);
        self.accelerator.parameters().iter().copied().chain(own).collect::<Vec<_>>().join(" ")
    }
}

/// Escapes a path: in QEMU option lists, a comma within a value is doubled.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::{Accelerator, Arch, Machine};

    #[test]
    fn a_comma_in_a_value_does_not_end_it() {
        let machine = Machine {
            arch: Arch::Amd64,
            accelerator: Accelerator::Tcg,
            firmware: "/ovmf/code".into(),
            variables: "/run/lab/a,b/vars".into(),
            disk: "/run/lab/a,b/disk.qcow2".into(),
            seed: Some("/out/m1.seed".into()),
            monitor: "/run/lab/a,b/monitor".into(),
            tap: "kiln-n0".into(),
            mac: "52:54:00:00:00:01".into(),
            serial: "S,1".into(),
            uuid: None,
            clock: Some("2001-01-01T00:00:00".into()),
            parameters: vec!["kiln.node=m1".into()],
        };
        let arguments = machine.arguments();
        for expected in [
            "if=none,id=disk,format=qcow2,cache=unsafe,file=/run/lab/a,,b/disk.qcow2",
            "if=none,id=seed,format=raw,readonly=on,file=/out/m1.seed",
            "type=1,serial=S,,1",
            "unix:/run/lab/a,,b/monitor,server=on,wait=off",
            "base=2001-01-01T00:00:00",
        ] {
            assert!(
                arguments.iter().any(|argument| argument == expected),
                "{expected} is not in {arguments:?}"
            );
        }
        let strings = arguments.last().unwrap();
        assert!(strings.contains("lsm=lockdown,,capability"), "{strings}");
        assert!(strings.ends_with(" kiln.node=m1"), "{strings}");
    }
}
