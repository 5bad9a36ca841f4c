//! The whole boot path in QEMU: firmware, unified kernel image, verity, initrd, agent, control plane. Judged
//! by what the machine says on its serial line and by how it ends; once in a lab.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::lab::{Client, Lab, etcd_is_healthy, etcdctl, eventually, succeeded};
use common::watch::Watch;
use common::{Site, approve, cache, ha, judge};
use serde_json::Value;

const MEMBERS: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
const VIP: &str = "10.0.0.10:8443";
/// Whose clock is wrong. chrony of the machine with the lowest address follows no other (orphan mode), so
/// that none but kiln sets it.
const STRAY: &str = "m1";
const OTHER: &str = "m2";
/// The longest that the VIP may not answer or not write while another machine comes: that of a leader that
/// changes, on a busy machine.
const LOSS: Duration = Duration::from_secs(10);
/// Emulation on a busy machine is slow; a boot that hangs must still end.
const PATIENCE: Duration = Duration::from_secs(1500);
/// What an emulated machine may take its time for, and what spares it work; the same that `kiln lab` passes.
const EMULATED: &str = "clearcpuid=cx16 no_timer_check mitigations=off \
    lsm=lockdown,,capability,,landlock,,yama,,apparmor systemd.watchdog_sec=0 \
    systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=600";

/// Waits until no other test emulates a machine: two at once would only take turns.
fn turn() -> File {
    let turn = File::create(cache().join(".emulation")).unwrap();
    turn.lock().unwrap();
    turn
}

/// A virtual machine that dies with the test.
struct Machine {
    qemu: Child,
    serial: PathBuf,
    _turn: File,
}

impl Machine {
    /// Boots the disk `image`, which is never written to, with `parameters` added to the kernel's command
    /// line.
    fn boot(dir: &Path, image: &Path, parameters: &str) -> Option<Self> {
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

    /// How the machine ended by itself, and what it said.
    fn end(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.qemu.try_wait().unwrap() {
                return (status, self.said());
            }
            assert!(begin.elapsed() < PATIENCE, "the machine does not end; it said:\n{}", self.said());
            sleep(Duration::from_millis(200));
        }
    }

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

/// A scratch directory on the filesystem of the artifacts, which may be large.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(cache()).unwrap()
}

/// The disk image in a directory of a site's outputs: the raw one if there is one.
fn disk_image(directory: &Path) -> PathBuf {
    let paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let with = |suffix: &str| {
        paths.iter().find(|path| path.extension().is_some_and(|found| found == suffix)).cloned()
    };
    with("raw")
        .or_else(|| with("qcow2"))
        .unwrap_or_else(|| panic!("no disk image in {}", directory.display()))
}

/// The `ha` site with its first node alone: one machine is then a whole control plane, of the very same role
/// image.
fn alone(dir: &Path) -> Option<Site> {
    let site = Site::new(dir)?;
    let text = fs::read_to_string(dir.join("cluster.toml")).unwrap();
    let (head, rest) = text.split_once("[[nodes]]\nname = \"m2\"").expect("the profile has a second node");
    let tail = &rest[rest.find("# Keys and certificates").expect("the profile explains its vault")..];
    fs::write(dir.join("cluster.toml"), format!("{head}{tail}")).unwrap();
    site.ok(&["build"]);
    Some(site)
}

/// What a node wrote to its serial line, as a user of the lab reads it.
fn console(lab: &Lab, node: &str) -> String {
    approve(&mut lab.kiln(&["console", node]))
}

