//! Decisions that an administrator hands over as seeds.

use std::process::Output;

use crate::common::lab::{PATIENCE, etcd_is_healthy, eventually, succeeded};
use crate::{Cluster, NODES};

#[test]
fn a_machine_that_never_came_is_left_out_by_an_order_and_joins_later() {
    let Some(cluster) = Cluster::ha() else { return };
    let lab = &cluster.lab;
    for node in NODES {
        cluster.verb(&["kill", "--lose-disk", node]);
    }

    // Two of three nodes wait and report the missing one: they cannot distinguish a first boot from a third
    // machine that has all the data.
    for node in ["m1", "m2"] {
        cluster.verb(&["start", node]);
    }
    eventually("the console reports the missing node", PATIENCE, || {
        succeeded(&lab.kiln(&["console", "m1"]).output().unwrap(), "etcd: m3 does not respond")
    });
    let status = lab.inside("m2", &["kiln", "agent", "status"]);
    succeeded(&status, "waiting: m3 does not respond").unwrap();
    assert!(etcd_is_healthy(lab, &["10.0.0.11", "10.0.0.12"], "m1").is_err());

    let order = cluster.order(&["--without", "m3"]);
    for node in ["m1", "m2"] {
        cluster.verb(&["kill", node]);
        cluster.start_with_order(node, &order);
    }
    eventually("two members form a cluster", PATIENCE, || {
        etcd_is_healthy(lab, &["10.0.0.11", "10.0.0.12"], "m1")
    });
    cluster.wait_for_vip();

    // The third node starts with its usual seed, which contains no order.
    cluster.verb(&["start", "m3"]);
    cluster.wait_for_members("m3");
    cluster.end();
}

#[test]
fn a_cluster_is_recovered_by_an_order_from_the_only_copy_that_is_left() {
    let Some(cluster) = Cluster::ha() else { return };
    cluster.wait_for_vip();
    cluster.create("probe");
    let revision = ["get", "configmap", "probe", "--output=jsonpath={.metadata.resourceVersion}"];
    let number = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).parse::<u64>().map_err(|_| format!("{output:?}"))
    };
    let before = cluster.newest_revision().unwrap();
    let of_probe = number(&cluster.kubectl(&revision)).unwrap();

    two_nodes_are_replaced_while_the_third_is_off(&cluster);
    let order = cluster.order(&["--recover-from", "m3"]);
    for node in NODES {
        cluster.verb(&["kill", node]);
        cluster.start_with_order(node, &order);
    }
    cluster.wait_for_members("m3");
    cluster.wait_for_vip();
    // The object is the same, but new revisions are ones that no client has seen: an old watch cannot
    // continue as if nothing had happened.
    assert_eq!(number(&cluster.kubectl(&revision)), Ok(of_probe));
    let after = cluster.newest_revision().unwrap();
    assert!(after > before + 900_000_000, "{before} before, {after} after");
    cluster.end();
}

/// Replaces the disks of `m1` and `m2` while `m3` is off, starts all three nodes, and checks that they wait
/// for a decision instead of bootstrapping a cluster.
fn two_nodes_are_replaced_while_the_third_is_off(cluster: &Cluster<'_>) {
    cluster.verb(&["kill", "m3"]);
    for node in ["m1", "m2"] {
        cluster.verb(&["kill", "--lose-disk", node]);
    }
    for node in NODES {
        cluster.verb(&["start", node]);
    }
    let expected = "etcd: m3 has data at revision";
    eventually("the console reports which node has the data", PATIENCE, || {
        succeeded(&cluster.lab.kiln(&["console", "m1"]).output().unwrap(), expected)
    });
}
