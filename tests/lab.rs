//! The built cluster on this machine: it comes up by itself, survives the loss of a machine, and leaves nothing behind.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr, reason = "tests look at the world as users do")]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use common::{Site, approve, copy_directory, ha, judge, kubernetes, root};
use serde_json::Value;

/// Three control planes on two busy processors are slow; what hangs must still end.
const PATIENCE: Duration = Duration::from_secs(300);
/// What every client of the cluster may take for granted once a machine is lost.
const FAILOVER: Duration = Duration::from_secs(60);
const NODES: [&str; 3] = ["m1", "m2", "m3"];
const VIP: &str = "10.0.0.10:8443";

/// A lab has addresses of its own, but two at once would take each other's time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A lab in a directory of its own that ends with the test.
struct Lab {
    labs: tempfile::TempDir,
    before: BTreeSet<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    fn new() -> Option<Self> {
        root()?;
        for program in ["systemd-nspawn", "ip", "curl"] {
            judge(program)?;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let labs = tempfile::Builder::new().prefix("kiln-lab").tempdir().unwrap();
        let before = traces(labs.path());
        Some(Self { labs, before, _turn: turn })
    }

    fn kiln(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.env("KILN_LAB", self.labs.path().join("labs")).arg("lab").args(arguments);
        command
    }

    fn up(&self, artifacts: &Path) {
        approve(self.kiln(&["up", "--backend", "nspawn"]).arg(artifacts));
    }

    /// Runs a program on this machine, in the lab's network.
    fn run<S: AsRef<OsStr>>(&self, program: &[S]) -> Output {
        self.kiln(&["exec", "--"]).args(program).output().unwrap()
    }

    /// Runs a program inside a node.
    fn inside(&self, node: &str, program: &[&str]) -> Output {
        self.kiln(&["exec", node, "--"]).args(program).output().unwrap()
    }

    fn status(&self) -> Vec<Value> {
        serde_json::from_str(&approve(self.kiln(&["status"]).arg("--json"))).unwrap()
    }

    fn holders(&self) -> Vec<String> {
        let holds = |node: &Value| (node["holds-vip"] == true).then(|| node["name"].as_str().unwrap().to_owned());
        self.status().iter().filter_map(holds).collect()
    }

    /// The lab's processes that do `part` of supervising it.
    fn supervisors(&self, part: &str) -> Vec<i32> {
        let mark = format!("supervise\0{part}\0{}", self.labs.path().display());
        processes().into_iter().filter(|(_, line)| line.contains(&mark)).map(|(id, _)| id).collect()
    }

    /// Insists that nothing of the lab is on this machine any more.
    fn assert_gone(&self) {
        eventually("nothing is left of the lab", Duration::from_secs(20), || {
            let left: Vec<String> = traces(self.labs.path()).difference(&self.before).cloned().collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in NODES {
                let log = self.inside(node, &["journalctl", "--no-pager", "--lines=60", "--priority=warning"]);
                eprintln!("--- {node}\n{}", String::from_utf8_lossy(&log.stdout));
            }
        }
        let _ = self.kiln(&["down"]).output();
    }
}

/// Waits until `check` succeeds and shows its last failure if it never does.
fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> Result<(), String>) -> Duration {
    let begin = Instant::now();
    loop {
        match check() {
            Ok(()) => return begin.elapsed(),
            Err(why) => assert!(begin.elapsed() < limit, "not within {limit:?}: {what}\n{why}"),
        }
        sleep(Duration::from_millis(200));
    }
}

fn succeeded(output: &Output, expected: &str) -> Result<(), String> {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() && text.contains(expected) { Ok(()) } else { Err(format!("{}: {text}", output.status)) }
}

fn processes() -> Vec<(i32, String)> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?))).collect()
}

/// What a lab could leave on this machine: interfaces, mounts, processes, loop devices, control groups, files.
fn traces(labs: &Path) -> BTreeSet<String> {
    let place = labs.display().to_string();
    let mut traces: BTreeSet<String> = approve(Command::new("ip").args(["-brief", "link"]))
        .lines()
        .map(|line| format!("interface {}", line.split([' ', '@']).next().unwrap()))
        .collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    traces.extend(mounts.lines().map(|line| format!("mount {}", line.split(' ').nth(4).unwrap())));
    traces.extend(processes().into_iter().filter(|(_, line)| line.contains(&place)).map(|(id, line)| format!("process {id} {line:?}")));
    let find = Command::new("find").args(["/sys/fs/cgroup", "-name", "kiln-lab-*"]).output().unwrap();
    traces.extend(String::from_utf8(find.stdout).unwrap().lines().map(|line| format!("control group {line}")));
    for device in fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path()) {
        let backing = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        traces.extend((!backing.is_empty()).then(|| format!("loop device of {backing}")));
    }
    traces.extend(fs::read_dir(labs).unwrap().map(|entry| format!("file {}", entry.unwrap().path().display())));
    traces
}

