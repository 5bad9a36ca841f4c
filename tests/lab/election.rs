//! An election in which a member that was disconnected must vote.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::common::lab::{Lab, eventually};
use crate::{Cluster, NODES};

/// Since etcd 3.5, a member that was disconnected for a minute receives nothing from other members until
/// their kernels retransmit, up to two minutes later, and an election that needs its vote fails until then.
#[test]
fn a_member_that_was_cut_off_takes_part_in_the_next_election() {
    let Some(cluster) = Cluster::ha() else { return };
    cluster.wait_for_members("m1");
    cluster.wait_for_vip();
    let leader = leader(&cluster.lab, &NODES).unwrap();
    let [away, other] = NODES.into_iter().filter(|node| *node != leader).collect::<Vec<_>>()[..] else {
        panic!("{leader}")
    };
    cluster.verb(&["unplug", away]);
    cluster.verb(&["freeze", away]);
    sleep(Duration::from_secs(60));
    cluster.verb(&["thaw", away]);
    cluster.verb(&["plug", away]);
    // Health checks of the reconnected member succeed, but no quorum has depended on it yet.
    cluster.wait_for_members(other);
    sleep(Duration::from_secs(15));
    cluster.verb(&["kill", &leader]);
    let elected = eventually("another member becomes the leader", Duration::from_secs(10), || {
        self::leader(&cluster.lab, &[away, other]).map(drop).ok_or_else(|| "no leader".to_owned())
    });
    eprintln!("elected after {elected:.1?}");
}

/// The node of the etcd leader, as seen by one of `nodes`.
fn leader(lab: &Lab, nodes: &[&str]) -> Option<String> {
    let pki = "/etc/kubernetes/pki/etcd";
    let script = format!(
        "ETCDCTL_API=3 etcdctl --command-timeout 1s --cacert {pki}/ca.crt --cert \
        {pki}/healthcheck-client.crt --key {pki}/healthcheck-client.key --endpoints https://127.0.0.1:2379 \
        endpoint status --write-out json"
    );
    nodes.iter().find_map(|node| {
        let output = lab.inside(node, &["sh", "-c", &script]);
        let statuses: Value = serde_json::from_slice(&output.stdout).ok()?;
        let status = &statuses[0]["Status"];
        (status["leader"].as_u64()? == status["header"]["member_id"].as_u64()?).then(|| (*node).to_owned())
    })
}
