//! mmdebstrap judges the composed system: the same packages, installed by apt and dpkg as root, must leave
//! the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use crate::base::debian::mirror::Mirrors;
use crate::base::debian::{LockRequest, TOOLS_PACKAGES, TOOLS_SET, Tools, Trust};
use crate::base::debian::{compose, fetch, mirror, resolve};
use crate::base::{Archive, Lock};
use crate::digest::Digest;
use crate::host;
use crate::judge::{accepts, judge};
use crate::progress::{Progress, Silent, Step};
use crate::store::Store;
use crate::tree::{EntryKind, Tree};
use crate::words::Arch;

/// A small set with every kind of maintainer script that has caused trouble: users, overrides, alternatives,
/// diversions, triggers, units.
const PACKAGES: &str = "ca-certificates chrony dbus iproute2 kmod passwd systemd-sysv udev";

const SET: &str = "judged";

/// Properties of each entry, independent of numeric ids: kind, mode, owner, group, bytes or target.
type Facts = BTreeMap<String, String>;

#[test]
fn apt_and_dpkg_leave_the_same_files() {
    compare(PACKAGES);
}

#[test]
#[ignore = "downloads 160 MB; KILN_TEST_PACKAGES names other packages"]
fn apt_and_dpkg_leave_the_same_files_for_a_whole_node() {
    let node = "systemd systemd-sysv udev dbus systemd-boot-efi systemd-repart systemd-cryptsetup kmod \
        iproute2 nftables chrony haproxy \
                keepalived etcd-server etcd-client containerd runc containernetworking-plugins conntrack \
        iptables ethtool socat e2fsprogs \
                linux-image-cloud-amd64 ca-certificates util-linux mount login passwd procps";
    compare(&std::env::var("KILN_TEST_PACKAGES").unwrap_or_else(|_| node.to_owned()));
}