#[test]
fn a_lab_boots_the_image_through_firmware_verity_and_agent_to_a_ready_control_plane() {
    let dir = scratch();
    let (Some(_), Some(lab)) = (judge("qemu-system-x86_64"), Lab::new()) else { return };
    let Some(site) = alone(&dir.path().join("site")) else { return };
    let client = Client::new(&site, dir.path()).unwrap();
    let _turn = turn();
    // Its clock is that of a board without a battery: no certificate is valid yet.
    lab.up_with(&["--backend", "qemu", "--clock", "2001-01-01T00:00:00"], &client.artifacts);
    eventually("the node says that its boot has ended", PATIENCE, || {
        let said = console(&lab, "m1");
        // On a very busy machine the network takes longer than this unit waits for it, and the node gets
        // there all the same.
        let late = "kiln: degraded node=m1 target=control-plane failed=systemd-networkd-wait-online.service";
        let ended = said.contains("kiln: ready node=m1 target=control-plane") || said.contains(late);
        assert_eq!(lab.status()[0]["running"], true, "{said}");
        if ended { Ok(()) } else { Err(said) }
    });
    // Not the VIP: checks that give an API server a second or two rightly take an emulated one for dead.
    assert!(
        console(&lab, "m1").contains("before the seed's certificates become valid: set forward to"),
        "{}",
        console(&lab, "m1")
    );
    let ca = client.ca.to_str().unwrap();
    let asks = || {
        lab.run(&[
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--cacert",
            ca,
            "https://10.0.0.11:6443/version",
        ])
    };
    eventually("its API server answers through the lab's network", PATIENCE, || succeeded(&asks(), ""));
    let output = lab.inside("m1", &["true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the qemu backend can't run programs inside a node"), "{said}");
    // Its power is cut, and it comes back with the disk that it wrote to.
    approve(&mut lab.kiln(&["kill", "m1"]));
    assert!(!asks().status.success(), "a machine without power answers");
    assert_eq!(lab.status()[0]["ended"], "power was cut");
    approve(&mut lab.kiln(&["start", "m1"]));
    assert_eq!(lab.status()[0]["running"], true);
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

#[test]
#[ignore = "only by `ci/test all`: an emulated machine takes minutes"]
fn a_machine_whose_clock_is_two_years_ahead_is_reported_and_the_cluster_keeps_working() {
    let Some(trial) = Strayed::new() else { return };
    trial.comes(
        "2 years",
        &["this machine's clock is 73", " d ahead of a majority of the members, whose clocks agree"],
    );
    trial.end();
}

#[test]
#[ignore = "only by `ci/test all`: an emulated machine takes minutes"]
fn machines_whose_clocks_are_a_day_off_or_at_the_epoch_are_reported_and_the_cluster_keeps_working() {
    let Some(trial) = Strayed::new() else { return };
    let table = [
        ("1 day", ["this machine's clock is 2", " h ahead of a majority of the members, whose clocks agree"]),
        (
            "1 day ago",
            ["this machine's clock is 2", " h behind a majority of the members, whose clocks agree"],
        ),
        (
            "1970-01-01",
            [
                "before the seed's certificates become valid: set forward to",
                "behind a majority of the members, whose clocks agree",
            ],
        ),
    ];
    for (clock, report) in table {
        trial.comes(clock, &report);
    }
    trial.end();
}

/// Longer than a clock may be off, 10 minutes; one that was paused for 20 differs in nothing but the time
/// that this takes.
const PAUSE: Duration = Duration::from_secs(11 * 60);

#[test]
#[ignore = "only by `ci/test all`: an emulated machine takes minutes"]
fn a_machine_that_was_paused_for_minutes_has_its_clock_set_and_the_cluster_keeps_working() {
    let Some(trial) = Strayed::new() else { return };
    trial.comes_with(&[], "now", &[]);
    trial.is_paused();
    trial.end();
}

/// A cluster of containers, of which one is off and comes back as a virtual machine: only that has a clock of
/// its own.
struct Strayed {
    lab: Lab,
    client: Client,
    scratch: tempfile::TempDir,
    _turn: File,
}

impl Strayed {
    fn new() -> Option<Self> {
        judge("qemu-system-x86_64")?;
        let (lab, site, scratch) = (Lab::new()?, ha()?, scratch());
        let client = Client::new(site, scratch.path())?;
        let turn = turn();
        lab.up(&client.artifacts);
        eventually("etcd has three healthy members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, OTHER));
        // A container may set no clock, so its chrony does not run; here it answers with the time of this
        // machine, and sets nothing.
        let chronyd = ["chronyd", "-d", "-x", "local stratum 10", "allow 10.0.0.0/24", "cmdport 0"];
        let service = ["systemd-run", "--unit=time", "--property=RuntimeDirectory=chrony"];
        for node in [OTHER, "m3"] {
            succeeded(&lab.inside(node, &[&service[..], &chronyd].concat()), "").unwrap();
        }
        Some(Self { lab, client, scratch, _turn: turn })
    }

    /// The machine comes with a clock that date(1) calls `clock`; its console reports `said`, its clock is
    /// set, and it becomes a member.
    fn comes(&self, clock: &str, said: &[&str]) {
        let time = approve(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%S", "--date", clock]));
        let said = [said, &["this machine's clock agrees with a majority of the members again"]].concat();
        self.comes_with(&["--clock", time.trim()], clock, &said);
    }

    /// The same with options of `kiln lab start`.
    fn comes_with(&self, options: &[&str], clock: &str, said: &[&str]) {
        let Self { lab, client, scratch, .. } = self;
        approve(&mut lab.kiln(&["kill", STRAY]));
        let is_writable = || {
            succeeded(
                &client.kubectl(lab, &["annotate", "namespace", "default", "--overwrite", "stray=off"]),
                "annotated",
            )
        };
        eventually("the VIP answers without it", PATIENCE, || {
            client.ready(lab, VIP).and_then(|()| is_writable())
        });
        let before = console(lab, STRAY).len();
        approve(&mut lab.kiln(&[&["start", STRAY, "--backend", "qemu"], options].concat()));
        let watch = Watch::begin(lab, client, VIP, scratch.path());
        let came = eventually("it is a healthy member", PATIENCE, || {
            let loss = watch.gaps();
            assert!(
                loss.iter().all(|gap| *gap < LOSS),
                "no answer, no write for {loss:?}: {}",
                watch.errors()
            );
            etcd_is_healthy(lab, &MEMBERS, OTHER)
                .map_err(|why| format!("{why}\n{}", &console(lab, STRAY)[before..]))
        });
        assert_eq!(self.clusters(), 1, "etcd is one cluster");
        self.says(said, before);
        eprintln!(
            "{clock}: a member after {came:.0?}; the longest times without an answer and a write: {:.1?}",
            watch.gaps()
        );
    }

    /// Its console reports all of `said`, after so many bytes.
    fn says(&self, said: &[&str], before: usize) {
        for part in said {
            eventually(part, PATIENCE, || {
                let console = &console(&self.lab, STRAY)[before..];
                if console.contains(part) { Ok(()) } else { Err(format!("{part:?} is not in\n{console}")) }
            });
        }
    }

    /// The machine, which has run for a while, is paused and goes on; its console reports how far its clock
    /// is behind, it is set, and the cluster answers and writes all the while.
    fn is_paused(&self) {
        let Self { lab, client, scratch, .. } = self;
        let behind = || console(lab, STRAY).matches("behind a majority").count();
        assert_eq!(behind(), 0, "its clock was right: {}", console(lab, STRAY));
        let (before, watch) = (console(lab, STRAY).len(), Watch::begin(lab, client, VIP, scratch.path()));
        approve(&mut lab.kiln(&["freeze", STRAY]));
        assert_eq!(lab.status()[0]["frozen"], true);
        sleep(PAUSE);
        assert_eq!(console(lab, STRAY).len(), before, "a paused machine says something");
        approve(&mut lab.kiln(&["thaw", STRAY]));
        let thawed = Instant::now();
        self.says(
            &["this machine's clock is 11 min behind a majority of the members, whose clocks agree"],
            before,
        );
        let reported = thawed.elapsed();
        assert!(reported < Duration::from_secs(60), "it is reported after {reported:.0?}");
        self.says(
            &[
                "whose clocks agree: set to",
                "this machine's clock agrees with a majority of the members again",
            ],
            before,
        );
        let set = thawed.elapsed();
        let back = eventually("it is a healthy member", PATIENCE, || etcd_is_healthy(lab, &MEMBERS, OTHER));
        let loss = watch.gaps();
        assert!(loss.iter().all(|gap| *gap < LOSS), "no answer, no write for {loss:?}: {}", watch.errors());
        assert_eq!(self.clusters(), 1, "etcd is one cluster");
        eprintln!(
            "paused: reported after {reported:.0?}, right after {set:.0?}, a member {back:.0?} later; the \
            longest gaps: {loss:.1?}"
        );
    }

    /// How many clusters the members belong to.
    fn clusters(&self) -> usize {
        let output = etcdctl(&self.lab, &MEMBERS, OTHER, &["endpoint", "status", "--write-out=json"]);
        let members: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(members.len(), MEMBERS.len(), "{output:?}");
        let clusters: BTreeSet<u64> =
            members.iter().map(|member| member["Status"]["header"]["cluster_id"].as_u64().unwrap()).collect();
        clusters.len()
    }

    fn end(self) {
        approve(&mut self.lab.kiln(&["down"]));
        self.lab.assert_gone();
    }
}

#[test]
fn one_flipped_byte_in_the_root_partition_makes_the_boot_fail() {
    let Some(site) = ha() else { return };
    let dir = scratch();
    let image = dir.path().join("corrupt.raw");
    approve(
        Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(disk_image(&site.out().join("images")))
            .arg(&image),
    );
    flip_byte(&image, partition(&image, "kiln-root").expect("a root partition") + CREATED);
    let Some(machine) = Machine::boot(dir.path(), &image, "panic=1") else { return };
    let (_, said) = machine.end();
    assert!(said.contains("Kernel panic - not syncing: dm-verity device corrupted"), "{said}");
    assert!(!said.contains("kiln-agent.service"), "the agent ran on a corrupt root:\n{said}");
}

#[test]
fn a_machine_without_a_seed_says_so_and_stops() {
    let Some(site) = ha() else { return };
    let dir = scratch();
    let Some(machine) =
        Machine::boot(dir.path(), &disk_image(&site.out().join("images")), "kiln.on-failure=poweroff")
    else {
        return;
    };
    let (_, said) = machine.end();
    assert!(said.contains("kiln: BOOT FAILED") && said.contains("no seed found"), "{said}");
    assert!(said.contains("reboot: Power down"), "{said}");
    assert!(!said.contains("login:"), "{said}");
}

/// Offset of the creation time in a squashfs superblock: a byte that no driver minds, so that only verity
/// can.
const CREATED: u64 = 8;

/// Offset in bytes of the partition of that name, by sfdisk.
fn partition(image: &Path, name: &str) -> Option<u64> {
    let table = approve(judge("sfdisk")?.arg("--json").arg(image));
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    partitions
        .iter()
        .find(|partition| partition["name"] == name)
        .map(|partition| partition["start"].as_u64().unwrap() * 512)
}

fn flip_byte(image: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}