/// The artifacts of the shared site, and what a user of the cluster has: the admin kubeconfig, the cluster's CA, kubectl.
struct Client {
    artifacts: PathBuf,
    kubeconfig: PathBuf,
    ca: PathBuf,
    kubectl: PathBuf,
}

impl Client {
    fn new(site: &Site, scratch: &Path) -> Option<Self> {
        let artifacts = site.out();
        let kubeconfig = artifacts.join("admin.kubeconfig");
        let text = fs::read_to_string(&kubeconfig).unwrap();
        let data = text.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data:")).unwrap();
        let ca = scratch.join("ca.crt");
        let pem = base64::engine::general_purpose::STANDARD.decode(data.trim().trim_matches('"')).unwrap();
        fs::write(&ca, pem).unwrap();
        Some(Self { artifacts, kubeconfig, ca, kubectl: kubernetes()?.join("kubectl") })
    }

    fn kubectl(&self, lab: &Lab, arguments: &[&str]) -> Output {
        let mut program: Vec<&OsStr> = vec![self.kubectl.as_os_str(), OsStr::new("--request-timeout=10s"), OsStr::new("--kubeconfig")];
        program.push(self.kubeconfig.as_os_str());
        program.extend(arguments.iter().map(OsStr::new));
        lab.run(&program)
    }

    /// The VIP answers with a certificate of the cluster's CA.
    fn ready(&self, lab: &Lab) -> Result<(), String> {
        let url = format!("https://{VIP}/readyz");
        let ca = self.ca.to_str().unwrap();
        succeeded(&lab.run(&["curl", "--silent", "--show-error", "--fail", "--max-time", "2", "--cacert", ca, &url]), "ok")
    }
}

/// Every member answers over TLS with a client certificate, and they are one cluster of three.
fn etcd_is_healthy(lab: &Lab, node: &str) -> Result<(), String> {
    let pki = "/etc/kubernetes/pki";
    let [ca, certificate, key] =
        ["etcd/ca.crt", "etcd/healthcheck-client.crt", "etcd/healthcheck-client.key"].map(|file| format!("{pki}/{file}"));
    let etcdctl = |words: &[&str]| {
        let tls = ["etcdctl", "--cacert", &ca, "--cert", &certificate, "--key", &key, "--endpoints"];
        let endpoints = ["https://10.0.0.11:2379,https://10.0.0.12:2379,https://10.0.0.13:2379"];
        lab.inside(node, &[&["env", "ETCDCTL_API=3"], &tls[..], &endpoints[..], words].concat())
    };
    let health = etcdctl(&["endpoint", "health"]);
    succeeded(&health, "")?;
    let members = etcdctl(&["member", "list"]);
    let count = String::from_utf8_lossy(&members.stdout).lines().filter(|line| line.contains(", started, ")).count();
    if count == NODES.len() { Ok(()) } else { Err(format!("{count} members have started")) }
}

