//! A lab of built artifacts, and a client of the cluster in it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Site, approve, judge, kubernetes, root};

/// Three control planes on two busy processors are slow; what hangs must still end.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// What every client of the cluster may take for granted once a machine is lost.
pub const FAILOVER: Duration = Duration::from_secs(60);

/// Where other tests mount meanwhile: systems that mmdebstrap makes, namespaces of members of etcd, their
/// small disks.
const OTHERS: [&str; 3] = ["/tmp/mmdebstrap.", "/run/netns/kiln-", "/tmp/.tmp"];

/// A lab in a directory and a network of its own that ends with the test. Several run side by side.
pub struct Lab {
    labs: tempfile::TempDir,
    before: BTreeSet<String>,
    /// What it was started from, each locked: other labs have loop devices too, of other artifacts.
    artifacts: RefCell<Vec<(PathBuf, File)>>,
}

impl Lab {
    pub fn new() -> Option<Self> {
        root()?;
        for program in ["systemd-nspawn", "ip", "curl"] {
            judge(program)?;
        }
        let labs = tempfile::Builder::new().prefix("kiln-lab").tempdir().unwrap();
        let before = traces(labs.path());
        Some(Self { labs, before, artifacts: RefCell::default() })
    }

    pub fn kiln(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.env("KILN_LAB", self.labs.path().join("labs")).arg("lab").args(arguments);
        command
    }

    pub fn up(&self, artifacts: &Path) {
        self.up_with(&[], artifacts);
    }

    pub fn up_with(&self, options: &[&str], artifacts: &Path) {
        approve(&mut self.starting(&[&["up"], options].concat(), artifacts));
    }

    /// A command that starts the lab, once no other test has one of the same artifacts.
    pub fn starting(&self, arguments: &[&str], artifacts: &Path) -> Command {
        if self.artifacts.borrow().iter().all(|(known, _)| known != artifacts) {
            let directory = File::open(artifacts).unwrap();
            directory.lock().unwrap();
            self.artifacts.borrow_mut().push((artifacts.to_owned(), directory));
        }
        let mut command = self.kiln(arguments);
        command.arg(artifacts);
        command
    }

    /// Runs a program on this machine, in the lab's network.
    pub fn run<S: AsRef<OsStr>>(&self, program: &[S]) -> Output {
        self.kiln(&["exec", "--"]).args(program).output().unwrap()
    }

    /// Runs a program inside a node.
    pub fn inside(&self, node: &str, program: &[&str]) -> Output {
        self.kiln(&["exec", node, "--"]).args(program).output().unwrap()
    }

