//! Snapshots of a real etcd: a snapshot is kept whole or not at all, a failure never displaces existing
//! snapshots, an order restores a snapshot, and a damaged one is refused.

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
use crate::member::Member;
use crate::world::{KILN, World};
use crate::{PATIENCE, put, whole};

/// Returns a member's snapshots, newest first: number, revision, SHA-256 and path.
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

/// Checks that every snapshot of a member matches its listed SHA-256 and ends with its own digest.
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

/// Checks that a command failed with an exit code and a message.
fn fails(output: &Output, code: i32, said: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && text.contains(said), "{said}: {output:?}");
}

/// Waits for the first snapshot, which a member without snapshots saves on its own.
fn saves_a_first_one(member: &Member) {
    eventually("a first snapshot", PATIENCE, || {
        if kept(member).is_empty() { Err(member.log()) } else { Ok(()) }
    });
}

pub(crate) fn kept_whole_or_not_at_all() {
    let Some(mut world) = World::new(3) else { return };
    if judge("prlimit").is_none() {
        return;
    }
    world.on(&[0, 1, 2]);
    whole(&world);
    put(&world, "key", "value");
    world.members.iter().for_each(saves_a_first_one);
    the_newest_eight_are_kept(&world);
    etcd_reads_it(&world.members[0]);
    a_failed_write_leaves_nothing(&world.members[0]);
    too_little_space_is_refused(&world.members[0]);
    no_quorum_is_refused(&mut world);
}

fn the_newest_eight_are_kept(world: &World) {
    let member = &world.members[0];
    let first = kept(member).remove(0);
    for _ in 0..9 {
        put(world, "key", "another");
        approve(&mut member.agent("snapshot"));
    }
    let numbers: Vec<u64> = kept(member).iter().map(|(number, ..)| *number).collect();
    assert_eq!(
        numbers,
        (first.0 + 2..=first.0 + 9).rev().collect::<Vec<_>>(),
        "the newest eight snapshots are kept"
    );
    all_whole(member);
    assert_eq!(member.snapshots().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

/// Checks that etcdctl reads the newest snapshot and finds the same revision.
fn etcd_reads_it(member: &Member) {
    let (_, revision, _, path) = kept(member).remove(0);
    let status = approve(
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "status", "--write-out=json"])
            .arg(&path),
    );
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["revision"], revision, "{status}");
}

/// Checks that a snapshot that can't be written completely is removed, and that the others remain.
fn a_failed_write_leaves_nothing(member: &Member) {
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
}

/// Checks that no snapshot is saved on a filesystem without space for both the snapshot and etcd.
fn too_little_space_is_refused(member: &Member) {
    let before = kept(member);
    let small = Small::new(&member.snapshots());
    fails(&member.agent("snapshot").output().unwrap(), 3, " MiB free, but a snapshot and etcd itself need ");
    drop(small);
    assert_eq!(kept(member), before);
}

/// Checks that a member that is cut off from the others saves no snapshot, because its data may be outdated.
fn no_quorum_is_refused(world: &mut World) {
    let before = kept(&world.members[0]);
    world.members[0].cut(true);
    sleep(Duration::from_secs(3));
    let output = world.members[0].agent("snapshot").output().unwrap();
    world.members[0].cut(false);
    fails(&output, 6, "checking for a quorum");
    assert_eq!(kept(&world.members[0]), before);
}

/// A 40 MiB filesystem mounted over a directory.
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
    saves_a_first_one(member);
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
        // The whole process group is killed at once, as by a power cut.
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
    // Some were killed before they finished, and the next snapshot removes what they left behind.
    assert!((0..12).contains(&finished), "{finished} of 12 finished before they were killed");
    approve(&mut member.agent("snapshot"));
    assert_eq!(fs::read_dir(member.snapshots()).unwrap().count(), kept(member).len());
}

/// Orders to restore a snapshot from a file.
struct Restore<'a> {
    site: &'a Path,
    scratch: tempfile::TempDir,
}