fn compare(packages: &str) {
    let Some(mut mmdebstrap) = judge("mmdebstrap") else { return };
    let mirrors = mirror(None).unwrap();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let sets =
        [(SET.to_owned(), names(packages)), (TOOLS_SET.to_owned(), names(&TOOLS_PACKAGES.join(" ")))].into();
    let trust = Trust { keyring: None, allow_expired: true };
    let lock = resolve(
        &LockRequest { suite: "trixie".into(), architecture: Arch::Amd64, mirror: None, sets, trust },
        &store,
        &Silent,
    )
    .unwrap();
    fetch(&lock, &[SET, TOOLS_SET], Some(&mirrors), &store, &Silent).unwrap();
    let tools = Tools::open(&lock, &store, &Laps).unwrap();
    let tree = {
        let _lap = Laps.begin("composing", None);
        compose(&lock, SET, &[], &tools, &store, &Laps).unwrap()
    };
    let archive = dir.path().join("judge.tar");
    let include = lock.sets[SET].join(",");
    mmdebstrap.args(["--mode=root", "--variant=custom", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
    mmdebstrap
        .arg(format!("--include={include}"))
        .arg("trixie")
        .arg(&archive)
        .args(sources(&lock, &mirrors))
        .env("INITRD", "No");
    {
        let _lap = Laps.begin("mmdebstrap", None);
        accepts(&mut mmdebstrap);
    }
    let (ours, theirs) = (of_tree(&tree), of_archive(&archive));
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path) && !explained(path));
    let said: Vec<String> = differing
        .map(|path| format!("{path}\n  ours   {:?}\n  theirs {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(said.is_empty(), "{} paths differ:\n{}", said.len(), said.join("\n"));
}

fn sources(lock: &Lock, mirrors: &Mirrors) -> Vec<String> {
    let line = |release: &crate::base::lock::ReleasePin| {
        let archive =
            if release.suite.ends_with("-security") { Archive::DebianSecurity } else { Archive::Debian };
        format!("deb [trusted=yes] {} {} main", mirrors.of(archive)[0], release.suite)
    };
    lock.releases.iter().map(line).collect()
}

/// Checks whether both may differ at a path; the table lists the reasons.
fn explained(path: &str) -> bool {
    const WHY: &[(&str, &str)] = &[
        ("the machine's own at run time", "/dev /proc /run /sys /tmp"),
        (
            "left out at unpacking",
            "/usr/share/bug /usr/share/doc /usr/share/info /usr/share/lintian /usr/share/locale \
            /usr/share/man",
        ),
        (
            "scrubbed: logs, caches, backups, locks",
            "/var/backups /var/cache /var/lib/apt /var/lib/ucf/cache /var/log /etc/.pwd.lock",
        ),
        ("scrubbed: identities", "/etc/machine-id /var/lib/dbus/machine-id"),
        ("moved out of /var", "/usr/lib/sysimage /var/lib/dpkg"),
        (
            "numbers given in another order, and dates",
            "/etc/group /etc/gshadow /etc/passwd /etc/shadow /etc/subgid /etc/subuid",
        ),
        ("backups of those", "/etc/group- /etc/gshadow- /etc/passwd- /etc/shadow-"),
        ("mmdebstrap's own", "/etc/apt /etc/fstab /etc/hostname /etc/resolv.conf"),
    ];
    // An alternative for a manual page is made only where the page is.
    let manual = path.strip_prefix("/etc/alternatives/").is_some_and(|name| name.ends_with(".gz"));
    manual
        || WHY.iter().any(|(_, paths)| {
            paths.split(' ').any(|prefix| path == prefix || path.starts_with(&format!("{prefix}/")))
        })
}

fn of_tree(tree: &Tree) -> Facts {
    let read = |path: &str| {
        tree.iter()
            .find(|(at, _)| at.as_str() == path)
            .map(|(_, entry)| content(&entry.kind))
            .unwrap_or_default()
    };
    let (users, groups) = (numbers(&read("/etc/passwd")), numbers(&read("/etc/group")));
    let facts = |entry: &crate::tree::Entry| {
        let owner =
            format!("{:o} {} {}", entry.mode, users[&u64::from(entry.uid)], groups[&u64::from(entry.gid)]);
        match &entry.kind {
            EntryKind::Directory => format!("directory {owner}"),
            EntryKind::Symlink(target) => format!("link {}", merged(target)),
            EntryKind::File(content) => format!("file {owner} {}", content.sha256()),
        }
    };
    tree.iter().map(|(path, entry)| (path.to_string(), facts(entry))).collect()
}

fn content(kind: &EntryKind) -> String {
    let EntryKind::File(content) = kind else { return String::new() };
    String::from_utf8(content.read().unwrap()).unwrap()
}

fn of_archive(path: &Path) -> Facts {
    let mut found: Vec<(String, tar::Header, Option<String>, Vec<u8>)> = Vec::new();
    for entry in tar::Archive::new(host::fs::open(path).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let name = format!("/{}", name.trim_start_matches("./").trim_end_matches('/'));
        let target = entry.link_name_bytes().map(|bytes| String::from_utf8(bytes.into_owned()).unwrap());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        found.push((name, entry.header().clone(), target, bytes));
    }
    let read = |path: &str| {
        found
            .iter()
            .find(|(name, ..)| name == path)
            .map(|(.., bytes)| String::from_utf8_lossy(bytes).into_owned())
    };
    let (users, groups) = (numbers(&read("/etc/passwd").unwrap()), numbers(&read("/etc/group").unwrap()));
    let mut facts = Facts::new();
    for (name, header, target, bytes) in found.iter().filter(|(name, ..)| name != "/") {
        let (mode, uid, gid) =
            (header.mode().unwrap() & 0o7777, header.uid().unwrap(), header.gid().unwrap());
        let owner = format!("{mode:o} {} {}", users[&uid], groups[&gid]);
        let fact = match header.entry_type() {
            tar::EntryType::Directory => format!("directory {owner}"),
            tar::EntryType::Symlink => format!("link {}", merged(target.as_ref().unwrap())),
            // The first name comes first in the archive.
            tar::EntryType::Link => {
                facts[&format!("/{}", target.as_ref().unwrap().trim_start_matches("./"))].clone()
            }
            tar::EntryType::Regular => format!("file {owner} {}", Digest::of(bytes)),
            other => format!("{other:?} {owner}"),
        };
        facts.insert(name.clone(), fact);
    }
    facts
}

/// Maps ids to names, from `/etc/passwd` or `/etc/group`.
fn numbers(text: &str) -> BTreeMap<u64, String> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(fields).map(|fields| (fields[2].parse().unwrap(), fields[0].clone())).collect()
}

/// `deb-systemd-helper` names `/lib` or `/usr/lib`, whichever it finds first; both are the same directory.
fn merged(target: &str) -> String {
    target.strip_prefix("/lib/").map_or_else(|| target.to_owned(), |rest| format!("/usr/lib/{rest}"))
}

/// Prints the duration of each step: seconds, and processor seconds of this process and its children.
struct Laps;

struct Lap(String, Instant, f64);

impl Progress for Laps {
    fn begin(&self, step: &str, _: Option<u64>) -> Box<dyn Step> {
        Box::new(Lap(step.to_owned(), Instant::now(), processor()))
    }
}

impl Step for Lap {
    fn advance(&self, _: u64) {}
}

impl Drop for Lap {
    fn drop(&mut self) {
        println!(
            "{:8.2} s, processor {:6.2} s  {}",
            self.1.elapsed().as_secs_f64(),
            processor() - self.2,
            self.0
        );
    }
}

fn processor() -> f64 {
    let stat = host::fs::read_to_string(Path::new("/proc/self/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4);
    fields.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}
