//! The machine of one etcd member: its network namespace, the files that kiln renders for it, and the
//! programs that run there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::common::approve;
use crate::common::lab::eventually;
use crate::namespace::Namespace;
use crate::power::{Power, Programs};
use crate::world::KILN;

/// The machine of one member.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: String,
    namespace: Arc<Namespace>,
    /// Directory with the node's files, whose paths are rewritten to point into it.
    root: PathBuf,
    flags: Vec<String>,
    power: Option<Power>,
    cut: bool,
}

impl Member {
    pub(crate) fn new(directory: &Path, hub: &Namespace, number: usize) -> Self {
        let (name, address) = (format!("m{number}"), format!("10.0.0.1{number}"));
        let namespace = Namespace::new(&name);
        hub.ip(&format!("link add v{number} type veth peer name eth0 netns {}", namespace.name()));
        hub.ip(&format!("link set v{number} master br0 up"));
        namespace.ip(&format!("address add {address}/24 dev eth0"));
        namespace.ip("link set lo up");
        namespace.ip("link set eth0 up");
        let root = directory.join(&name);
        let here = |text: &str| here(&root, text);
        let settings = root.join("etc/kiln/etcd.toml");
        fs::write(&settings, here(&fs::read_to_string(&settings).unwrap())).unwrap();
        let unit = here(&fs::read_to_string(root.join("etc/systemd/system/etcd.service")).unwrap());
        let flags = words(
            unit.split_once("ExecStart=/usr/bin/etcd").unwrap().1.split_once("$KILN_ETCD_FLAGS").unwrap().0,
        );
        Self { name, address, namespace: Arc::new(namespace), root, flags, power: None, cut: false }
    }

    pub(crate) fn client_url(&self) -> String {
        format!("https://{}:2379", self.address)
    }