    /// Whether a packet to `port` of `address` arrives, sent by a node or by the machine that the lab runs
    /// on: something answers, or the machine says that nobody listens. A firewall says nothing.
    pub fn reaches(&self, from: Option<&str>, address: &str, port: u16) -> bool {
        let script = format!(": </dev/tcp/{address}/{port}");
        let program = ["timeout", "3", "bash", "-c", &script];
        let output = from.map_or_else(|| self.run(&program), |node| self.inside(node, &program));
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => true,
            Some(124) => false,
            _ if said.contains("Connection refused") => true,
            _ => panic!("{from:?} to {address}:{port}: {output:?}"),
        }
    }

    pub fn status(&self) -> Vec<Value> {
        serde_json::from_str(&approve(self.kiln(&["status"]).arg("--json"))).unwrap()
    }

    /// Names of the nodes; none where no lab is up, since a test that fails asks too.
    pub fn names(&self) -> Vec<String> {
        let output = self.kiln(&["status", "--json"]).output().unwrap();
        let nodes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn address(&self, name: &str) -> String {
        let status = self.status();
        let node = status.iter().find(|node| node["name"] == name).unwrap();
        node["address"].as_str().unwrap().to_owned()
    }

    /// The machine that alone holds the VIP now.
    pub fn holder(&self) -> Result<String, String> {
        let holds =
            |node: &Value| (node["holds-vip"] == true).then(|| node["name"].as_str().unwrap().to_owned());
        match &self.status().iter().filter_map(holds).collect::<Vec<_>>()[..] {
            [holder] => Ok(holder.clone()),
            holders => Err(format!("{holders:?} hold the VIP")),
        }
    }

    /// The machine that holds the VIP, once it is one: backups of nearly the same priority both take it from
    /// a master that is gone, until one has heard the other.
    pub fn one_holder(&self) -> String {
        let mut found = String::new();
        eventually("one machine holds the VIP", FAILOVER, || self.holder().map(|holder| found = holder));
        found
    }

    /// The lab's processes that do `part` of supervising it.
    pub fn supervisors(&self, part: &str) -> Vec<i32> {
        let mark = format!("supervise\0{part}\0{}", self.labs.path().display());
        processes().into_iter().filter(|(_, line)| line.contains(&mark)).map(|(id, _)| id).collect()
    }

    /// Insists that nothing of the lab is on this machine any more.
    pub fn assert_gone(&self) {
        eventually("nothing is left of the lab", Duration::from_secs(20), || {
            let mut left = traces(self.labs.path());
            left.extend(self.artifacts.borrow().iter().flat_map(|(artifacts, _)| loop_devices(artifacts)));
            let left: Vec<String> = left.difference(&self.before).cloned().collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self.names() {
                let log =
                    self.inside(&node, &["journalctl", "--no-pager", "--lines=60", "--priority=warning"]);
                eprintln!("--- {node}\n{}", String::from_utf8_lossy(&log.stdout));
            }
        }
        let _ = self.kiln(&["down"]).output();
    }
}

/// Waits until `check` succeeds and shows its last failure if it never does.
pub fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> Result<(), String>) -> Duration {
    let begin = Instant::now();
    loop {
        match check() {
            Ok(()) => return begin.elapsed(),
            Err(why) => assert!(begin.elapsed() < limit, "not within {limit:?}: {what}\n{why}"),
        }
        sleep(Duration::from_millis(200));
    }
}

pub fn succeeded(output: &Output, expected: &str) -> Result<(), String> {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() && text.contains(expected) {
        Ok(())
    } else {
        Err(format!("{}: {text}", output.status))
    }
}

fn processes() -> Vec<(i32, String)> {
    let ids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?))).collect()
}

/// What a lab could leave on this machine: interfaces, mounts, processes, loop devices, control groups,
/// files.
fn traces(labs: &Path) -> BTreeSet<String> {
    let place = labs.display().to_string();
    let mut traces: BTreeSet<String> = approve(Command::new("ip").args(["-brief", "link"]))
        .lines()
        .map(|line| format!("interface {}", line.split([' ', '@']).next().unwrap()))
        .collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let targets = mounts.lines().map(|line| line.split(' ').nth(4).unwrap());
    let targets = targets.filter(|target| !OTHERS.iter().any(|others| target.starts_with(others)));
    traces.extend(targets.map(|target| format!("mount {target}")));
    traces.extend(
        processes()
            .into_iter()
            .filter(|(_, line)| line.contains(&place))
            .map(|(id, line)| format!("process {id} {line:?}")),
    );
    let find = Command::new("find")
        .args(["/sys/fs/cgroup", "-name", "kiln-lab-*", "-printf", "%f\\n"])
        .output()
        .unwrap();
    let groups = String::from_utf8(find.stdout).unwrap();
    traces.extend(
        groups.lines().filter(|group| is_of(labs, group)).map(|group| format!("control group {group}")),
    );
    traces.extend(loop_devices(labs));
    traces
        .extend(fs::read_dir(labs).unwrap().map(|entry| format!("file {}", entry.unwrap().path().display())));
    traces
}

/// Loop devices of files below `place`.
fn loop_devices(place: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
    let backing = devices.filter_map(|device| fs::read_to_string(device.join("loop/backing_file")).ok());
    backing
        .filter(|file| Path::new(file).starts_with(place))
        .map(|file| format!("loop device of {file}"))
        .collect()
}