impl Restore<'_> {
    /// Runs `kiln order` with a snapshot file of this content.
    fn order(&self, bytes: &[u8], sha256: &str, arguments: &[&str]) -> Output {
        let file = self.scratch.path().join("snapshot.db");
        fs::write(&file, bytes).unwrap();
        let restore = format!("{}@{sha256}", file.display());
        let mut command = Command::new(KILN);
        command.current_dir(self.site).args(["order", "--restore", &restore]).args(arguments);
        command.output().unwrap()
    }

    /// Like [`Restore::order`], for a snapshot of m1: `kiln order` accepts only machines of the cluster.
    fn order_on_m1(&self, bytes: &[u8], sha256: &str, out: &str) -> Output {
        self.order(bytes, sha256, &["--on", "m1", "--out", out])
    }

    /// Checks that an order to restore this content fails and writes nothing.
    fn is_refused(&self, bytes: &[u8], what: &str) {
        let output = self.order_on_m1(bytes, &digest(bytes), "refused");
        fails(&output, 5, what);
        assert!(!self.site.join("refused").exists());
    }

    /// Returns the leaf pages without which the order fails.
    fn pages_in_use(&self, data: &[u8]) -> Vec<usize> {
        let is_leaf = |number: &usize| data[number * PAGE + 8] == 2 && data[number * PAGE + 10] > 3;
        let is_needed = |number: &usize| {
            let mut zeroed = data.to_vec();
            zeroed[number * PAGE..(number + 1) * PAGE].fill(0);
            let zeroed = sealed(zeroed);
            let output = self.order(&zeroed, &digest(&zeroed), &["--out", "probe"]);
            let _ = fs::remove_dir_all(self.site.join("probe"));
            output.status.code() == Some(5)
        };
        (2..data.len() / PAGE).filter(is_leaf).filter(is_needed).collect()
    }

    /// Checks that damage to any page in use is detected, even if the file ends with the right digest: the
    /// database may have been damaged before the snapshot was taken. `etcdctl snapshot status` accepts some
    /// of these files, which is why kiln reads all pages.
    fn refuses_damaged_pages(&self, data: &[u8]) {
        let in_use = self.pages_in_use(data);
        assert!(!in_use.is_empty(), "no page of keys is in use");
        for number in in_use {
            // The page's number, its type, its number of elements, and the offset and the length of the
            // second key.
            for (at, byte) in [(0, 1), (8, 2), (11, 0x7f), (16 + 16 + 4, 0xff), (16 + 16 + 8, 0xff)] {
                let mut damaged = data.to_vec();
                damaged[number * PAGE + at] ^= byte;
                self.is_refused(&sealed(damaged), "");
            }
        }
    }
}

/// Page size of the database.
const PAGE: usize = 4096;

/// Appends the digest that a snapshot ends with.
fn sealed(mut data: Vec<u8>) -> Vec<u8> {
    let end = Sha256::digest(&data);
    data.extend(end);
    data
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
    let restore = Restore { site: world.site(), scratch: tempfile::tempdir().unwrap() };
    let other = digest(b"another");
    fails(
        &restore.order_on_m1(&good, &other, "refused"),
        5,
        &format!("the SHA-256 is {}, expected {other}", digest(&good)),
    );
    restore.is_refused(&good[..good.len() / 2], "does not end with the SHA-256 of its content");
    restore.is_refused(&good[..20], "the snapshot is truncated: it is only 20 bytes long");
    restore.is_refused(&changed(&good), "does not end with the SHA-256 of its content");
    restore.refuses_damaged_pages(&good[..good.len() - 32]);
    let output = restore.order_on_m1(&good, &digest(&good), "accepted");
    assert!(output.status.success(), "{output:?}");
    let seed = fs::metadata(world.site().join("accepted/m1.seed")).unwrap();
    assert!(seed.len() > good.len() as u64 && seed.permissions().mode() & 0o777 == 0o600);
}

/// Flips one bit in the middle.
fn changed(good: &[u8]) -> Vec<u8> {
    let mut changed = good.to_vec();
    changed[good.len() / 2] ^= 1;
    changed
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

    let good = fs::read(&path).unwrap();
    fs::write(&path, changed(&good)).unwrap();
    a_damaged_one_is_refused_before_data_is_moved(&mut world);
    fs::write(&path, &good).unwrap();

    // The member that restores the snapshot has lost its disk: it needs no data of its own.
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
    // At the next boot the seed contains the same order, which has already been carried out.
    put(&world, "key", "after");
    (0..3).for_each(|place| world.members[place].off());
    world.on(&[0, 1, 2]);
    assert_eq!(whole(&world), after);
    assert!(world.etcdctl_at(2, &["get", "key"]).unwrap().contains("after"));
}

/// Checks that members with an order to restore a damaged snapshot wait, report the reason and keep their
/// data; switches them on and off.
fn a_damaged_one_is_refused_before_data_is_moved(world: &mut World) {
    world.on(&[0, 1, 2]);
    eventually("m2 reports the damage", PATIENCE, || {
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
}
