//! The built cluster on this machine: it starts without help, survives the loss of a machine and leaves
//! nothing behind.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

#[path = "../common/mod.rs"]
mod common;
mod election;
mod endings;
mod faults;
mod orders;
mod restore;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use common::lab::{Client, FAILOVER, Lab, PATIENCE, etcd_is_healthy, eventually, succeeded};
use common::{Site, approve, ha};
use serde_json::Value;

const NODES: [&str; 3] = ["m1", "m2", "m3"];
const MEMBERS: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
const VIP: &str = "10.0.0.10:8443";
/// kubectl arguments that read the object created by `Cluster::create("probe")`.
const READ: [&str; 4] = ["get", "configmap", "probe", "--output=jsonpath={.data.written}"];

/// A cluster in a lab, and a client of the cluster.
struct Cluster<'a> {
    lab: Lab,
    client: Client,
    site: &'a Site,
    scratch: tempfile::TempDir,
}

impl Cluster<'static> {
    /// Starts all nodes of the shared `ha` site.
    fn ha() -> Option<Self> {
        let (lab, site) = (Lab::new(), ha());
        Self::start(lab?, site?)
    }
}

impl<'a> Cluster<'a> {
    /// Starts all nodes of `site` at once, without anyone logging in.
    fn start(lab: Lab, site: &'a Site) -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let client = Client::new(site, scratch.path())?;
        lab.up(&client.artifacts);
        Some(Self { lab, client, site, scratch })
    }

    /// Runs a `kiln lab` command.
    fn verb(&self, words: &[&str]) {
        approve(&mut self.lab.kiln(words));
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        self.client.kubectl(&self.lab, arguments)
    }

    /// Creates a config map through the VIP.
    fn create(&self, name: &str) {
        let create = ["create", "configmap", name, "--from-literal=written=before"];
        eventually("an object is created through the VIP", PATIENCE, || {
            succeeded(&self.kubectl(&create), "created")
        });
    }

    /// The resource version of the newest write.
    fn newest_revision(&self) -> Result<u64, String> {
        let output = self.kubectl(&["get", "--raw", "/api/v1/namespaces/default/configmaps"]);
        let list: Value = serde_json::from_slice(&output.stdout).map_err(|_| format!("{output:?}"))?;
        list["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse().map_err(|_| list.to_string())
    }

    fn wait_for_vip(&self) -> Duration {
        eventually("the VIP answers", PATIENCE, || self.client.ready(&self.lab, VIP))
    }

    /// Waits until `node` sees three healthy etcd members.
    fn wait_for_members(&self, node: &str) -> Duration {
        eventually(&format!("{node} sees three healthy etcd members"), PATIENCE, || {
            etcd_is_healthy(&self.lab, &MEMBERS, node)
        })
    }

    /// Creates an order with `kiln order` and returns the directory of its seeds.
    fn order(&self, decision: &[&str]) -> PathBuf {
        let order = self.scratch.path().join("order");
        self.site.ok(&[&["order"], decision, &["--out", order.to_str().unwrap()]].concat());
        order
    }

    /// Starts a node with its seed from an order.
    fn start_with_order(&self, node: &str, order: &Path) {
        let seed = order.join(format!("{node}.seed"));
        self.verb(&["start", node, "--seed", seed.to_str().unwrap()]);
    }

    /// Stops the lab and checks that nothing remains of it.
    fn end(self) {
        self.verb(&["down"]);
        self.lab.assert_gone();
    }
}

#[test]
fn three_nodes_become_a_cluster_that_survives_the_loss_of_the_address_holder_and_of_a_disk() {
    let Some(cluster) = Cluster::ha() else { return };
    let etcd = cluster.wait_for_members("m1");
    let ready = cluster.wait_for_vip();
    cluster.create("probe");
    succeeded(&cluster.kubectl(&READ), "before").unwrap();

    let (lost, moved) = survives_the_loss_of_the_holder(&cluster);
    let back = rejoins_with_its_data(&cluster, &lost);
    let replaced = NODES.into_iter().find(|node| *node != lost).unwrap();
    let joined = rejoins_after_losing_its_disk(&cluster, replaced);
    no_unit_has_failed(&cluster);
    faults::take_effect_and_are_undone(&cluster, replaced);

    cluster.end();
    eprintln!(
        "etcd {etcd:.1?}, API at the VIP {ready:.1?} later, failover {moved:.1?}, rejoined in {back:.1?}, \
        replaced in {joined:.1?}"
    );
}

/// Cuts the power of the VIP holder and checks that another node takes over the VIP, with reads and writes.
/// Returns the lost node and the time until the VIP answers again.
fn survives_the_loss_of_the_holder(cluster: &Cluster<'_>) -> (String, Duration) {
    let lost = cluster.lab.one_holder();
    cluster.verb(&["kill", &lost]);
    let moved = eventually("the VIP answers again", FAILOVER, || cluster.client.ready(&cluster.lab, VIP));
    assert_ne!(cluster.lab.one_holder(), lost);
    eventually("the object is still there", FAILOVER, || succeeded(&cluster.kubectl(&READ), "before"));
    let patch = ["patch", "configmap", "probe", "--patch", r#"{"data":{"written":"after"}}"#];
    eventually("the object is writable", FAILOVER, || succeeded(&cluster.kubectl(&patch), "patched"));
    (lost, moved)
}

/// Starts a node that lost power but kept `/var`, and checks that it catches up. Returns the time until
/// etcd is healthy.
fn rejoins_with_its_data(cluster: &Cluster<'_>, node: &str) -> Duration {
    cluster.verb(&["start", node]);
    let back = cluster.wait_for_members(node);
    let local = format!("https://{}:6443/readyz", cluster.lab.address(node));
    let ca = cluster.client.ca.to_str().unwrap();
    let curl = ["curl", "--silent", "--fail", "--max-time", "5", "--cacert", ca, &local];
    eventually("the restarted node's API server is ready", PATIENCE, || {
        succeeded(&cluster.lab.run(&curl), "ok")
    });
    succeeded(&cluster.kubectl(&READ), "after").unwrap();
    back
}

/// Replaces a node's disk and checks that the node joins the running cluster as a new member instead of
/// bootstrapping another cluster. Returns the time until etcd is healthy.
fn rejoins_after_losing_its_disk(cluster: &Cluster<'_>, node: &str) -> Duration {
    cluster.verb(&["kill", "--lose-disk", node]);
    cluster.verb(&["start", node]);
    let joined = cluster.wait_for_members(node);
    eventually("the cluster's object is still there", PATIENCE, || {
        succeeded(&cluster.kubectl(&READ), "after")
    });
    let journal = cluster.lab.inside(node, &["journalctl", "--no-pager", "--unit=etcd"]);
    succeeded(&journal, "live cluster under a new identifier").unwrap();
    joined
}

fn no_unit_has_failed(cluster: &Cluster<'_>) {
    eventually("every node runs without a failed unit", PATIENCE, || {
        let status = cluster.lab.status();
        let bad: Vec<Value> = status.into_iter().filter(|node| node["system"] != "running").collect();
        if bad.is_empty() { Ok(()) } else { Err(serde_json::to_string_pretty(&bad).unwrap()) }
    });
}
