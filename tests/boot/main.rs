//! The whole boot path in QEMU: firmware, unified kernel image, verity, initrd, agent, control plane. Judged
//! by what the machine writes to its serial line and by how it ends, once as part of a lab.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod machine;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::lab::{Client, Lab, eventually, succeeded};
use common::{Site, approve, cache, ha, judge};
use machine::Machine;

/// Emulation on a busy machine is slow, but a boot that hangs must still end.
const PATIENCE: Duration = Duration::from_secs(1500);

/// Waits until no other test emulates a machine: two at once would only compete for the processors.
fn turn() -> File {
    let turn = File::create(cache().join(".emulation")).unwrap();
    turn.lock().unwrap();
    turn
}

/// A scratch directory on the same filesystem as the artifacts, which may be large.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(cache()).unwrap()
}

/// The disk image in a directory of a site's outputs, preferably the raw one.
fn disk_image(directory: &Path) -> PathBuf {
    let paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let with = |suffix: &str| {
        paths.iter().find(|path| path.extension().is_some_and(|found| found == suffix)).cloned()
    };
    with("raw")
        .or_else(|| with("qcow2"))
        .unwrap_or_else(|| panic!("no disk image in {}", directory.display()))
}

/// The `ha` site reduced to its first node: a control plane of one machine with the same role image.
fn alone(dir: &Path) -> Option<Site> {
    let site = Site::new(dir)?;
    let text = fs::read_to_string(dir.join("cluster.toml")).unwrap();
    let (head, rest) = text.split_once("[[nodes]]\nname = \"m2\"").expect("the profile has a second node");
    let tail = &rest[rest.find("# Keys and certificates").expect("the profile explains its vault")..];
    fs::write(dir.join("cluster.toml"), format!("{head}{tail}")).unwrap();
    site.ok(&["build"]);
    Some(site)
}

/// A node's serial output, as a user of the lab reads it.
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
    // The clock is that of a board without a battery: no certificate is valid yet.
    lab.up_with(&["--backend", "qemu", "--clock", "2001-01-01T00:00:00"], &client.artifacts);
    eventually("the node reports that its boot has finished", PATIENCE, || {
        let said = console(&lab, "m1");
        // On a very busy machine the network takes longer than this unit waits, but the boot still succeeds.
        let late = "kiln: degraded node=m1 target=control-plane failed=systemd-networkd-wait-online.service";
        let ended = said.contains("kiln: ready node=m1 target=control-plane") || said.contains(late);
        assert_eq!(lab.status()[0]["running"], true, "{said}");
        if ended { Ok(()) } else { Err(said) }
    });
    // The VIP is not tested: checks with a timeout of a second or two fail on an emulated API server.
    assert!(
        console(&lab, "m1").contains("the time at which the seed's certificates become valid"),
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
    eventually("the API server answers through the lab's network", PATIENCE, || succeeded(&asks(), ""));
    let output = lab.inside("m1", &["true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the qemu backend can't run programs inside a node"), "{said}");
    // After a power cut the machine starts again from the disk that it wrote to.
    approve(&mut lab.kiln(&["kill", "m1"]));
    assert!(!asks().status.success(), "a machine without power answers");
    assert_eq!(lab.status()[0]["ended"], "power was cut");
    approve(&mut lab.kiln(&["start", "m1"]));
    assert_eq!(lab.status()[0]["running"], true);
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
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

/// Offset of the creation time in a squashfs superblock: no driver checks this byte, so only verity can
/// detect the change.
const CREATED: u64 = 8;

/// The offset in bytes of the partition with this name, from sfdisk.
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
