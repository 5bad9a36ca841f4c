//! A cluster of containers in which one node restarts as a virtual machine with a wrong clock.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::lab::{Client, Lab, etcd_is_healthy, etcdctl, eventually, succeeded};
use crate::common::watch::Watch;
use crate::common::{approve, ha, judge};
use crate::{PATIENCE, console, scratch, turn};

const MEMBERS: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
const VIP: &str = "10.0.0.10:8443";
/// The node with the wrong clock. chrony on the machine with the lowest address follows no other machine
/// (orphan mode), so only kiln corrects this clock.
const STRAY: &str = "m1";
const OTHER: &str = "m2";
/// The longest permitted time without an answer or a write at the VIP while a machine rejoins: the duration
/// of a leader election on a busy machine.
const LOSS: Duration = Duration::from_secs(10);

#[test]
#[ignore = "only by `ci/test all`: an emulated machine takes minutes"]
fn a_machine_whose_clock_is_two_years_ahead_is_reported_and_the_cluster_keeps_working() {
    let Some(trial) = Strayed::new() else { return };
    trial.joins(
        "2 years",
        &["this machine's clock is 73", " d ahead of a majority of the members, whose clocks agree"],
    );
    trial.end();
}

#[test]
#[ignore = "only by `ci/test all`: an emulated machine takes minutes"]
fn machines_whose_clocks_are_a_day_off_or_at_the_epoch_are_reported_and_the_cluster_keeps_working() {
    let Some(trial) = Strayed::new() else { return };
    let table = [
        ("1 day", ["this machine's clock is 2", " h ahead of a majority of the members, whose clocks agree"]),
        (
            "1 day ago",
            ["this machine's clock is 2", " h behind a majority of the members, whose clocks agree"],
        ),
        (
            "1970-01-01",
            [
                "the time at which the seed's certificates become valid",
                "behind a majority of the members, whose clocks agree",
            ],
        ),
    ];
    for (clock, report) in table {
        trial.joins(clock, &report);
    }
    trial.end();
}

/// Longer than the permitted clock error of 10 minutes. A pause of 20 minutes would test nothing more.
const PAUSE: Duration = Duration::from_secs(11 * 60);

#[test]
#[ignore = "only by `ci/test all`: an emulated machine takes minutes"]
fn a_machine_that_was_paused_for_minutes_has_its_clock_set_and_the_cluster_keeps_working() {
    let Some(trial) = Strayed::new() else { return };
    trial.joins_with(&[], "now", &[]);
    trial.is_paused();
    trial.end();
}

/// A cluster of containers in which one node is powered off and restarted as a virtual machine, because only
/// a virtual machine has a separate clock.
struct Strayed {
    lab: Lab,
    client: Client,
    scratch: tempfile::TempDir,
    _turn: File,
}

