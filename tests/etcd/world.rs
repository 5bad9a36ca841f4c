//! Members of a real etcd, each in a network namespace of its own with the files that kiln renders for it:
//! they can be switched off, cut off and lose their disks, by themselves.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::lab::eventually;
use crate::common::{approve, judge, root};
use crate::namespace::Namespace;
use crate::power::{Power, Programs};

pub(crate) const KILN: &str = env!("CARGO_BIN_EXE_kiln");
/// A cluster's identifier, and its members' names and identifiers.
pub(crate) type Cluster = (u64, Vec<(String, u64)>);

/// A few members that hear each other, and nothing else.
pub(crate) struct World {
    // Fields are dropped in this order: machines run in the directory until they are off.
    pub(crate) members: Vec<Member>,
    pub(crate) hub: Arc<Namespace>,
    /// Kept for worlds of the same size that begin meanwhile.
    _site: Arc<Site>,
    directory: tempfile::TempDir,
}

/// One member's machine.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: String,
    namespace: Arc<Namespace>,
    /// The files of the node, with paths that lead here.
    root: PathBuf,
    flags: Vec<String>,
    power: Option<Power>,
    cut: bool,
}

impl World {
    /// Members `m1` to `mN`, all switched off and blank.
    pub(crate) fn new(count: usize) -> Option<Self> {
        root()?;
        for program in ["etcd", "etcdctl", "ip", "nft", "setpriv"] {
            judge(program)?;
        }
        let directory = tempfile::tempdir().unwrap();
        let site = Site::of(count);
        approve(
            Command::new("cp").arg("--archive").arg(site.directory.path().join(".")).arg(directory.path()),
        );
        let hub = Namespace::new("hub");
        hub.ip("link add br0 type bridge");
        hub.ip("address add 10.0.0.250/24 dev br0");
        hub.ip("link set br0 up");
        let members = (1..=count).map(|number| Member::new(directory.path(), &hub, number)).collect();
        Some(Self { directory, _site: site, hub: Arc::new(hub), members })
    }

    /// One member, whose seed leaves the others out.
    pub(crate) fn alone() -> Option<Self> {
        let world = Self::new(1)?;
        world.members[0].order("id = \"0123456789abcdef0123456789abcdef\"\nwithout = [\"m2\", \"m3\"]\n");
        Some(world)
    }

    pub(crate) fn on(&mut self, places: &[usize]) {
        places.iter().for_each(|place| self.members[*place].on());
    }

    /// As a client that knows all members does it.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        let endpoints: Vec<String> = self.members.iter().map(Member::client_url).collect();
        self.ask(&endpoints.join(","), arguments)
    }

    /// As a client of one member does it.
    pub(crate) fn etcdctl_at(&self, place: usize, arguments: &[&str]) -> Result<String, String> {
        self.ask(&self.members[place].client_url(), arguments)
    }

    /// Where the cluster file is, and the vault.
    pub(crate) fn site(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a value of so many bytes, which a command line has no room for.
    pub(crate) fn put_large(&self, key: &str, size: usize) -> Result<String, String> {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![b'x'; size], 0).unwrap();
        let mut command = self.hub.command("etcdctl");
        command.stdin(file);
        let endpoints: Vec<String> = self.members.iter().map(Member::client_url).collect();
        etcdctl(command, &self.members[0].root, &endpoints.join(","), &["--command-timeout=10s", "put", key])
    }

    pub(crate) fn ask(&self, endpoints: &str, arguments: &[&str]) -> Result<String, String> {
        etcdctl(self.hub.command("etcdctl"), &self.members[0].root, endpoints, arguments)
    }

    /// A client that knows all members, and runs beside whatever is done to them.
    pub(crate) fn client(&self) -> impl Fn(&[&str]) -> Result<String, String> + Send + use<> {
        let (hub, root) = (Arc::clone(&self.hub), self.members[0].root.clone());
        let endpoints = self.members.iter().map(Member::client_url).collect::<Vec<_>>().join(",");
        move |arguments| etcdctl(hub.command("etcdctl"), &root, &endpoints, arguments)
    }

    /// The cluster that answers at a member through a quorum, and its members' names and identifiers.
    pub(crate) fn cluster_at(&self, place: usize) -> Option<Cluster> {
        self.etcdctl_at(place, &["get", "x", "--consistency=l"]).ok()?;
        let list: Value =
            serde_json::from_str(&self.etcdctl_at(place, &["member", "list", "--write-out=json"]).ok()?)
                .ok()?;
        let member = |member: &Value| {
            Some((member["name"].as_str().unwrap_or_default().to_owned(), member["ID"].as_u64()?))
        };
        Some((
            list["header"]["cluster_id"].as_u64()?,
            list["members"].as_array()?.iter().filter_map(member).collect(),
        ))
    }

    /// As [`World::cluster_at`] of every member, all asked at once.
    pub(crate) fn clusters(&self) -> Vec<Option<Cluster>> {
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                (0..self.members.len()).map(|place| scope.spawn(move || self.cluster_at(place))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        })
    }

    /// Waits until every member answers in one cluster of all of them, and returns its identifier.
    pub(crate) fn whole(&self, patience: Duration) -> Result<u64, String> {
        let begin = Instant::now();
        loop {
            let clusters = self.clusters();
            let names =
                |members: &[(String, u64)]| members.iter().filter(|(name, _)| !name.is_empty()).count();
            let is_whole = clusters.iter().all(|cluster| {
                cluster.as_ref().is_some_and(|(id, members)| {
                    names(members) == self.members.len()
                        && members.len() == self.members.len()
                        && Some(*id) == clusters[0].as_ref().map(|(id, _)| *id)
                })
            });
            if is_whole {
                return Ok(clusters[0].as_ref().unwrap().0);
            }
            if begin.elapsed() > patience {
                let waiting: Vec<_> =
                    self.members.iter().map(|member| (&member.name, member.waits_for())).collect();
                let logs: String = self
                    .members
                    .iter()
                    .map(|member| format!("\n--- {}\n{}", member.name, member.log()))
                    .collect();
                return Err(format!("{clusters:?} {waiting:?}{logs}"));
            }
            sleep(Duration::from_millis(300));
        }
    }
}

