//! The guard of the VIP, with real keepalived and HAProxy, on machines that are namespaces: what hangs,
//! stands still or is cut off loses the VIP in time, and its clients know.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

mod common;

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::lab::eventually;
use common::{approve, judge, root};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");
const VIP: &str = "10.0.0.10";
/// Until daemons have begun, and failures that are not timed have had their effect.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much longer than predicted a move may take beside other tests.
const SLACK: f64 = 3.0;

/// A process whose network, mounts and processes are a machine's; the machine is gone with it.
struct Namespaces {
    outer: Child,
    first: u32,
}

impl Namespaces {
    fn new() -> Self {
        // The first process must take leave of others that have ended, as systemd does: bash(1) does it, too.
        let first = ["bash", "-c", "sleep 900 & wait"];
        let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let outer = Command::new("unshare").args(namespaces).args(first).spawn().unwrap();
        let mut first = None;
        eventually("a machine starts", PATIENCE, || {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id())).unwrap();
            first = children.split_whitespace().next().map(|id| id.parse().unwrap());
            let name = first
                .and_then(|id: u32| fs::read_to_string(format!("/proc/{id}/comm")).ok())
                .unwrap_or_default();
            if name.trim() == "bash" { Ok(()) } else { Err(name) }
        });
        Self { outer, first: first.unwrap() }
    }

    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--pid", "--target", &self.first.to_string(), "--"]).args(program);
        command
    }

    fn run(&self, words: &str) -> String {
        approve(&mut self.command(&words.split(' ').collect::<Vec<_>>()))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

/// A program on a machine, known by its process there.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that may hold the VIP.
struct Machine {
    name: &'static str,
    port: &'static str,
    namespaces: Namespaces,
    files: PathBuf,
    daemons: Vec<Daemon>,
}

impl Machine {
    fn new(switch: &Namespaces, name: &'static str, port: &'static str, files: &Path) -> Self {
        let namespaces = Namespaces::new();
        // By this test's number of the other process.
        let target = switch.first.to_string();
        let cable = [
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            "lan0",
            "netns",
            &namespaces.first.to_string(),
        ];
        approve(Command::new("nsenter").args(["--net", "--target", &target, "--", "ip"]).args(cable));
        switch.run(&format!("ip link set {port} master br0 up"));
        namespaces.run("mount -t tmpfs run /run");
        namespaces.run("mkdir /run/kiln-guard /run/haproxy");
        for words in
            ["link set lo up", "link set lan0 up", &format!("address add 10.0.0.1{}/24 dev lan0", &name[1..])]
        {
            namespaces.run(&format!("ip {words}"));
        }
        let settings = fs::read_to_string(files.join("etc/sysctl.d/61-keepalived.conf")).unwrap();
        for (key, value) in settings.lines().filter_map(|line| line.split_once(" = ")) {
            approve(&mut namespaces.command(&["sysctl", "--write", &format!("{key}={value}")]));
        }
        let mut machine = Self { name, port, namespaces, files: files.to_owned(), daemons: Vec::new() };
        machine.start(&[KILN, "agent", "guard", "--settings", &machine.file("etc/kiln/guard.toml")]);
        eventually("there is a verdict", PATIENCE, || machine.verdict().map(drop));
        machine.start_balancer();
        machine.start_keepalived();
        // Any other program at the VIP.
        machine.start(&["python3", "-m", "http.server", "9000"]);
        machine
    }

    /// A file of the node, with paths that lead here.
    fn file(&self, path: &str) -> String {
        let file = self.files.join(path);
        let mut text = fs::read_to_string(&file).unwrap();
        for directory in ["/etc/kubernetes", "/etc/haproxy"] {
            text = text.replace(directory, self.files.join(&directory[1..]).to_str().unwrap());
        }
        let copy = self.files.join(file.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        copy.display().to_string()
    }

    fn start(&mut self, program: &[&str]) {
        let log = File::create(self.files.join(format!("{}.log", self.daemons.len()))).unwrap();
        let mut command = self.namespaces.command(program);
        self.daemons.push(Daemon(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()));
    }

    fn start_balancer(&mut self) {
        self.start(&["haproxy", "-db", "-f", &self.file("etc/haproxy/haproxy.cfg")]);
    }

    fn start_keepalived(&mut self) {
        self.start(&[
            "keepalived",
            "--dont-fork",
            "--vrrp",
            "--log-console",
            "--use-file",
            &self.file("etc/keepalived/keepalived.conf"),
        ]);
    }

    /// Processes of the machine with this name, as this test knows them; the last one is the youngest.
    fn processes(&self, name: &str) -> Vec<Pid> {
        let inside = fs::read_link(format!("/proc/{}/ns/pid", self.namespaces.first)).unwrap();
        let ids = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
        let is_it = |id: &i32| {
            let same = fs::read_link(format!("/proc/{id}/ns/pid")).is_ok_and(|link| link == inside);
            same && fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.starts_with(name))
        };
        let mut found: Vec<i32> = ids.filter(is_it).collect();
        found.sort_unstable();
        found.into_iter().map(|id| Pid::from_raw(id).unwrap()).collect()
    }

    fn signal(&self, name: &str, signal: Signal) {
        let found = self.processes(name);
        assert!(!found.is_empty(), "{} has no {name}", self.name);
        found.iter().for_each(|process| kill_process(*process, signal).unwrap());
    }

    fn holds_vip(&self) -> bool {
        !self.namespaces.run(&format!("ip -oneline address show dev lan0 to {VIP}")).is_empty()
    }

    /// What keepalived tracks: 0 if the machine may hold the VIP.
    fn verdict(&self) -> Result<String, String> {
        let shown = self.namespaces.command(&["cat", "/run/kiln-guard/verdict"]).output().unwrap();
        if shown.status.success() {
            Ok(String::from_utf8(shown.stdout).unwrap().trim().to_owned())
        } else {
            Err(format!("{shown:?}"))
        }
    }

    fn comes_to(&self, verdict: &str) {
        eventually(&format!("the verdict on {} is {verdict}", self.name), PATIENCE, || {
            match self.verdict() {
                Ok(now) if now == verdict => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for number in 0..self.daemons.len() {
            let log = fs::read_to_string(self.files.join(format!("{number}.log"))).unwrap_or_default();
            if std::thread::panicking() {
                eprintln!("--- {} {number}\n{log}", self.name);
            }
        }
    }
}

/// A segment with two machines of the profile `ha`, whose API servers do not run: none is ready anywhere,
/// which is no reason to move.
struct World {
    switch: Namespaces,
    machines: Vec<Machine>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        root()?;
        for program in ["unshare", "nsenter", "ip", "ss", "haproxy", "keepalived", "python3"] {
            judge(program)?;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let kiln = |arguments: &[&str]| {
            approve(Command::new(KILN).current_dir(at).args(arguments).env("KILN_STORE", at.join("store")))
        };
        kiln(&["init", "--profile", "ha"]);
        kiln(&["pki", "init"]);
        let switch = Namespaces::new();
        switch.run("ip link add br0 up type bridge forward_delay 0 mcast_snooping 0");
        // The third machine: it answers by refusals.
        for address in ["10.0.0.250/24", "10.0.0.13/24"] {
            switch.run(&format!("ip address add {address} dev br0"));
        }
        // Traffic of this test is sent from here.
        let namespace = File::open(format!("/proc/{}/ns/net", switch.first)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let machine = |(name, port)| {
            kiln(&["render", name, "--secrets", "--out", name]);
            Machine::new(&switch, name, port, &at.join(name))
        };
        let machines = [("m1", "port1"), ("m2", "port2")].map(machine).into();
        let world = Self { switch, machines, _directory: directory };
        world.machines.iter().for_each(|machine| machine.comes_to("0"));
        eventually("one machine holds the VIP", PATIENCE, || world.one_holder().map(drop));
        Some(world)
    }

    fn holders(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|place| self.machines[*place].holds_vip()).collect()
    }

    fn one_holder(&self) -> Result<usize, String> {
        match self.holders()[..] {
            [holder] => Ok(holder),
            ref other => Err(format!("holders: {other:?}")),
        }
    }

    /// Waits until the other machine holds the VIP, too or alone; returns it. `limit` is in seconds.
    fn moves(&self, what: &str, from: usize, limit: f64) -> usize {
        let begin = Instant::now();
        let to = 1 - from;
        while !self.machines[to].holds_vip() {
            assert!(begin.elapsed() < PATIENCE, "{what}: the VIP does not move");
        }
        let took = begin.elapsed().as_secs_f64();
        eprintln!("{what}: another one holds the VIP after {took:.2} s, of {limit} s");
        assert!(took <= SLACK * limit, "{what}: {took:.2} s");
        to
    }

    /// A connection to the VIP that waits for an answer.
    fn session(&self) -> TcpStream {
        let mut session = None;
        eventually("something answers at the VIP", PATIENCE, || {
            let address = format!("{VIP}:9000").parse().unwrap();
            session = Some(
                TcpStream::connect_timeout(&address, Duration::from_secs(1))
                    .map_err(|err| err.to_string())?,
            );
            Ok(())
        });
        session.unwrap()
    }

    /// Where this test's own traffic to the VIP goes, by what it learnt from others' ARP.
    fn neighbour(&self) -> Option<usize> {
        let after =
            |text: String, word: &str| Some(text.split_once(word)?.1.split_whitespace().next()?.to_owned());
        let known = after(self.switch.run(&format!("ip neighbour show {VIP} dev br0")), "lladdr")?;
        let is_known = |machine: &Machine| {
            after(machine.namespaces.run("ip link show dev lan0"), "link/ether").as_ref() == Some(&known)
        };
        self.machines.iter().position(is_known)
    }

    /// From now on only one machine has it, for seconds on end.
    fn settles(&self, what: &str, holder: usize) {
        eventually(&format!("{what}: one machine holds the VIP"), PATIENCE, || match self.one_holder()? {
            now if now == holder => Ok(()),
            now => Err(format!("{now} holds it")),
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            assert_eq!((self.holders(), self.neighbour()), (vec![holder], Some(holder)), "{what}");
        }
    }
}

/// Insists that the other side ends a connection, and does not leave it silent.
fn is_reset(mut session: TcpStream) {
    session.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = session.read(&mut [0; 16]).unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "{end}");
}

#[test]
fn what_hangs_stands_still_or_is_cut_off_loses_the_vip_and_its_clients_know() {
    let Some(mut world) = World::new() else { return };
    let holder = world.one_holder().unwrap();

    let session = world.session();
    world.machines[holder].signal("haproxy", Signal::STOP);
    let now = world.moves("HAProxy hangs", holder, 1.3);
    is_reset(session);
    world.machines[holder].comes_to("1");
    world.machines[holder].signal("haproxy", Signal::CONT);
    world.machines[holder].comes_to("0");
    world.settles("HAProxy goes on", now);

    let (holder, session) = (now, world.session());
    world.machines[holder].signal("haproxy", Signal::KILL);
    let now = world.moves("HAProxy is killed", holder, 0.6);
    is_reset(session);
    world.machines[holder].start_balancer();
    world.machines[holder].comes_to("0");
    world.settles("HAProxy is back", now);

    // The process that speaks VRRP; its parent would start another one.
    let (holder, session) = (now, world.session());
    let hung = *world.machines[holder].processes("keepalived").last().unwrap();
    kill_process(hung, Signal::STOP).unwrap();
    let now = world.moves("keepalived hangs", holder, 1.2);
    is_reset(session);
    world.settles("keepalived was ended", now);
    world.machines[holder].start_keepalived();
    world.settles("keepalived is back", now);

    // As a freezer does it: the kernel goes on. When the machine goes on it resets a client whose address on
    // the segment it has forgotten.
    let (holder, session) = (now, world.session());
    let programs = ["kiln", "haproxy", "keepalived", "python3"];
    programs.iter().for_each(|program| world.machines[holder].signal(program, Signal::STOP));
    let now = world.moves("the machine stands still", holder, 1.2);
    std::thread::sleep(Duration::from_secs(6));
    world.machines[holder].namespaces.run("ip neighbour flush dev lan0");
    programs.iter().for_each(|program| world.machines[holder].signal(program, Signal::CONT));
    is_reset(session);
    world.settles("the machine goes on", now);
    world.machines[holder].comes_to("0");

    let holder = now;
    let port = world.machines[holder].port;
    world.switch.run(&format!("ip link set {port} down"));
    let now = world.moves("the machine is cut off", holder, 1.2);
    world.machines[holder].comes_to("1");
    eventually("it gives the VIP up", PATIENCE, || {
        if world.machines[holder].holds_vip() { Err("it holds it".into()) } else { Ok(()) }
    });
    world.switch.run(&format!("ip link set {port} up"));
    world.machines[holder].comes_to("0");
    world.settles("the machine is connected", now);
}
