//! A virtual machine outside the lab.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{approve, judge};
use crate::{PATIENCE, turn};

/// Kernel parameters that give an emulated machine more time and less work, as `kiln lab` passes them.
const EMULATED: &str = "clearcpuid=cx16 no_timer_check mitigations=off \
    lsm=lockdown,,capability,,landlock,,yama,,apparmor systemd.watchdog_sec=0 \
    systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=600";

/// A virtual machine that ends with the test.
pub(crate) struct Machine {
    qemu: Child,
    serial: PathBuf,
    _turn: File,
}

impl Machine {
    /// Boots the disk `image`, which remains unchanged, with `parameters` added to the kernel command line.
    pub(crate) fn boot(dir: &Path, image: &Path, parameters: &str) -> Option<Self> {
        let (mut qemu, mut create) = (judge("qemu-system-x86_64")?, judge("qemu-img")?);
        let firmware = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
        fs::copy(firmware[1], dir.join("variables")).expect("the package ovmf is installed");
        let format = image.extension().unwrap();
        approve(
            create
                .args(["create", "-q", "-f", "qcow2", "-F"])
                .arg(format)
                .arg("-b")
                .arg(image)
                .arg(dir.join("disk"))
                .arg("16G"),
        );
        let serial = dir.join("serial");
        qemu.args(
            "-nodefaults -no-user-config -display none -machine q35 -m 3072 -smp 2 -no-reboot -device \
            virtio-rng-pci"
                .split(' '),
        );
        qemu.args("-accel tcg,thread=multi -cpu max".split(' '));
        qemu.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={}", firmware[0])]);
        qemu.args(["-drive", &format!("if=pflash,format=raw,file={}", dir.join("variables").display())]);
        qemu.args([
            "-drive",
            &format!("if=none,id=disk,format=qcow2,cache=unsafe,file={}", dir.join("disk").display()),
        ]);
        qemu.args(["-device", "virtio-blk-pci,drive=disk", "-serial", &format!("file:{}", serial.display())]);
        qemu.args(
            "-netdev user,id=lan,restrict=on,net=10.0.0.0/24,host=10.0.0.1 -device \
            virtio-net-pci,netdev=lan,romfile="
                .split(' '),
        );
        qemu.args([
            "-smbios",
            &format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={EMULATED} {parameters}"),
        ]);
        let turn = turn();
        Some(Self { qemu: qemu.spawn().unwrap(), serial, _turn: turn })
    }

    /// Waits until the machine ends by itself. Returns its exit status and its serial output.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.qemu.try_wait().unwrap() {
                return (status, self.said());
            }
            assert!(begin.elapsed() < PATIENCE, "the machine does not end; serial output:\n{}", self.said());
            sleep(Duration::from_millis(200));
        }
    }

    /// The serial output so far.
    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.serial).unwrap_or_default()).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
