//! A snapshot that an order restores while a worker keeps running.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::common::lab::{Lab, PATIENCE, eventually, succeeded};
use crate::common::{Variant, approve, built, images};
use crate::{Cluster, MEMBERS, NODES};

const WORKER: (&str, &str) = (
    "# Keys and certificates;",
    "[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n\n# Keys and certificates;",
);
const RAW: (&str, &str) = ("# [outputs]\n# formats = [\"raw\", \"qcow2\"]", "[outputs]\nformats = [\"raw\"]");

/// A pod with a host port.
const LATER: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "later"},
    "spec": {"nodeName": "w1", "containers": [{"name": "idle", "image": "k8s.gcr.io/pause:3.2",
    "ports": [{"containerPort": 9, "hostPort": 9009}]}]}}"#;

/// The time that docs/snapshots.md states for removing containers of pods that a restored cluster does not
/// know, and some more because two processors are busy.
const FORGOTTEN: Duration = Duration::from_secs(90);

#[test]
fn a_snapshot_is_restored_by_an_order_and_nothing_goes_on_that_it_does_not_know() {
    let Some(images) = images() else { return };
    let variant = Variant { name: "ha-restored", profile: "ha", changes: &[RAW, WORKER] };
    let (Some(lab), Some(site)) = (Lab::new(), built(&variant)) else { return };
    let Some(cluster) = Cluster::start(lab, &site) else { return };
    cluster.wait_for_vip();
    cluster.create("kept");
    cluster.wait_for_members("m3");
    eventually("a snapshot is saved", PATIENCE, || {
        succeeded(&cluster.lab.inside("m2", &["kiln", "agent", "etcd", "snapshot"]), "revision")
    });
    cluster.create("later");
    run_a_pod_on_the_worker(&cluster, &images);
    let before = wait_for_newest_revision(&cluster);

    let snapshot = fetch_snapshot(&cluster);
    a_node_certificate_is_refused(&cluster);

    let order = cluster.order(&["--restore", &snapshot, "--on", "m1"]);
    for node in NODES {
        cluster.verb(&["kill", node]);
    }
    // The worker is never switched off, and its kubelet knows a pod that the restored cluster will not.
    assert_eq!(containers(&cluster.lab), 2);
    for node in NODES {
        cluster.start_with_order(node, &order);
    }
    cluster.wait_for_vip();
    containers_of_the_unknown_pod_stop(&cluster);
    cluster.wait_for_members("m3");
    only_objects_from_the_snapshot_exist(&cluster);
    let after = wait_for_newest_revision(&cluster);
    assert!(after > before + 900_000_000, "{before} before, {after} after");
    old_watches_end_with_an_error(&cluster, before);
    cluster.end();
}

fn wait_for_newest_revision(cluster: &Cluster<'_>) -> u64 {
    let mut found = 0;
    eventually("the newest revision is known", PATIENCE, || {
        cluster.newest_revision().map(|newest| found = newest)
    });
    found
}

/// The number of container processes on the worker.
fn containers(lab: &Lab) -> usize {
    let output =
        lab.inside("w1", &["sh", "-c", "grep --no-messages --line-regexp pause /proc/[0-9]*/comm || true"]);
    String::from_utf8_lossy(&output.stdout).lines().count()
}

fn run_a_pod_on_the_worker(cluster: &Cluster<'_>, images: &Path) {
    let pod = cluster.scratch.path().join("pod.json");
    fs::write(&pod, LATER).unwrap();
    let pause = fs::File::open(images.join("pause.tar")).unwrap();
    let import = ["exec", "w1", "--", "ctr", "--namespace", "k8s.io", "images", "import", "-"];
    approve(cluster.lab.kiln(&import).stdin(pause));
    eventually("a pod is created", PATIENCE, || {
        succeeded(&cluster.kubectl(&["apply", "--filename", pod.to_str().unwrap()]), "pod/")
    });
    eventually("both containers of the pod run", PATIENCE, || {
        let count = containers(&cluster.lab);
        if count == 2 { Ok(()) } else { Err(count.to_string()) }
    });
}

