//! A lab that runs built artifacts, and a client of its cluster.

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

/// Three control planes on two busy processors are slow, but a test that hangs must still end.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The longest acceptable interruption for a client after the loss of a machine.
pub const FAILOVER: Duration = Duration::from_secs(60);

/// Prefixes of mount points that other tests use at the same time: mmdebstrap trees, etcd member namespaces
/// and their small disks.
const OTHERS: [&str; 3] = ["/tmp/mmdebstrap.", "/run/netns/kiln-", "/tmp/.tmp"];

/// A lab with a separate directory and network that ends with the test. Several labs can run side by side.
pub struct Lab {
    labs: tempfile::TempDir,
    before: BTreeSet<String>,
    /// Directories of artifacts from which the lab was started, each locked: loop devices of other artifacts
    /// belong to other labs.
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

    /// Returns a command that starts the lab, after waiting until no other test's lab uses the same
    /// artifacts.
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

    /// Checks whether a packet from a node, or from the lab's host, reaches `port` of `address`: a
    /// connection is accepted or refused. A firewall drops the packet silently.
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

    /// Names of the nodes. Empty if no lab is running, because failing tests ask for the names too.
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

    /// The only machine that holds the VIP now.
    pub fn holder(&self) -> Result<String, String> {
        let holds =
            |node: &Value| (node["holds-vip"] == true).then(|| node["name"].as_str().unwrap().to_owned());
        match &self.status().iter().filter_map(holds).collect::<Vec<_>>()[..] {
            [holder] => Ok(holder.clone()),
            holders => Err(format!("{holders:?} hold the VIP")),
        }
    }

    /// Waits until exactly one machine holds the VIP and returns it: backups with nearly equal priorities may
    /// both take over from a lost master until they receive each other's advertisements.
    pub fn one_holder(&self) -> String {
        let mut found = String::new();
        eventually("one machine holds the VIP", FAILOVER, || self.holder().map(|holder| found = holder));
        found
    }

    /// PIDs of the lab's supervisors of the kind `part`.
    pub fn supervisors(&self, part: &str) -> Vec<i32> {
        let mark = format!("supervise\0{part}\0{}", self.labs.path().display());
        processes().into_iter().filter(|(_, line)| line.contains(&mark)).map(|(id, _)| id).collect()
    }

    /// Checks that the lab has left nothing on this machine.
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

/// Waits until `check` succeeds, and panics with its last failure after `limit`.
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

/// Checks that a program succeeded and that its output contains `expected`.
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

/// Everything that a lab could leave on this machine: interfaces, mounts, processes, loop devices, cgroups
/// and files.
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

/// Checks whether a cgroup, named `kiln-lab-CLUSTER-PLACE`, belongs to a lab in `labs`: this machine may run
/// unrelated labs.
fn is_of(labs: &Path, group: &str) -> bool {
    let name = group.strip_prefix("kiln-lab-").and_then(|name| name.rsplit_once('-'));
    name.is_some_and(|(cluster, place)| {
        let state = labs.join("labs").join(cluster);
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().starts_with(place)
    })
}

/// The artifacts of a site and a cluster user's tools: the admin kubeconfig, the cluster's CA and kubectl.
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

    /// Checks that the API server at `authority` has a certificate from the cluster's CA and is ready.
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

/// Runs etcdctl on `node` with a client certificate and the endpoints of `members`.
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

/// Checks from `node` that every member is healthy over TLS and has started as part of one cluster.
pub fn etcd_is_healthy(lab: &Lab, members: &[&str], node: &str) -> Result<(), String> {
    let health = etcdctl(lab, members, node, &["endpoint", "health"]);
    succeeded(&health, "")?;
    let list = etcdctl(lab, members, node, &["member", "list"]);
    let count =
        String::from_utf8_lossy(&list.stdout).lines().filter(|line| line.contains(", started, ")).count();
    if count == members.len() { Ok(()) } else { Err(format!("{count} members have started")) }
}