#[test]
fn three_nodes_become_a_cluster_that_survives_the_loss_of_the_address_holder_and_of_a_disk() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some(client) = Client::new(site, scratch.path()) else { return };

    // All at once, in no order, nobody logged in.
    lab.up(&client.artifacts);
    let etcd = eventually("etcd has three healthy members", PATIENCE, || etcd_is_healthy(&lab, "m1"));
    let ready = eventually("the VIP answers", PATIENCE, || client.ready(&lab));
    let create = ["create", "configmap", "probe", "--from-literal=written=before"];
    eventually("an object is created through the VIP", PATIENCE, || succeeded(&client.kubectl(&lab, &create), "created"));
    let read = ["get", "configmap", "probe", "--output=jsonpath={.data.written}"];
    succeeded(&client.kubectl(&lab, &read), "before").unwrap();

    // The power of the one that holds the VIP is cut.
    let holders = lab.holders();
    let [lost] = &holders[..] else { panic!("{holders:?} hold the VIP") };
    approve(&mut lab.kiln(&["kill", lost]));
    let moved = eventually("the VIP answers again", FAILOVER, || client.ready(&lab));
    let holders = lab.holders();
    assert!(holders.len() == 1 && holders[0] != *lost, "{holders:?} hold the VIP; {lost} was killed");
    eventually("the object is still there", FAILOVER, || succeeded(&client.kubectl(&lab, &read), "before"));
    let patch = ["patch", "configmap", "probe", "--patch", r#"{"data":{"written":"after"}}"#];
    eventually("the object is writable", FAILOVER, || succeeded(&client.kubectl(&lab, &patch), "patched"));

    // It comes back, with what it had in /var, and catches up.
    approve(&mut lab.kiln(&["start", lost]));
    let back = eventually("etcd has three healthy members again", PATIENCE, || etcd_is_healthy(&lab, lost));
    let local = format!("https://{}:6443/readyz", address(&lab, lost));
    let ca = client.ca.to_str().unwrap();
    let curl = ["curl", "--silent", "--fail", "--max-time", "5", "--cacert", ca, &local];
    eventually("its API server is ready", PATIENCE, || succeeded(&lab.run(&curl), "ok"));
    succeeded(&client.kubectl(&lab, &read), "after").unwrap();

    // Another one loses its disk: it must join the living cluster as a new member and not found its own.
    let replaced = NODES.into_iter().find(|node| node != lost).unwrap();
    approve(&mut lab.kiln(&["kill", "--lose-disk", replaced]));
    approve(&mut lab.kiln(&["start", replaced]));
    let joined = eventually("etcd has three healthy members after one was replaced", PATIENCE, || etcd_is_healthy(&lab, replaced));
    eventually("the replaced node's object is that of the cluster", PATIENCE, || succeeded(&client.kubectl(&lab, &read), "after"));
    let says = lab.inside(replaced, &["journalctl", "--no-pager", "--unit=etcd"]);
    succeeded(&says, "whose data is lost: replacing that member").unwrap();
    eventually("every node runs without a failed unit", PATIENCE, || {
        let bad: Vec<Value> = lab.status().into_iter().filter(|node| node["system"] != "running").collect();
        if bad.is_empty() { Ok(()) } else { Err(serde_json::to_string_pretty(&bad).unwrap()) }
    });

    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
    eprintln!("etcd {etcd:.1?}, API at the VIP {ready:.1?} later, failover {moved:.1?}, rejoined in {back:.1?}, replaced in {joined:.1?}");
}

fn address(lab: &Lab, node: &str) -> String {
    let status = lab.status();
    let node = status.iter().find(|status| status["name"] == node).unwrap();
    node["address"].as_str().unwrap().to_owned()
}

#[test]
fn a_lab_leaves_nothing_behind_however_it_ends() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let kill = |signal: &str, ids: &[i32]| {
        assert!(!ids.is_empty(), "no process to send {signal} to");
        // Each of them takes the other along, so a later one may be gone already; what counts is what is left afterwards.
        let _ = Command::new("kill").arg(format!("-{signal}")).args(ids.iter().map(ToString::to_string)).output().unwrap();
    };
    let foreground = || -> Child { lab.kiln(&["up", "--foreground"]).arg(site.out()).spawn().unwrap() };
    let all_run = || {
        eventually("all nodes run", PATIENCE, || {
            let status = lab.kiln(&["status", "--json"]).output().unwrap();
            let nodes: Vec<Value> = serde_json::from_slice(&status.stdout).map_err(|err| err.to_string())?;
            if nodes.iter().filter(|node| node["running"] == true).count() == NODES.len() { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
    };

    for signal in ["INT", "KILL"] {
        let mut started = foreground();
        all_run();
        kill(signal, &[started.id().try_into().unwrap()]);
        started.wait().unwrap();
        lab.assert_gone();
    }
    for part in ["outer", "inner"] {
        lab.up(&site.out());
        kill("KILL", &lab.supervisors(part));
        lab.assert_gone();
    }
    // Nobody is left to clean up: the next command does.
    lab.up(&site.out());
    kill("KILL", &[lab.supervisors("outer"), lab.supervisors("inner")].concat());
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

#[test]
fn an_image_with_one_changed_byte_is_not_started() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&site.out(), &copy.path().join("out"));
    let manifest: Value = serde_json::from_slice(&fs::read(copy.path().join("out/manifest.json")).unwrap()).unwrap();
    let partitions = manifest["images"]["control-plane"]["partitions"].as_array().unwrap();
    let start = partitions.iter().find(|partition| partition["label"] == "kiln-root").unwrap()["start"].as_u64().unwrap();
    let disk = OpenOptions::new().read(true).write(true).open(copy.path().join("out/images/control-plane.raw")).unwrap();
    let mut byte = [0];
    disk.read_exact_at(&mut byte, start + 123_456).unwrap();
    disk.write_all_at(&[byte[0] ^ 1], start + 123_456).unwrap();
    let output = lab.kiln(&["up"]).arg(copy.path().join("out")).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("control-plane.raw`: the root partition is changed"), "{said}");
    lab.assert_gone();
}