fn etcdctl(mut command: Command, root: &Path, endpoints: &str, arguments: &[&str]) -> Result<String, String> {
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

/// The files of every member of a cluster, in `directory/NAME`.
struct Site {
    members: usize,
    directory: tempfile::TempDir,
}

impl Site {
    /// Renders them, unless a world has the same.
    fn of(members: usize) -> Arc<Self> {
        static LAST: Mutex<Weak<Site>> = Mutex::new(Weak::new());
        let mut last = LAST.lock().unwrap();
        if let Some(site) = last.upgrade().filter(|site| site.members == members) {
            return site;
        }
        let site = Arc::new(Self { members, directory: tempfile::tempdir().unwrap() });
        render(site.directory.path(), members);
        *last = Arc::downgrade(&site);
        site
    }
}

fn render(directory: &Path, count: usize) {
    let kiln = |arguments: &[&str]| {
        approve(
            Command::new(KILN)
                .current_dir(directory)
                .args(arguments)
                .env("KILN_STORE", directory.join("store")),
        )
    };
    kiln(&["init", "--profile", "ha"]);
    let path = directory.join("cluster.toml");
    let mut text = fs::read_to_string(&path).unwrap();
    for number in 4..=count {
        let _ = write!(
            text,
            "\n[[nodes]]\nname = \"m{number}\"\nroles = [\"control-plane\"]\naddress = \"10.0.0.1{number}\"\n"
        );
    }
    // The flags must be those of the etcd that runs here.
    let said = approve(Command::new("etcd").arg("--version"));
    let version = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let _ = write!(text, "\n[etcd]\nversion = \"{version}\"\n");
    fs::write(&path, text).unwrap();
    kiln(&["pki", "init"]);
    for number in 1..=count {
        let name = format!("m{number}");
        kiln(&["render", &name, "--secrets", "--out", &name]);
    }
}

impl Member {
    fn new(directory: &Path, hub: &Namespace, number: usize) -> Self {
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

    /// Where one of its files is.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// A program in this machine's network.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.namespace.command(program)
    }

    /// The machine's files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("var/lib/etcd-snapshots")
    }

    /// Another flag of etcd, from the next start on.
    pub(crate) fn flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// What its agent says is wrong.
    pub(crate) fn problems(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("run/kiln-etcd/problems.json")).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let problems = value["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("var/lib/etcd")
    }

    /// The token of the cluster that its data are of, as the agent recorded it.
    pub(crate) fn token(&self) -> String {
        let text = fs::read_to_string(self.data().join("member/kiln.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        record["token"].as_str().unwrap().to_owned()
    }

    /// Leaves an order on this machine, as its seed would.
    pub(crate) fn order(&self, text: &str) {
        fs::write(self.settings().with_file_name("etcd-order.toml"), text).unwrap();
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.root.join("etc/kiln/etcd.toml")
    }

    /// The agent in this machine, whether etcd runs or not.
    pub(crate) fn agent(&self, action: &str) -> Command {
        let mut command = self.namespace.command(KILN);
        command.args(["agent", "etcd", action, "--settings"]).arg(self.settings());
        command
    }

    /// etcd as the only member of a cluster.
    pub(crate) fn etcd_alone(&self) -> Command {
        let mut command = self.namespace.command("etcd");
        command
            .args(&self.flags)
            .arg(format!("--initial-cluster={}=https://{}:2380", self.name, self.address));
        command
    }

    /// Asks etcd on this machine for what only a quorum can answer.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        etcdctl(self.namespace.command("etcdctl"), &self.root, "https://127.0.0.1:2379", arguments)
    }

    /// The text of one of its files, with paths that lead to the others.
    pub(crate) fn text(&self, file: &str) -> String {
        here(&self.root, &fs::read_to_string(self.root.join(file)).unwrap())
    }

    /// Its API server, with the flags of its unit.
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

    /// Stops etcd where it is, or lets it go on.
    pub(crate) fn signal_etcd(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.power.as_ref().unwrap().process("etcd"), signal).unwrap();
    }

    /// A disk on which each sync of etcd takes so many milliseconds longer, for as long as the value lives.
    pub(crate) fn slow_disk(&self, milliseconds: u32) -> Traced {
        let mut command = self.namespace.command("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"]);
        command.arg(format!("inject=fsync,fdatasync:delay_enter={milliseconds}000"));
        command
            .args(["-p", &self.power.as_ref().unwrap().process("etcd").as_raw_nonzero().to_string()])
            .stderr(Stdio::null());
        Traced(command.spawn().unwrap())
    }

    /// Whether something listens on a port of this machine, by ss(8).
    pub(crate) fn listens(&self, port: u16) -> Result<(), String> {
        let output =
            self.namespace.command("ss").args(["-Hltn"]).arg(format!("sport = :{port}")).output().unwrap();
        if output.stdout.is_empty() {
            Err(format!("nothing listens on {port} of {}", self.name))
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

    /// As [`Member::on`], with another program at the first start.
    pub(crate) fn on_after(&mut self, first: Command) {
        assert!(self.power.is_none(), "{} is on", self.name);
        let mut etcd = self.namespace.command("etcd");
        etcd.args(&self.flags);
        let programs = Programs { serve: self.agent("serve"), first, start: self.agent("start"), etcd };
        let log = fs::File::options().create(true).append(true).open(self.root.join("log")).unwrap();
        self.power = Some(Power::on(programs, self.root.join("run/etcd/flags"), log));
    }

    /// Cuts the power: nothing that runs there gets another instruction.
    pub(crate) fn off(&mut self) {
        let Some(power) = self.power.take() else { return };
        power.off();
        let _ = fs::remove_dir_all(self.root.join("run"));
    }

    /// What a new disk has.
    pub(crate) fn lose_disk(&mut self) {
        assert!(self.power.is_none(), "{} is on", self.name);
        let _ = fs::remove_dir_all(self.data());
    }

    /// Nothing reaches the machine or leaves it, and no sender learns why.
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

    /// chrony on this machine, by a clock that is so much ahead.
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
        // faketime(1) itself would leave chrony behind when it is killed; ld.so(8) puts the system's
        // directory for `$LIB`.
        command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1").env("FAKETIME", ahead);
        let clock = Clock(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        eventually("chrony listens", Duration::from_secs(10), || {
            let output = self.namespace.command("ss").args(["-Hlun", "sport = :123"]).output().unwrap();
            if output.stdout.is_empty() { Err("nothing listens on 123".into()) } else { Ok(()) }
        });
        clock
    }

    /// What the member says that it waits for.
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

/// strace(1), attached to an etcd.
pub(crate) struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        // What it traces must be let go.
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        self.0.wait().unwrap();
    }
}

/// A machine's chrony.
pub(crate) struct Clock(Child);

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A file of a node with paths that lead to where the node's files are.
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

/// The arguments of a command that goes on over several lines of a unit.
fn words(command: &str) -> Vec<String> {
    command.replace('\\', " ").split_whitespace().map(|flag| flag.trim_matches('"').to_owned()).collect()
}
