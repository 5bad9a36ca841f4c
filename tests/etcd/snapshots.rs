//! Snapshots of a real etcd: kept whole or not at all, never displaced by a failure, restored by an order,
//! refused when damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::common::lab::eventually;
use crate::common::{approve, judge};
use crate::world::{KILN, Member, World};
use crate::{PATIENCE, put, whole};

/// What a member lists, newest first: number, revision, SHA-256, path.
fn kept(member: &Member) -> Vec<(u64, u64, String, PathBuf)> {
    let listed: Value = serde_json::from_str(&approve(member.agent("snapshots").arg("--json"))).unwrap();
    let one = |kept: &Value| {
        let text = |key: &str| kept[key].as_str().unwrap().to_owned();
        (
            kept["number"].as_u64().unwrap(),
            kept["revision"].as_u64().unwrap(),
            text("sha256"),
            member.snapshots().join(text("file")),
        )
    };
    listed.as_array().unwrap().iter().map(one).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file that a member lists is what its name says, and nothing else is there.
fn all_whole(member: &Member) {
    let kept = kept(member);
    for (_, _, sha256, path) in &kept {
        let bytes = fs::read(path).unwrap();
        assert_eq!(digest(&bytes), *sha256, "{}", path.display());
        let (data, end) = bytes.split_at(bytes.len() - 32);
        assert_eq!(Sha256::digest(data)[..], *end, "{}", path.display());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

fn fails(output: &Output, code: i32, said: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && text.contains(said), "{said}: {output:?}");
}

pub(crate) fn kept_whole_or_not_at_all() {
    let Some(mut world) = World::new(3) else { return };
    if judge("prlimit").is_none() {
        return;
    }
    world.on(&[0, 1, 2]);
    whole(&world);
    put(&world, "key", "value");
    // A member that has none saves one by itself, soon.
    for member in &world.members {
        eventually("a first snapshot", PATIENCE, || {
            if kept(member).is_empty() { Err(member.log()) } else { Ok(()) }
        });
    }
    let member = &world.members[0];
    let first = kept(member).remove(0);
    for _ in 0..9 {
        put(&world, "key", "another");
        approve(&mut member.agent("snapshot"));
    }
    let numbers: Vec<u64> = kept(member).iter().map(|(number, ..)| *number).collect();
    assert_eq!(
        numbers,
        (first.0 + 2..=first.0 + 9).rev().collect::<Vec<_>>(),
        "eight are kept, the newest ones"
    );
    all_whole(member);
    assert_eq!(member.snapshots().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // etcd's own reader agrees.
    let (_, revision, _, path) = kept(member).remove(0);
    let status = approve(
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "status", "--write-out=json"])
            .arg(&path),
    );
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["revision"], revision, "{status}");

    // No room while it is written: whatever etcdctl had written goes, whatever was there stays.
    let before = kept(member);
    let mut limited = member.command("prlimit");
    let output = limited
        .args(["--fsize=20000", KILN, "agent", "etcd", "snapshot", "--settings"])
        .arg(member.settings())
        .output()
        .unwrap();
    fails(&output, 6, "saving a snapshot");
    assert_eq!(kept(member), before);
    assert_eq!(fs::read_dir(member.snapshots()).unwrap().count(), before.len());

    // No room for it and for etcd itself.
    let small = Small::new(&member.snapshots());
    fails(&member.agent("snapshot").output().unwrap(), 3, " MiB free, but a snapshot and etcd itself need ");
    drop(small);
    assert_eq!(kept(member), before);

    // Cut off from the others it saves none: what it has is not the cluster's.
    let output = {
        world.members[0].cut(true);
        sleep(Duration::from_secs(3));
        let output = world.members[0].agent("snapshot").output().unwrap();
        world.members[0].cut(false);
        output
    };
    fails(&output, 6, "checking for a quorum");
    assert_eq!(kept(&world.members[0]), before);
}

/// A filesystem of 40 MiB over a directory.
struct Small(PathBuf);

impl Small {
    fn new(path: &Path) -> Self {
        approve(Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "kiln-test"]).arg(path));
        Self(path.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        approve(Command::new("umount").arg(&self.0));
    }
}

pub(crate) fn killed_while_saving() {
    let Some(mut world) = World::alone() else { return };
    world.on(&[0]);
    whole(&world);
    (0..40).for_each(|number| drop(world.put_large(&format!("large-{number}"), 1 << 20).unwrap()));
    let member = &world.members[0];
    eventually("a first snapshot", PATIENCE, || {
        if kept(member).is_empty() { Err(member.log()) } else { Ok(()) }
    });
    let mut finished = 0;
    for delay in (0..12).map(|step| 15 * step * step) {
        let before = kept(member);
        let mut command = member.agent("snapshot");
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(delay));
        // All of it at once, as the power does it.
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::KILL,
        );
        child.wait().unwrap();
        let after = kept(member);
        finished += usize::from(after.len() > before.len());
        assert!(after.ends_with(&before[..before.len().min(7)]) || after == before, "{before:?} {after:?}");
        all_whole(member);
    }
    // Both were seen, and what was left behind goes with the next one.
    assert!((0..12).contains(&finished), "{finished} of 12 were finished before they were killed");
    approve(&mut member.agent("snapshot"));
    assert_eq!(fs::read_dir(member.snapshots()).unwrap().count(), kept(member).len());
}