impl Strayed {
    fn new() -> Option<Self> {
        judge("qemu-system-x86_64")?;
        let (lab, site, scratch) = (Lab::new()?, ha()?, scratch());
        let client = Client::new(site, scratch.path())?;
        let turn = turn();
        lab.up(&client.artifacts);
        eventually("etcd has three healthy members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, OTHER));
        // chrony does not run in a container, which may not set the clock. Here it only serves the time of
        // this machine.
        let chronyd = ["chronyd", "-d", "-x", "local stratum 10", "allow 10.0.0.0/24", "cmdport 0"];
        let service = ["systemd-run", "--unit=time", "--property=RuntimeDirectory=chrony"];
        for node in [OTHER, "m3"] {
            succeeded(&lab.inside(node, &[&service[..], &chronyd].concat()), "").unwrap();
        }
        Some(Self { lab, client, scratch, _turn: turn })
    }

    /// Starts the machine with a clock that date(1) calls `clock`, and checks that its console reports
    /// `said`, that its clock is corrected and that it becomes a member.
    fn joins(&self, clock: &str, said: &[&str]) {
        let time = approve(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%S", "--date", clock]));
        let said = [said, &["this machine's clock agrees with a majority of the members again"]].concat();
        self.joins_with(&["--clock", time.trim()], clock, &said);
    }

    /// Like [`Self::joins`], with options of `kiln lab start`.
    fn joins_with(&self, options: &[&str], clock: &str, said: &[&str]) {
        let Self { lab, client, scratch, .. } = self;
        approve(&mut lab.kiln(&["kill", STRAY]));
        let is_writable = || {
            succeeded(
                &client.kubectl(lab, &["annotate", "namespace", "default", "--overwrite", "stray=off"]),
                "annotated",
            )
        };
        eventually("the VIP answers without the machine", PATIENCE, || {
            client.ready(lab, VIP).and_then(|()| is_writable())
        });
        let before = console(lab, STRAY).len();
        approve(&mut lab.kiln(&[&["start", STRAY, "--backend", "qemu"], options].concat()));
        let watch = Watch::begin(lab, client, VIP, scratch.path());
        let joined = eventually("the machine is a healthy member", PATIENCE, || {
            let loss = watch.gaps();
            assert!(
                loss.iter().all(|gap| *gap < LOSS),
                "no answer, no write for {loss:?}: {}",
                watch.errors()
            );
            etcd_is_healthy(lab, &MEMBERS, OTHER)
                .map_err(|why| format!("{why}\n{}", &console(lab, STRAY)[before..]))
        });
        assert_eq!(self.clusters(), 1, "the members belong to different clusters");
        self.says(said, before);
        eprintln!(
            "{clock}: a member after {joined:.0?}; the longest times without an answer and a write: {:.1?}",
            watch.gaps()
        );
    }

    /// Waits until the console, after its first `before` bytes, contains all of `said`.
    fn says(&self, said: &[&str], before: usize) {
        for part in said {
            eventually(part, PATIENCE, || {
                let console = &console(&self.lab, STRAY)[before..];
                if console.contains(part) { Ok(()) } else { Err(format!("{part:?} is not in\n{console}")) }
            });
        }
    }

    /// Pauses the running machine and resumes it. Checks that its console reports how far its clock is
    /// behind, that the clock is corrected, and that the cluster serves reads and writes throughout.
    fn is_paused(&self) {
        let Self { lab, client, scratch, .. } = self;
        let behind = || console(lab, STRAY).matches("behind a majority").count();
        assert_eq!(behind(), 0, "the clock was already wrong: {}", console(lab, STRAY));
        let (before, watch) = (console(lab, STRAY).len(), Watch::begin(lab, client, VIP, scratch.path()));
        approve(&mut lab.kiln(&["freeze", STRAY]));
        assert_eq!(lab.status()[0]["frozen"], true);
        sleep(PAUSE);
        assert_eq!(console(lab, STRAY).len(), before, "a paused machine writes to its console");
        approve(&mut lab.kiln(&["thaw", STRAY]));
        let thawed = Instant::now();
        self.says(
            &["this machine's clock is 11 min behind a majority of the members, whose clocks agree"],
            before,
        );
        let reported = thawed.elapsed();
        assert!(reported < Duration::from_secs(60), "reported only after {reported:.0?}");
        self.says(
            &[
                "whose clocks agree: set to",
                "this machine's clock agrees with a majority of the members again",
            ],
            before,
        );
        let set = thawed.elapsed();
        let back =
            eventually("the machine is a healthy member", PATIENCE, || etcd_is_healthy(lab, &MEMBERS, OTHER));
        let loss = watch.gaps();
        assert!(loss.iter().all(|gap| *gap < LOSS), "no answer, no write for {loss:?}: {}", watch.errors());
        assert_eq!(self.clusters(), 1, "the members belong to different clusters");
        eprintln!(
            "paused: reported after {reported:.0?}, corrected after {set:.0?}, a member {back:.0?} later; \
            the longest gaps: {loss:.1?}"
        );
    }

    /// The number of clusters to which the members belong.
    fn clusters(&self) -> usize {
        let output = etcdctl(&self.lab, &MEMBERS, OTHER, &["endpoint", "status", "--write-out=json"]);
        let members: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(members.len(), MEMBERS.len(), "{output:?}");
        let clusters: BTreeSet<u64> =
            members.iter().map(|member| member["Status"]["header"]["cluster_id"].as_u64().unwrap()).collect();
        clusters.len()
    }

    fn end(self) {
        approve(&mut self.lab.kiln(&["down"]));
        self.lab.assert_gone();
    }
}
