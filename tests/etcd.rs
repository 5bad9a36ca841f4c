//! What an etcd member without data does: it founds a cluster with the others, or takes its own place in the one that lives.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{approve, judge};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/overlays/etcd/rootfs/usr/libexec/kiln/etcd-member");
const PATIENCE: Duration = Duration::from_secs(60);

/// Three members on loopback, each with the start that its unit gives it.
struct Cluster {
    directory: tempfile::TempDir,
    /// Client and peer port of each member.
    ports: [[u16; 2]; 3],
    running: [Option<Child>; 3],
}

impl Cluster {
    fn new() -> Option<Self> {
        judge("etcd")?;
        judge("etcdctl")?;
        // All six are bound at once, so that they differ.
        let listeners: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |index: usize| listeners[index].local_addr().unwrap().port();
        let ports = [[port(0), port(1)], [port(2), port(3)], [port(4), port(5)]];
        Some(Self { directory: tempfile::tempdir().unwrap(), ports, running: [const { None }; 3] })
    }

    fn url(&self, member: usize, which: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[member][which])
    }

    fn data(&self, member: usize) -> PathBuf {
        self.directory.path().join(format!("m{member}"))
    }

    /// What the script writes before `member` starts, and what it says.
    fn decide(&self, member: usize) -> (Option<String>, String) {
        let flags = self.directory.path().join("flags");
        let _ = fs::remove_file(&flags);
        let mut script = Command::new("bash");
        script.arg(SCRIPT).arg(&flags).arg(self.data(member)).arg(format!("m{member}")).arg(self.url(member, 1));
        let said = approve(script.args((0..3).map(|member| self.url(member, 0))));
        (fs::read_to_string(flags).ok(), said)
    }

    fn start(&mut self, member: usize) {
        let (flags, _) = self.decide(member);
        let extra = flags.unwrap_or_default();
        let extra = extra.trim().strip_prefix("KILN_ETCD_FLAGS=").unwrap_or_default().trim_matches('"').to_owned();
        let all: Vec<String> = (0..3).map(|member| format!("m{member}={}", self.url(member, 1))).collect();
        let mut etcd = Command::new("etcd");
        etcd.arg(format!("--name=m{member}")).arg("--data-dir").arg(self.data(member));
        etcd.arg(format!("--initial-cluster={}", all.join(","))).arg("--initial-cluster-state=new");
        for (flag, which) in [("listen-client", 0), ("advertise-client", 0), ("listen-peer", 1), ("initial-advertise-peer", 1)] {
            etcd.arg(format!("--{flag}-urls={}", self.url(member, which)));
        }
        etcd.args(extra.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running[member] = Some(etcd.spawn().unwrap());
    }

    fn kill(&mut self, member: usize) {
        let mut process = self.running[member].take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn etcdctl(&self, member: usize, arguments: &[&str]) -> Result<String, String> {
        let endpoint = format!("--endpoints={}", self.url(member, 0));
        let output = Command::new("etcdctl").env("ETCDCTL_API", "3").arg(endpoint).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn eventually(&self, member: usize, arguments: &[&str], expected: &str) {
        let begin = Instant::now();
        loop {
            let answer = self.etcdctl(member, arguments);
            if answer.as_ref().is_ok_and(|text| text.contains(expected)) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "m{member} {arguments:?}: {answer:?}");
            sleep(Duration::from_millis(200));
        }
    }

    fn members(&self, member: usize) -> Vec<String> {
        self.etcdctl(member, &["member", "list"]).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.running.iter_mut().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn a_member_whose_disk_was_lost_takes_its_own_place_in_the_living_cluster() {
    let Some(mut cluster) = Cluster::new() else { return };
    let (flags, said) = cluster.decide(0);
    assert_eq!((flags, said.trim()), (None, "no cluster answers: m0 founds it with the others"));

    // Two of three are a quorum; the third comes later and is a founder all the same.
    cluster.start(0);
    cluster.start(1);
    cluster.eventually(0, &["put", "key", "before"], "OK");
    let (flags, said) = cluster.decide(2);
    assert_eq!((flags, said.trim()), (None, "the cluster lives and waits for m2, its founder"));
    cluster.start(2);
    cluster.eventually(2, &["get", "key"], "before");

    // A power cut is not a lost disk.
    cluster.kill(2);
    let (flags, said) = cluster.decide(2);
    assert_eq!((flags, said.as_str()), (None, ""));

    let before = cluster.members(0);
    fs::remove_dir_all(cluster.data(2)).unwrap();
    let (first, said) = cluster.decide(2);
    assert!(said.contains("whose data is lost: replacing that member"), "{said}");
    let expected = format!(
        "--initial-cluster-state=existing --initial-cluster=m2={},m0={},m1={}",
        cluster.url(2, 1),
        cluster.url(0, 1),
        cluster.url(1, 1)
    );
    let sorted = |flags: &str| {
        let mut members: Vec<String> = flags.trim_matches(['"', '\n']).split(['=', ',']).map(str::to_owned).collect();
        members.sort();
        members
    };
    let first = first.unwrap();
    let written = first.trim().strip_prefix("KILN_ETCD_FLAGS=").unwrap();
    assert_eq!(sorted(written), sorted(&expected), "{written}");

    // The power fails again before etcd started: the second start adds nothing.
    let added = cluster.members(0);
    let (second, _) = cluster.decide(2);
    assert_eq!((second.unwrap(), cluster.members(0)), (first, added));

    cluster.start(2);
    cluster.eventually(2, &["get", "key"], "before");
    cluster.eventually(2, &["put", "key", "after"], "OK");
    cluster.eventually(0, &["get", "key"], "after");
    let after = cluster.members(0);
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|member| member.contains(", started, ")), "{after:?}");
    assert_ne!(before, after, "the lost member keeps its identifier, which promises what it no longer has");
}

#[test]
fn shellcheck_accepts_the_script() {
    let Some(mut shellcheck) = judge("shellcheck") else { return };
    approve(shellcheck.arg(SCRIPT));
}