pub(crate) fn damaged_ones_are_refused_when_they_are_ordered() {
    let Some(mut world) = World::alone() else { return };
    world.on(&[0]);
    whole(&world);
    for number in 0..400 {
        put(&world, &format!("key-{}", number % 40), &"value".repeat(30));
    }
    let member = &world.members[0];
    approve(&mut member.agent("snapshot"));
    let (_, _, _, path) = kept(member).remove(0);
    let good = fs::read(&path).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("snapshot.db");
    // `kiln order` needs a cluster whose member the machine is: m1 is one.
    let ordered = |bytes: &[u8], sha256: &str, out: &str| {
        fs::write(&file, bytes).unwrap();
        let restore = format!("{}@{sha256}", file.display());
        let mut command = Command::new(KILN);
        command
            .current_dir(world.site())
            .args(["order", "--restore", &restore, "--on", "m1", "--out", out])
            .output()
            .unwrap()
    };
    let refused = |bytes: &[u8], what: &str| {
        let output = ordered(bytes, &digest(bytes), "refused");
        fails(&output, 5, what);
        assert!(!world.site().join("refused").exists());
    };
    let other = digest(b"another");
    fails(
        &ordered(&good, &other, "refused"),
        5,
        &format!("the SHA-256 is {}, expected {other}", digest(&good)),
    );
    refused(&good[..good.len() / 2], "does not end with the SHA-256 of its content");
    refused(&good[..20], "the snapshot is truncated: it has 20 bytes");
    let sealed = |mut data: Vec<u8>| {
        let end = Sha256::digest(&data);
        data.extend(end);
        data
    };
    let data = &good[..good.len() - 32];
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    refused(&changed, "does not end with the SHA-256 of its content");
    // What etcd's own digest can't see: the database was damaged before the snapshot was taken. A page that
    // is in use, of a few hundred.
    let page = 4096;
    let is_leaf = |number: &usize| data[number * page + 8] == 2 && data[number * page + 10] > 3;
    let in_use = (2..data.len() / page).filter(is_leaf).filter(|number| {
        let mut zeroed = data.to_vec();
        zeroed[number * page..(number + 1) * page].fill(0);
        fs::write(&file, sealed(zeroed)).unwrap();
        let restore = format!("{}@{}", file.display(), digest(&fs::read(&file).unwrap()));
        let output = Command::new(KILN)
            .current_dir(world.site())
            .args(["order", "--restore", &restore, "--out", "probe"])
            .output()
            .unwrap();
        let _ = fs::remove_dir_all(world.site().join("probe"));
        output.status.code() == Some(5)
    });
    let in_use: Vec<usize> = in_use.collect();
    assert!(!in_use.is_empty(), "no page of keys is in use");
    for number in in_use {
        let damage = |at: usize, byte: u8| {
            let mut damaged = data.to_vec();
            damaged[number * page + at] ^= byte;
            sealed(damaged)
        };
        // Its number, its kind, how many it has, where the second key is, how long it is.
        for (at, byte) in [(0, 1), (8, 2), (11, 0x7f), (16 + 16 + 4, 0xff), (16 + 16 + 8, 0xff)] {
            refused(&damage(at, byte), "");
        }
    }
    let output = ordered(&good, &digest(&good), "accepted");
    assert!(output.status.success(), "{output:?}");
    let seed = fs::metadata(world.site().join("accepted/m1.seed")).unwrap();
    assert!(seed.len() > good.len() as u64 && seed.permissions().mode() & 0o777 == 0o600);
    // etcd's own reader takes some of these files for good: that is why all pages are read.
}

pub(crate) fn restored_by_an_order() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    let before = whole(&world);
    put(&world, "key", "kept");
    approve(&mut world.members[1].agent("snapshot"));
    let (_, _, sha256, path) = kept(&world.members[1]).remove(0);
    put(&world, "key", "newer");
    (0..3).for_each(|place| world.members[place].off());
    let text =
        format!("id = \"0123456789abcdef0123456789abcdef\"\n[restore]\non = \"m2\"\nsha256 = \"{sha256}\"\n");
    world.members.iter().for_each(|member| member.order(&text));

    // Damaged where it is kept: refused before anything is moved, and said.
    let good = fs::read(&path).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    world.on(&[0, 1, 2]);
    eventually("the reason", PATIENCE, || {
        let said = world.members[1].waits_for();
        let is_right = said.len() == 1
            && said[0].contains("can't carry out the order")
            && said[0].contains("the SHA-256 is");
        if is_right { Ok(()) } else { Err(format!("{said:?}")) }
    });
    eventually("the others wait", PATIENCE, || {
        let said = world.members[0].waits_for();
        let is_right = said
            .first()
            .is_some_and(|said| said.starts_with("m2 is to restore a snapshot of the cluster, as ordered"));
        if is_right { Ok(()) } else { Err(format!("{said:?}")) }
    });
    for member in &world.members {
        assert!(
            member.data().join("member/wal").is_dir() && !member.data().join("aside-1").exists(),
            "{}",
            member.name
        );
    }
    (0..3).for_each(|place| world.members[place].off());

    // The one that restores it has lost its disk: data of its own are not needed.
    fs::write(&path, &good).unwrap();
    world.members[1].lose_disk();
    world.on(&[0, 1, 2]);
    let after = whole(&world);
    assert_ne!(after, before);
    for place in 0..3 {
        assert!(world.etcdctl_at(place, &["get", "key"]).unwrap().contains("kept"), "m{}", place + 1);
    }
    for place in [0, 2] {
        assert!(world.members[place].data().join("aside-1/wal").is_dir(), "m{}", place + 1);
    }
    // The same seed says the same order at the next boot: it was carried out.
    put(&world, "key", "after");
    (0..3).for_each(|place| world.members[place].off());
    world.on(&[0, 1, 2]);
    assert_eq!(whole(&world), after);
    assert!(world.etcdctl_at(2, &["get", "key"]).unwrap().contains("after"));
}
