//! Injected faults. Other machines see a frozen node or a broken network; a node's own programs see a
//! broken disk.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::judge;
use crate::common::lab::{PATIENCE, eventually, succeeded};
use crate::{Cluster, NODES};

/// Injects each fault into `node`, checks its effect and undoes it.
pub(crate) fn take_effect_and_are_undone(cluster: &Cluster<'_>, node: &str) {
    let victim = Victim { cluster, name: node, address: cluster.lab.address(node) };
    victim.freezes_and_thaws();
    victim.loses_and_regains_a_port();
    victim.is_cut_off_from_one_node();
    victim.has_a_slow_network();
    victim.is_unplugged_and_plugged();
    nodes_have_separate_disks(cluster);
    victim.has_a_slow_and_full_disk();
    victim.keeps_only_disk_faults_after_a_power_cut();
}

/// A node into which faults are injected.
struct Victim<'a> {
    cluster: &'a Cluster<'a>,
    name: &'a str,
    address: String,
}

impl Victim<'_> {
    fn verb(&self, words: &[&str]) {
        self.cluster.verb(words);
    }

    /// The node's entry in `kiln lab status`.
    fn state(&self) -> Value {
        self.cluster.lab.status().into_iter().find(|state| state["name"] == self.name).unwrap()
    }

    /// Checks that the node's API server is ready.
    fn ready(&self) -> Result<(), String> {
        self.cluster.client.ready(&self.cluster.lab, &format!("{}:6443", self.address))
    }

    fn becomes_ready(&self, after: &str) {
        eventually(&format!("the API server is ready after {after}"), PATIENCE, || self.ready());
    }

    fn freezes_and_thaws(&self) {
        self.verb(&["freeze", self.name]);
        assert_eq!(self.state()["frozen"], true);
        self.ready().unwrap_err();
        self.verb(&["thaw", self.name]);
        self.becomes_ready("the thaw");
    }

    fn loses_and_regains_a_port(&self) {
        let reaches = |port| self.cluster.lab.reaches(None, &self.address, port);
        self.verb(&["cut", self.name, "--protocol", "tcp", "--port", "6443"]);
        assert!(!reaches(6443) && reaches(8443), "only port 6443 is cut");
        assert_eq!(self.state()["cuts"], serde_json::json!(["tcp/6443"]));
        self.verb(&["mend", self.name]);
        self.becomes_ready("port 6443 is open again");
    }

    fn is_cut_off_from_one_node(&self) {
        let other = NODES.into_iter().find(|name| *name != self.name).unwrap();
        let reaches = |from| self.cluster.lab.reaches(from, &self.address, 6443);
        self.verb(&["cut", self.name, "--from", other]);
        assert!(!reaches(Some(other)) && reaches(None), "only traffic from {other} is cut");
        self.verb(&["mend", self.name]);
    }

    /// Checks that a delay lengthens round trips by little more than itself with every neighbour, and that
    /// only the requested share of packets is lost.
    fn has_a_slow_network(&self) {
        if judge("ping").is_none() {
            return;
        }
        let node = self.name;
        let (fast, lost) = self.ping();
        assert!(fast < 15.0 && lost == 0, "before: {fast} ms, {lost} lost");
        self.verb(&["cut", node, "--delay", "50ms"]);
        assert_eq!(self.state()["delay"], "50 ms");
        // With and without entries in the node's neighbour table.
        for round in ["known", "unknown"] {
            let (slow, lost) = self.ping();
            assert!((50.0..65.0).contains(&slow) && lost == 0, "{round}: {slow} ms, {lost} lost");
            self.verb(&["unplug", node]);
            self.verb(&["plug", node]);
            self.verb(&["exec", node, "--", "ip", "neighbour", "flush", "all"]);
        }

        self.verb(&["cut", node, "--delay", "20ms", "--direction", "out", "--loss", "20"]);
        assert_eq!(
            (&self.state()["delay"], &self.state()["cuts"]),
            (&"20 ms out".into(), &serde_json::json!(["everything out 20 %"]))
        );
        let (slow, lost) = self.ping();
        // 20 of 100 packets are lost on average; fewer than 3 or more than 50 in one of a million runs.
        assert!((20.0..35.0).contains(&slow) && (3..=50).contains(&lost), "{slow} ms, {lost} lost");

        self.verb(&["mend", node]);
        let (fast, lost) = self.ping();
        assert!(fast < 15.0 && lost == 0 && self.state()["delay"].is_null(), "after: {fast} ms, {lost} lost");
    }

    /// The shortest of a hundred round trips in milliseconds and the number of lost packets, from ping(8).
    fn ping(&self) -> (f64, u32) {
        let output =
            self.cluster.lab.run(&["ping", "-q", "-n", "-i", "0.02", "-c", "100", self.address.as_str()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let shortest = said
            .split("min/avg/max/mdev = ")
            .nth(1)
            .and_then(|times| times.split('/').next())
            .and_then(|time| time.parse().ok());
        let number =
            |word: &str| -> Option<u32> { said.split(word).next()?.split_whitespace().last()?.parse().ok() };
        let (sent, received) = (number(" packets transmitted"), number(" received"));
        let lost = sent.zip(received).map(|(sent, received)| sent - received);
        shortest.zip(lost).unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn is_unplugged_and_plugged(&self) {
        self.verb(&["unplug", self.name]);
        assert_eq!(self.state()["unplugged"], true);
        self.ready().unwrap_err();
        self.verb(&["plug", self.name]);
        self.becomes_ready("the cable is plugged in again");
    }

    fn has_a_slow_and_full_disk(&self) {
        let node = self.name;
        let probe = |script: &str| {
            let program = ["systemd-run", "--quiet", "--wait", "--pipe", "sh", "-c", script];
            self.cluster.lab.inside(node, &program)
        };
        self.verb(&["slow", node, "--sync", "500"]);
        let begin = Instant::now();
        succeeded(&probe("dd if=/dev/zero of=/var/tmp/probe bs=4k count=2 oflag=dsync"), "").unwrap();
        assert!(begin.elapsed() > Duration::from_millis(700), "two syncs took {:?}", begin.elapsed());
        self.verb(&["fill", node]);
        assert_eq!(self.state()["disk"], serde_json::json!(["a sync takes 500 ms", "full"]));
        let write = "head -c 1000000 /dev/zero >/var/tmp/probe && sync /var/tmp/probe";
        let refused = probe(write);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("No space left on device"), "{refused:?}");
        self.verb(&["mend", node]);
        succeeded(&probe(write), "").unwrap();
        assert_eq!(self.state()["disk"], serde_json::json!([]));
    }

    /// Checks that a power cut also ends a frozen node, that a started node has an intact network, and that
    /// the disk remains as it was.
    fn keeps_only_disk_faults_after_a_power_cut(&self) {
        let node = self.name;
        self.verb(&["slow", node]);
        self.verb(&["cut", node]);
        self.verb(&["cut", node, "--delay", "50ms"]);
        self.verb(&["freeze", node]);
        self.verb(&["kill", node]);
        self.verb(&["start", node]);
        let state = self.state();
        assert_eq!(
            [&state["frozen"], &state["unplugged"], &state["cuts"]],
            [&Value::from(false), &Value::from(false), &serde_json::json!([])]
        );
        assert!(state["delay"].is_null(), "{state:#}");
        assert_eq!(state["disk"], serde_json::json!(["a sync takes 200 ms"]));
        self.verb(&["mend", node]);
        self.becomes_ready("the power cut");
    }
}

fn nodes_have_separate_disks(cluster: &Cluster<'_>) {
    let devices = NODES.map(|name| cluster.lab.inside(name, &["stat", "--format=%d", "/var"]).stdout);
    assert!(
        devices[0] != devices[1] && devices[1] != devices[2] && devices[0] != devices[2],
        "nodes share a disk: {devices:?}"
    );
}
