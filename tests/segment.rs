//! The segment check with real neighbours: machines that are network namespaces, some with keepalived.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{approve, judge, root};
use serde_json::Value;

/// A process with the network namespace of a machine, which ends with it.
struct Machine(Child);

impl Machine {
    fn new() -> Self {
        let machine =
            Self(Command::new("unshare").args(["--net", "--mount", "sleep", "600"]).spawn().unwrap());
        // unshare(1) becomes sleep once the namespaces exist.
        common::lab::eventually("a machine starts", Duration::from_secs(5), || {
            let name = fs::read_to_string(format!("/proc/{}/comm", machine.0.id())).unwrap();
            if name.trim() == "sleep" { Ok(()) } else { Err(name) }
        });
        machine
    }

    /// Prepares a program inside the machine.
    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.0.id().to_string(), "--"]).args(program);
        command
    }

    fn ip(&self, words: &str) {
        approve(self.command(&["ip"]).args(words.split(' ')));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// keepalived on a machine.
struct Keepalived {
    process: Child,
    _directory: tempfile::TempDir,
}

impl Keepalived {
    fn new(machine: &Machine, instance: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        fs::write(
            at("keepalived.conf"),
            format!(
                "vrrp_instance test {{\n  state BACKUP\n  interface eth0\n  advert_int 1\n{instance}\n}}\n"
            ),
        )
        .unwrap();
        let files = [
            format!("--use-file={}", at("keepalived.conf")),
            format!("--pid={}", at("pid")),
            format!("--vrrp_pid={}", at("vrrp")),
        ];
        let mut command = machine.command(&["keepalived", "--dont-fork", "--vrrp", "--log-console"]);
        let process = command.args(files).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { process, _directory: directory }
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// A switch and a machine that is not a node and checks the segment.
struct Segment {
    switch: Machine,
    notebook: Machine,
    directory: tempfile::TempDir,
}

impl Segment {
    fn new(prefix: &str) -> Option<Self> {
        root()?;
        for program in ["unshare", "nsenter", "ip", "keepalived"] {
            judge(program)?;
        }
        let switch = Machine::new();
        switch.ip("link add br0 up type bridge forward_delay 0 mcast_snooping 0");
        let directory = tempfile::tempdir().unwrap();
        let segment = Self { notebook: connected(&switch, 1, &[]), switch, directory };
        approve(
            Command::new(env!("CARGO_BIN_EXE_kiln"))
                .args(["init", "--profile", "ha"])
                .current_dir(segment.directory.path()),
        );
        let file = segment.directory.path().join("cluster.toml");
        let text = fs::read_to_string(&file).unwrap().replace("10.0.0.", prefix);
        let sixth =
            "[network]\npods = \"fd00:2::/48\"\npods-per-node-prefix = 64\nservices = \"fd00:3::/112\"";
        let text = if prefix.contains(':') {
            text.replace("::0/24", "::/64").replacen("[network]", sixth, 1)
        } else {
            text
        };
        fs::write(file, text).unwrap();
        Some(segment)
    }

    /// A machine with addresses, and a MAC address that ends in `number`.
    fn machine(&self, number: u8, addresses: &[&str]) -> Machine {
        connected(&self.switch, number, addresses)
    }

    /// Runs the segment check on `machine`. Returns the exit code and the findings' identifiers and messages.
    fn look(&self, machine: &Machine) -> (i32, Vec<String>) {
        let file = self.directory.path().join("cluster.toml");
        let mut command = machine.command(&[
            env!("CARGO_BIN_EXE_kiln"),
            "check",
            "--segment",
            "eth0",
            "--seconds",
            "3",
            "--json",
            "--file",
        ]);
        let output = command.arg(file).output().unwrap();
        let printed =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let json: Value = serde_json::from_str(&printed[0]).unwrap_or_else(|_| panic!("{printed:?}"));
        let words = |problem: &Value| {
            Some(format!("{}: {}", problem["code"].as_str()?, problem["message"].as_str()?))
        };
        let all =
            json["problems"].as_array().unwrap_or_else(|| panic!("{printed:?}")).iter().filter_map(words);
        (
            output.status.code().unwrap(),
            all.filter(|words| words.starts_with("HA344") || words.starts_with("HA345")).collect(),
        )
    }

    /// Waits until the check on the notebook returns `expected`, because daemons need time to start.
    fn becomes(&self, expected: (i32, &[&str])) {
        common::lab::eventually(&format!("{expected:?}"), Duration::from_secs(30), || {
            let seen = self.look(&self.notebook);
            if (seen.0, &seen.1[..])
                == (expected.0, &expected.1.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            {
                return Ok(());
            }
            Err(format!("{seen:?}"))
        });
    }
}

fn connected(switch: &Machine, number: u8, addresses: &[&str]) -> Machine {
    let machine = Machine::new();
    let id = machine.0.id();
    switch.ip(&format!(
        "link add port{number} type veth peer name eth0 address 52:54:00:00:00:{number:02} netns {id}"
    ));
    switch.ip(&format!("link set port{number} master br0 up"));
    machine.ip("link set lo up");
    for address in addresses {
        let rest = if address.contains(':') { " nodad" } else { "" };
        machine.ip(&format!("address add {address} dev eth0{rest}"));
    }
    machine.ip("link set eth0 up");
    machine
}

/// The keepalived configuration of a node, as the overlay writes it.
fn of_a_node(own: u8, peer: u8) -> String {
    format!(
        "  nopreempt\n  virtual_router_id 10\n  priority 100\n  unicast_src_ip 10.0.0.{own}\n  unicast_peer \
        {{\n    10.0.0.{peer}\n  }}\n  virtual_ipaddress {{\n    10.0.0.10/32 dev eth0\n  }}"
    )
}

fn has_address(machine: &Machine, address: &str) {
    common::lab::eventually(address, Duration::from_secs(20), || {
        let shown = approve(&mut machine.command(&["ip", "-brief", "address", "show", "to", address]));
        if shown.contains(address) { Ok(()) } else { Err("the address is missing".into()) }
    });
}

#[test]
fn a_node_that_holds_the_vip_is_no_stranger() {
    let Some(segment) = Segment::new("10.0.0.") else { return };
    assert_eq!(segment.look(&segment.notebook), (0, vec![]), "an empty segment");
    let [m1, m2] = [11, 12].map(|last| segment.machine(last, &[&format!("10.0.0.{last}/24")]));
    assert_eq!(segment.look(&m2), (0, vec![]), "no machine has the VIP");
    for manner in ["", "\n  use_vmac", "\n  use_vmac\n  vmac_xmit_base"] {
        let _holder = Keepalived::new(&m1, &(of_a_node(11, 12) + manner));
        has_address(&m1, "10.0.0.10");
        for (who, machine) in
            [("another node", &m2), ("the holder itself", &m1), ("a notebook", &segment.notebook)]
        {
            assert_eq!(segment.look(machine), (0, vec![]), "{who} {manner}");
        }
    }
}

#[test]
fn strangers_with_the_router_identifier_or_the_vip_are_found() {
    let Some(segment) = Segment::new("10.0.0.") else { return };
    let m1 = segment.machine(11, &["10.0.0.11/24"]);
    let _holder = Keepalived::new(&m1, &of_a_node(11, 12));
    has_address(&m1, "10.0.0.10");
    let theirs = segment.machine(77, &["10.0.0.77/24"]);
    let instance = "  virtual_router_id 10\n  priority 150\n  virtual_ipaddress {\n    10.0.0.70\n  }";
    let router = "HA345: the virtual router identifier 10 is already in use: 10.0.0.77 advertises it with \
        priority 150";
    let neighbour = Keepalived::new(&theirs, instance);
    segment.becomes((0, &[router]));
    let printer = segment.machine(99, &["10.0.0.10/24"]);
    let vip = "HA344: the VIP `10.0.0.10` is already in use: 52:54:00:00:00:99 answers for it";
    segment.becomes((2, &[vip, router]));
    drop(neighbour);
    segment.becomes((2, &[vip]));
    drop(printer);
    segment.becomes((0, &[]));
}

#[test]
fn strangers_are_found_by_ipv6_too() {
    let Some(segment) = Segment::new("fd00:1::") else { return };
    let m1 = segment.machine(11, &["fd00:1::11/64"]);
    assert_eq!(segment.look(&m1), (0, vec![]));
    let theirs = segment.machine(77, &["fd00:1::77/64"]);
    let instance = "  version 3\n  virtual_router_id 16\n  priority 150\n  virtual_ipaddress {\n    \
        fe80::70\n    fd00:1::70\n  }";
    let _neighbour = Keepalived::new(&theirs, instance);
    segment.becomes((
        0,
        &["HA345: the virtual router identifier 16 is already in use: fe80::5054:ff:fe00:77 advertises it \
            with priority 150"],
    ));
    m1.ip("address add fd00:1::10/128 dev eth0 nodad");
    assert_eq!(segment.look(&segment.notebook).0, 0, "a node has the VIP");
    let _printer = segment.machine(99, &["fd00:1::10/64"]);
    let (code, found) = segment.look(&segment.notebook);
    assert_eq!(
        (code, found[0].as_str()),
        (2, "HA344: the VIP `fd00:1::10` is already in use: 52:54:00:00:00:99 answers for it")
    );
}

/// Nodes that boot at the same time check the segment during each other's duplicate address detection.
#[test]
fn a_look_takes_no_address_from_a_machine_that_is_about_to_have_it() {
    let Some(segment) = Segment::new("fd00:1::") else { return };
    let m1 = segment.machine(11, &[]);
    let sysctl = "echo 6 >/proc/sys/net/ipv6/conf/eth0/dad_transmits";
    approve(&mut m1.command(&["sh", "-c", sysctl]));
    m1.ip("address add fd00:1::11/64 dev eth0");
    let shown = |machine: &Machine| {
        approve(&mut machine.command(&["ip", "-6", "address", "show", "to", "fd00:1::11"]))
    };
    assert!(shown(&m1).contains("tentative"), "{}", shown(&m1));
    assert_eq!(segment.look(&segment.notebook), (0, vec![]));
    common::lab::eventually("m1 has its address", Duration::from_secs(20), || match shown(&m1) {
        text if !text.contains("tentative") => Ok(()),
        text => Err(text),
    });
}

#[test]
fn a_node_tells_what_it_finds_and_what_to_change() {
    let Some(segment) = Segment::new("10.0.0.") else { return };
    let m1 = segment.machine(11, &["10.0.0.11/24"]);
    let question = "interface = \"eth0\"\nvip = \"10.0.0.10\"\nvirtual-router-id = 10\nnodes = \
        [\"10.0.0.11\", \"10.0.0.12\"]\n";
    let made = segment.directory.path().join("segment.toml");
    fs::write(&made, question).unwrap();
    give(&m1, &made);
    let look = |machine: &Machine| {
        machine.command(&[env!("CARGO_BIN_EXE_kiln"), "agent", "segment"]).output().unwrap()
    };
    let output = look(&m1);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    m1.ip("link set eth0 down");
    let output = look(&m1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("could not check the segment: the interface `eth0` is down"),
        "{said}"
    );
    m1.ip("link set eth0 up");
    let _printer = segment.machine(99, &["10.0.0.10/24"]);
    let output = look(&m1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the VIP `10.0.0.10` is already in use: 52:54:00:00:00:99 answers for it"),
        "{said}"
    );
    assert!(said.contains("hint: free the address, or choose another one"), "{said}");
    let kept: Value =
        serde_json::from_str(&approve(&mut m1.command(&["cat", "/run/kiln/segment.json"]))).unwrap();
    assert_eq!(kept[0]["about"], "vip");
}

/// Mounts a separate `/etc` and `/run` for a machine and adds its segment settings.
fn give(machine: &Machine, question: &Path) {
    // The test needs no other file in `/etc`.
    let script = "mount -t tmpfs none /run && mount -t tmpfs none /etc && mkdir /etc/kiln /run/kiln && cp \
        \"$0\" /etc/kiln/segment.toml";
    approve(machine.command(&["sh", "-c", script]).arg(question));
}