    /// Returns the path of one of the machine's files.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// Returns a command that runs in the machine's network namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.namespace.command(program)
    }

    /// Returns the directory with the machine's files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory with the snapshots.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("var/lib/etcd-snapshots")
    }

    /// Adds an etcd flag, which applies from the next start.
    pub(crate) fn flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// Returns the problems that the agent reports.
    pub(crate) fn problems(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("run/kiln-etcd/problems.json")).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let problems = value["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("var/lib/etcd")
    }

    /// Returns the token of the cluster that the data belongs to, as recorded by the agent.
    pub(crate) fn token(&self) -> String {
        let text = fs::read_to_string(self.data().join("member/kiln.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        record["token"].as_str().unwrap().to_owned()
    }

    /// Writes an order to the machine, as a seed does.
    pub(crate) fn order(&self, text: &str) {
        fs::write(self.settings().with_file_name("etcd-order.toml"), text).unwrap();
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.root.join("etc/kiln/etcd.toml")
    }

    /// Returns a command that runs an agent action on the machine, whether or not etcd is running.
    pub(crate) fn agent(&self, action: &str) -> Command {
        let mut command = self.namespace.command(KILN);
        command.args(["agent", "etcd", action, "--settings"]).arg(self.settings());
        command
    }

    /// Returns a command that starts etcd as the only member of a cluster.
    pub(crate) fn etcd_alone(&self) -> Command {
        let mut command = self.namespace.command("etcd");
        command
            .args(&self.flags)
            .arg(format!("--initial-cluster={}=https://{}:2380", self.name, self.address));
        command
    }

    /// Runs etcdctl against etcd on this machine.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        etcdctl(self.namespace.command("etcdctl"), &self.root, "https://127.0.0.1:2379", arguments)
    }

    /// Returns the contents of a file with its paths rewritten to point into the machine's directory.
    pub(crate) fn text(&self, file: &str) -> String {
        here(&self.root, &fs::read_to_string(self.root.join(file)).unwrap())
    }

    /// Returns a command that starts the API server with the flags from its unit.
    pub(crate) fn api_server(&self, program: &Path) -> Command {
        let unit = self.text("etc/systemd/system/kube-apiserver.service");
        let flags =
            unit.split_once("ExecStart=/usr/bin/kube-apiserver").unwrap().1.split_once("\n#").unwrap().0;
        fs::create_dir_all(self.root.join("var/log/kubernetes")).unwrap();
        let mut command = self.namespace.command(program);
        let log = fs::File::create(self.root.join("api-server.log")).unwrap();
        command.args(words(flags)).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Sends a signal to etcd.
    pub(crate) fn signal_etcd(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.power.as_ref().unwrap().process("etcd"), signal).unwrap();
    }

    /// Delays each disk sync of etcd by a number of milliseconds until the returned value is dropped.
    pub(crate) fn slow_disk(&self, milliseconds: u32) -> Traced {
        let mut command = self.namespace.command("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"]);
        command.arg(format!("inject=fsync,fdatasync:delay_enter={milliseconds}000"));
        command
            .args(["-p", &self.power.as_ref().unwrap().process("etcd").as_raw_nonzero().to_string()])
            .stderr(Stdio::null());
        Traced(command.spawn().unwrap())
    }

    /// Checks with ss(8) that a process listens on a TCP port of the machine.
    pub(crate) fn listens(&self, port: u16) -> Result<(), String> {
        let output =
            self.namespace.command("ss").args(["-Hltn"]).arg(format!("sport = :{port}")).output().unwrap();
        if output.stdout.is_empty() {
            Err(format!("no process listens on port {port} of {}", self.name))
        } else {
            Ok(())
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.power.is_some()
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn on(&mut self) {
        let start = self.agent("start");
        self.on_after(start);
    }

    /// Like [`Member::on`], but runs another program before the first start of etcd.
    pub(crate) fn on_after(&mut self, first: Command) {
        assert!(self.power.is_none(), "{} is on", self.name);
        let mut etcd = self.namespace.command("etcd");
        etcd.args(&self.flags);
        let programs = Programs { serve: self.agent("serve"), first, start: self.agent("start"), etcd };
        let log = fs::File::options().create(true).append(true).open(self.root.join("log")).unwrap();
        self.power = Some(Power::on(programs, self.root.join("run/etcd/flags"), log));
    }

    /// Cuts the power: kills every process at once, without notice.
    pub(crate) fn off(&mut self) {
        let Some(power) = self.power.take() else { return };
        power.off();
        let _ = fs::remove_dir_all(self.root.join("run"));
    }

    /// Replaces the disk with an empty one.
    pub(crate) fn lose_disk(&mut self) {
        assert!(self.power.is_none(), "{} is on", self.name);
        let _ = fs::remove_dir_all(self.data());
    }

    /// Drops all packets to and from the machine silently, or stops doing so.
    pub(crate) fn cut(&mut self, cut: bool) {
        self.cut = cut;
        let chain = |name: &str, way: &str| {
            format!("chain {name} {{\ntype filter hook {name} priority 0\n{way} lo accept\ndrop\n}}\n")
        };
        let rules = format!("table inet cut {{\n{}{}}}\n", chain("input", "iif"), chain("output", "oif"));
        let script = if cut { rules } else { "delete table inet cut\n".to_owned() };
        let file = self.root.join("cut.nft");
        fs::write(&file, script).unwrap();
        approve(self.namespace.command("nft").arg("-f").arg(&file));
    }

    /// Starts chrony with a clock that is ahead by the given offset.
    pub(crate) fn clock(&self, ahead: &str) -> Clock {
        let directory = self.root.join("chrony");
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
        let here = |name: &str| directory.join(name).display().to_string();
        let text = format!(
            "local stratum 10 orphan\nallow all\ncmdport 0\nbindcmdaddress {}\npidfile {}\ndriftfile {}\n",
            here("socket"),
            here("pid"),
            here("drift")
        );
        fs::write(directory.join("conf"), text).unwrap();
        let mut command = self.namespace.command("chronyd");
        command.args(["-x", "-d", "-u", "root", "-f"]).arg(directory.join("conf"));
        // The library is preloaded because killing faketime(1) would leave chrony running. ld.so(8) expands
        // `$LIB` to the system's library directory.
        command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1").env("FAKETIME", ahead);
        let clock = Clock(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        eventually("chrony listens", Duration::from_secs(10), || {
            let output = self.namespace.command("ss").args(["-Hlun", "sport = :123"]).output().unwrap();
            if output.stdout.is_empty() { Err("no process listens on UDP port 123".into()) } else { Ok(()) }
        });
        clock
    }

    /// Returns the reasons that the member gives for waiting.
    pub(crate) fn waits_for(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("run/etcd/waiting.json")).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        value["reasons"]
            .as_array()
            .map(|reasons| reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect())
            .unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.off();
    }
}

/// An strace(1) process attached to etcd.
pub(crate) struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        // strace(1) must detach from the traced process, so it is terminated, not killed.
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        self.0.wait().unwrap();
    }
}

/// The chrony process of a machine.
pub(crate) struct Clock(Child);

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Rewrites the paths in a node's file to point below `root`.
fn here(root: &Path, text: &str) -> String {
    let paths = [
        "/var/lib/etcd",
        "/run/etcd",
        "/run/kiln-etcd",
        "/etc/kubernetes",
        "/var/log/kubernetes",
        "/run/haproxy",
    ];
    paths
        .iter()
        .fold(text.to_owned(), |text, path| text.replace(path, root.join(&path[1..]).to_str().unwrap()))
}

/// Splits the arguments of a unit's command, which can continue over several lines.
fn words(command: &str) -> Vec<String> {
    command.replace('\\', " ").split_whitespace().map(|flag| flag.trim_matches('"').to_owned()).collect()
}

/// Runs etcdctl with the client certificate below `root`, and returns its output or its error.
pub(crate) fn etcdctl(
    mut command: Command,
    root: &Path,
    endpoints: &str,
    arguments: &[&str],
) -> Result<String, String> {
    let pki = root.join("etc/kubernetes/pki/etcd");
    command
        .env("ETCDCTL_API", "3")
        .args(["--command-timeout=1s", "--dial-timeout=1s"])
        .arg(format!("--endpoints={endpoints}"));
    for (flag, file) in [("--cacert", "ca.crt"), ("--cert", "peer.crt"), ("--key", "peer.key")] {
        command.arg(flag).arg(pki.join(file));
    }
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