/// Downloads `m2`'s snapshot over the network, as the owner of the vault can. Returns `FILE@SHA-256`.
fn fetch_snapshot(cluster: &Cluster<'_>) -> String {
    let file = cluster.scratch.path().join("etcd.db");
    let with_vault = |words: &[&str]| {
        let directory = format!("--chdir={}", cluster.site.dir().display());
        let program = [&["env", &directory, env!("CARGO_BIN_EXE_kiln")], words].concat();
        cluster.lab.run(&program)
    };
    let listed = with_vault(&["snapshot", "list"]);
    for node in NODES {
        succeeded(&listed, node).unwrap();
    }
    let fetched =
        with_vault(&["snapshot", "fetch", "--from", "m2", "--json", "--out", file.to_str().unwrap()]);
    succeeded(&fetched, "m2").unwrap();
    let fetched: Value = serde_json::from_slice(&fetched.stdout).unwrap();
    format!("{}@{}", file.display(), fetched["sha256"].as_str().unwrap())
}

/// Checks that a node's own certificate does not permit listing snapshots.
fn a_node_certificate_is_refused(cluster: &Cluster<'_>) {
    let own = |name: &str| {
        let path = cluster.scratch.path().join(format!("m1-{name}"));
        let output = cluster.lab.inside("m1", &["cat", &format!("/etc/kubernetes/pki/etcd/{name}")]);
        fs::write(&path, output.stdout).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, certificate, key) = (own("ca.crt"), own("peer.crt"), own("peer.key"));
    let url = format!("https://{}:2383/snapshots", MEMBERS[1]);
    let refused = cluster.lab.run(&[
        "curl",
        "--silent",
        "--show-error",
        "--include",
        "--cacert",
        &ca,
        "--cert",
        &certificate,
        "--key",
        &key,
        &url,
    ]);
    assert!(refused.stdout.starts_with(b"HTTP/1.0 403 "), "{refused:?}");
}

fn containers_of_the_unknown_pod_stop(cluster: &Cluster<'_>) {
    let gone = eventually("containers of the unknown pod have stopped", FORGOTTEN, || {
        if containers(&cluster.lab) == 0 {
            Ok(())
        } else {
            Err(format!("{:?}", cluster.kubectl(&["get", "pods,nodes"])))
        }
    });
    eprintln!("containers of an unknown pod ran for {gone:.1?} after the VIP answered");
}

fn only_objects_from_the_snapshot_exist(cluster: &Cluster<'_>) {
    eventually("the object in the snapshot exists", PATIENCE, || {
        succeeded(&cluster.kubectl(&["get", "configmap", "kept", "--output=name"]), "configmap/kept")
    });
    eventually("the object created after the snapshot does not exist", PATIENCE, || {
        let later = cluster.kubectl(&["get", "configmap", "later"]);
        if String::from_utf8_lossy(&later.stderr).contains("NotFound") {
            Ok(())
        } else {
            Err(format!("{later:?}"))
        }
    });
}

/// Checks that every API server forces a client that watched from `revision` to list again.
fn old_watches_end_with_an_error(cluster: &Cluster<'_>, revision: u64) {
    let list = "/api/v1/namespaces/default/configmaps";
    let watch = format!("{list}?watch=1&timeoutSeconds=5&resourceVersion={revision}");
    for member in MEMBERS {
        let server = format!("--server=https://{member}:6443");
        eventually("an old watch ends with an error", PATIENCE, || {
            let output = cluster.kubectl(&["get", "--raw", &watch, &server]);
            let (stdout, stderr) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let said = format!("{stdout}{stderr}");
            if said.contains("too old resource version") || said.contains("Expired") {
                Ok(())
            } else {
                Err(said)
            }
        });
    }
}
