//! The VIP guard with real keepalived and HAProxy, on machines that are namespaces: a machine that hangs,
//! is frozen or is disconnected loses the VIP in time, and its clients' connections are reset.

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
/// The longest wait for daemons to start and for failures whose duration is not measured.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many times longer than predicted a VIP move may take beside other tests.
const SLACK: f64 = 3.0;

/// A process with the network, mount and PID namespaces of a machine, which ends with it.
struct Namespaces {
    outer: Child,
    first: u32,
}

impl Namespaces {
    fn new() -> Self {
        // The first process must reap ended processes, as systemd does; bash(1) does so too.
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

/// A program that runs on a machine.
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
        // The PID as this test sees it.
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
        eventually("the guard has written a verdict", PATIENCE, || machine.verdict().map(drop));
        machine.start_balancer();
        machine.start_keepalived();
        // Another service at the VIP.
        machine.start(&["python3", "-m", "http.server", "9000"]);
        machine
    }

    /// Copies a file of the node with its paths adapted to the rendered files, and returns the copy's path.
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

    /// PIDs of the machine's processes with this name, as this test sees them, in ascending order.
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

    /// The guard's verdict, which keepalived tracks: 0 if the machine may hold the VIP.
    fn verdict(&self) -> Result<String, String> {
        let shown = self.namespaces.command(&["cat", "/run/kiln-guard/verdict"]).output().unwrap();
        if shown.status.success() {
            Ok(String::from_utf8(shown.stdout).unwrap().trim().to_owned())
        } else {
            Err(format!("{shown:?}"))
        }
    }

    /// Waits for a verdict.
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

/// A segment with two machines of the `ha` profile. No API server runs, so a missing API server is no reason
/// to move the VIP.
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
        // The third machine, which refuses all connections.
        for address in ["10.0.0.250/24", "10.0.0.13/24"] {
            switch.run(&format!("ip address add {address} dev br0"));
        }
        // This test sends its traffic from the switch's network namespace.
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

    /// Waits until the other machine holds the VIP, alone or not, and returns it. `limit` is in seconds.
    fn moves(&self, what: &str, from: usize, limit: f64) -> usize {
        let begin = Instant::now();
        let to = 1 - from;
        while !self.machines[to].holds_vip() {
            assert!(begin.elapsed() < PATIENCE, "{what}: the VIP does not move");
        }
        let took = begin.elapsed().as_secs_f64();
        eprintln!("{what}: the other machine holds the VIP after {took:.2} s; predicted: {limit} s");
        assert!(took <= SLACK * limit, "{what}: {took:.2} s");
        to
    }

    /// An open connection to the VIP.
    fn session(&self) -> TcpStream {
        let mut session = None;
        eventually("the VIP accepts connections", PATIENCE, || {
            let address = format!("{VIP}:9000").parse().unwrap();
            session = Some(
                TcpStream::connect_timeout(&address, Duration::from_secs(1))
                    .map_err(|err| err.to_string())?,
            );
            Ok(())
        });
        session.unwrap()
    }

    /// The machine to which this test's traffic to the VIP goes, from the ARP table.
    fn neighbour(&self) -> Option<usize> {
        let after =
            |text: String, word: &str| Some(text.split_once(word)?.1.split_whitespace().next()?.to_owned());
        let known = after(self.switch.run(&format!("ip neighbour show {VIP} dev br0")), "lladdr")?;
        let is_known = |machine: &Machine| {
            after(machine.namespaces.run("ip link show dev lan0"), "link/ether").as_ref() == Some(&known)
        };
        self.machines.iter().position(is_known)
    }

    /// Waits until only `holder` has the VIP, and checks that this remains so for three seconds.
    fn settles(&self, what: &str, holder: usize) {
        eventually(&format!("{what}: one machine holds the VIP"), PATIENCE, || match self.one_holder()? {
            now if now == holder => Ok(()),
            now => Err(format!("machine {now} holds the VIP")),
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            assert_eq!((self.holders(), self.neighbour()), (vec![holder], Some(holder)), "{what}");
        }
    }
}

/// Checks that the other side resets a connection instead of leaving it silent.
fn is_reset(mut session: TcpStream) {
    session.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = session.read(&mut [0; 16]).unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "{end}");
}

#[test]
fn what_hangs_stands_still_or_is_cut_off_loses_the_vip_and_its_clients_know() {
    let Some(mut world) = World::new() else { return };
    let holder = world.one_holder().unwrap();
    let holder = a_hung_balancer_loses_the_vip(&world, holder);
    let holder = a_killed_balancer_loses_the_vip(&mut world, holder);
    let holder = a_hung_keepalived_loses_the_vip(&mut world, holder);
    let holder = a_frozen_machine_loses_the_vip(&world, holder);
    a_disconnected_machine_loses_the_vip(&world, holder);
}

fn a_hung_balancer_loses_the_vip(world: &World, holder: usize) -> usize {
    let session = world.session();
    world.machines[holder].signal("haproxy", Signal::STOP);
    let now = world.moves("HAProxy hangs", holder, 1.3);
    is_reset(session);
    world.machines[holder].comes_to("1");
    world.machines[holder].signal("haproxy", Signal::CONT);
    world.machines[holder].comes_to("0");
    world.settles("HAProxy continues", now);
    now
}

fn a_killed_balancer_loses_the_vip(world: &mut World, holder: usize) -> usize {
    let session = world.session();
    world.machines[holder].signal("haproxy", Signal::KILL);
    let now = world.moves("HAProxy is killed", holder, 0.6);
    is_reset(session);
    world.machines[holder].start_balancer();
    world.machines[holder].comes_to("0");
    world.settles("HAProxy runs again", now);
    now
}

/// Stops the keepalived process that sends VRRP: its parent would replace a killed one.
fn a_hung_keepalived_loses_the_vip(world: &mut World, holder: usize) -> usize {
    let session = world.session();
    let hung = *world.machines[holder].processes("keepalived").last().unwrap();
    kill_process(hung, Signal::STOP).unwrap();
    let now = world.moves("keepalived hangs", holder, 1.2);
    is_reset(session);
    world.settles("keepalived was ended", now);
    world.machines[holder].start_keepalived();
    world.settles("keepalived runs again", now);
    now
}

/// Stops all programs, as a freezer does, while the kernel continues. The machine later resets a client whose
/// link-layer address it no longer knows.
fn a_frozen_machine_loses_the_vip(world: &World, holder: usize) -> usize {
    let session = world.session();
    let programs = ["kiln", "haproxy", "keepalived", "python3"];
    programs.iter().for_each(|program| world.machines[holder].signal(program, Signal::STOP));
    let now = world.moves("the machine is frozen", holder, 1.2);
    std::thread::sleep(Duration::from_secs(6));
    world.machines[holder].namespaces.run("ip neighbour flush dev lan0");
    programs.iter().for_each(|program| world.machines[holder].signal(program, Signal::CONT));
    is_reset(session);
    world.settles("the machine continues", now);
    world.machines[holder].comes_to("0");
    now
}

fn a_disconnected_machine_loses_the_vip(world: &World, holder: usize) {
    let port = world.machines[holder].port;
    world.switch.run(&format!("ip link set {port} down"));
    let now = world.moves("the machine is disconnected", holder, 1.2);
    world.machines[holder].comes_to("1");
    eventually("the disconnected machine releases the VIP", PATIENCE, || {
        if world.machines[holder].holds_vip() { Err("it still holds the VIP".into()) } else { Ok(()) }
    });
    world.switch.run(&format!("ip link set {port} up"));
    world.machines[holder].comes_to("0");
    world.settles("the machine is connected", now);
}