/// Whether a control group, named `kiln-lab-CLUSTER-PLACE`, is of a lab in `labs`: other people have labs of
/// their own.
fn is_of(labs: &Path, group: &str) -> bool {
    let name = group.strip_prefix("kiln-lab-").and_then(|name| name.rsplit_once('-'));
    name.is_some_and(|(cluster, place)| {
        let state = labs.join("labs").join(cluster);
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().starts_with(place)
    })
}

/// The artifacts of the shared site, and what a user of the cluster has: the admin kubeconfig, the cluster's
/// CA, kubectl.
pub struct Client {
    pub artifacts: PathBuf,
    kubeconfig: PathBuf,
    pub ca: PathBuf,
    kubectl: PathBuf,
}

impl Client {
    pub fn new(site: &Site, scratch: &Path) -> Option<Self> {
        let artifacts = site.out();
        let kubeconfig = artifacts.join("admin.kubeconfig");
        let text = fs::read_to_string(&kubeconfig).unwrap();
        let data =
            text.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data:")).unwrap();
        let ca = scratch.join("ca.crt");
        let pem = base64::engine::general_purpose::STANDARD.decode(data.trim().trim_matches('"')).unwrap();
        fs::write(&ca, pem).unwrap();
        Some(Self { artifacts, kubeconfig, ca, kubectl: kubernetes()?.join("kubectl") })
    }

    pub fn kubectl(&self, lab: &Lab, arguments: &[&str]) -> Output {
        lab.run(&self.kubectl_command(arguments))
    }

    pub fn kubectl_command<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a OsStr> {
        let mut program: Vec<&OsStr> =
            vec![self.kubectl.as_os_str(), OsStr::new("--request-timeout=10s"), OsStr::new("--kubeconfig")];
        program.push(self.kubeconfig.as_os_str());
        program.extend(arguments.iter().map(|word| OsStr::new(*word)));
        program
    }

    /// What listens at `authority` answers with a certificate of the cluster's CA and is ready.
    pub fn ready(&self, lab: &Lab, authority: &str) -> Result<(), String> {
        let url = format!("https://{authority}/readyz");
        let ca = self.ca.to_str().unwrap();
        succeeded(
            &lab.run(&[
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "2",
                "--cacert",
                ca,
                &url,
            ]),
            "ok",
        )
    }
}

/// etcdctl on `node`, with a client certificate, asking `members`.
pub fn etcdctl(lab: &Lab, members: &[&str], node: &str, words: &[&str]) -> Output {
    let pki = "/etc/kubernetes/pki";
    let [ca, certificate, key] =
        ["etcd/ca.crt", "etcd/healthcheck-client.crt", "etcd/healthcheck-client.key"]
            .map(|file| format!("{pki}/{file}"));
    let url = |address: &&str| format!("https://{}", SocketAddr::new(address.parse().unwrap(), 2379));
    let endpoints = members.iter().map(url).collect::<Vec<_>>().join(",");
    let tls = ["etcdctl", "--cacert", &ca, "--cert", &certificate, "--key", &key, "--endpoints"];
    lab.inside(node, &[&["env", "ETCDCTL_API=3"], &tls[..], &[&endpoints], words].concat())
}

/// Every member answers over TLS, as `node` sees it, and they are one cluster.
pub fn etcd_is_healthy(lab: &Lab, members: &[&str], node: &str) -> Result<(), String> {
    let health = etcdctl(lab, members, node, &["endpoint", "health"]);
    succeeded(&health, "")?;
    let list = etcdctl(lab, members, node, &["member", "list"]);
    let count =
        String::from_utf8_lossy(&list.stdout).lines().filter(|line| line.contains(", started, ")).count();
    if count == members.len() { Ok(()) } else { Err(format!("{count} members have started")) }
}
