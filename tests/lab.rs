//! The built cluster on this machine: it comes up by itself, survives the loss of a machine, and leaves
//! nothing behind.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use common::lab::{Client, FAILOVER, Lab, PATIENCE, etcd_is_healthy, eventually, succeeded};
use common::{Variant, approve, built, copy_directory, ha, images, judge};
use serde_json::Value;

const NODES: [&str; 3] = ["m1", "m2", "m3"];
const MEMBERS: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
const VIP: &str = "10.0.0.10:8443";

#[test]
fn three_nodes_become_a_cluster_that_survives_the_loss_of_the_address_holder_and_of_a_disk() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some(client) = Client::new(site, scratch.path()) else { return };

    // All at once, in no order, nobody logged in.
    lab.up(&client.artifacts);
    let etcd =
        eventually("etcd has three healthy members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, "m1"));
    let ready = eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));
    let create = ["create", "configmap", "probe", "--from-literal=written=before"];
    eventually("an object is created through the VIP", PATIENCE, || {
        succeeded(&client.kubectl(&lab, &create), "created")
    });
    let read = ["get", "configmap", "probe", "--output=jsonpath={.data.written}"];
    succeeded(&client.kubectl(&lab, &read), "before").unwrap();

    // The power of the one that holds the VIP is cut.
    let lost = &lab.one_holder();
    approve(&mut lab.kiln(&["kill", lost]));
    let moved = eventually("the VIP answers again", FAILOVER, || client.ready(&lab, VIP));
    assert_ne!(lab.one_holder(), *lost);
    eventually("the object is still there", FAILOVER, || succeeded(&client.kubectl(&lab, &read), "before"));
    let patch = ["patch", "configmap", "probe", "--patch", r#"{"data":{"written":"after"}}"#];
    eventually("the object is writable", FAILOVER, || succeeded(&client.kubectl(&lab, &patch), "patched"));

    // It comes back, with what it had in /var, and catches up.
    approve(&mut lab.kiln(&["start", lost]));
    let back = eventually("etcd has three healthy members again", PATIENCE, || {
        etcd_is_healthy(&lab, &MEMBERS, lost)
    });
    let local = format!("https://{}:6443/readyz", lab.address(lost));
    let ca = client.ca.to_str().unwrap();
    let curl = ["curl", "--silent", "--fail", "--max-time", "5", "--cacert", ca, &local];
    eventually("its API server is ready", PATIENCE, || succeeded(&lab.run(&curl), "ok"));
    succeeded(&client.kubectl(&lab, &read), "after").unwrap();

    // Another one loses its disk: it must join the living cluster as a new member and not found its own.
    let replaced = NODES.into_iter().find(|node| node != lost).unwrap();
    approve(&mut lab.kiln(&["kill", "--lose-disk", replaced]));
    approve(&mut lab.kiln(&["start", replaced]));
    let joined = eventually("etcd has three healthy members after one was replaced", PATIENCE, || {
        etcd_is_healthy(&lab, &MEMBERS, replaced)
    });
    eventually("the replaced node's object is that of the cluster", PATIENCE, || {
        succeeded(&client.kubectl(&lab, &read), "after")
    });
    let says = lab.inside(replaced, &["journalctl", "--no-pager", "--unit=etcd"]);
    succeeded(&says, "rejoining the live cluster of").unwrap();
    eventually("every node runs without a failed unit", PATIENCE, || {
        let bad: Vec<Value> = lab.status().into_iter().filter(|node| node["system"] != "running").collect();
        if bad.is_empty() { Ok(()) } else { Err(serde_json::to_string_pretty(&bad).unwrap()) }
    });

    is_broken_and_mended(&lab, &client, replaced);

    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
    eprintln!(
        "etcd {etcd:.1?}, API at the VIP {ready:.1?} later, failover {moved:.1?}, rejoined in {back:.1?}, \
        replaced in {joined:.1?}"
    );
}

/// What a node's freezer and cable do is what other machines see; what its disk does, what its own programs
/// see.
fn is_broken_and_mended(lab: &Lab, client: &Client, node: &str) {
    let address = lab.address(node);
    let authority = format!("{address}:6443");
    let verb = |words: &[&str]| approve(&mut lab.kiln(words));
    let state = || lab.status().into_iter().find(|state| state["name"] == node).unwrap();
    let answers = |why: &str| eventually(why, PATIENCE, || client.ready(lab, &authority));

    verb(&["freeze", node]);
    assert_eq!(state()["frozen"], true);
    client.ready(lab, &authority).unwrap_err();
    verb(&["thaw", node]);
    answers("it goes on");

    verb(&["cut", node, "--protocol", "tcp", "--port", "6443"]);
    assert!(!lab.reaches(None, &address, 6443) && lab.reaches(None, &address, 8443), "one port is cut");
    assert_eq!(state()["cuts"], serde_json::json!(["tcp/6443"]));
    verb(&["mend", node]);
    answers("its port is open again");

    let other = NODES.into_iter().find(|name| *name != node).unwrap();
    verb(&["cut", node, "--from", other]);
    assert!(
        !lab.reaches(Some(other), &address, 6443) && lab.reaches(None, &address, 6443),
        "it is cut off from {other} alone"
    );
    verb(&["mend", node]);

    is_slow_and_fast_again(lab, node);

    verb(&["unplug", node]);
    assert_eq!(state()["unplugged"], true);
    client.ready(lab, &authority).unwrap_err();
    verb(&["plug", node]);
    answers("its cable is in again");

    let probe =
        |script: &str| lab.inside(node, &["systemd-run", "--quiet", "--wait", "--pipe", "sh", "-c", script]);
    let devices = NODES.map(|name| lab.inside(name, &["stat", "--format=%d", "/var"]).stdout);
    assert!(
        devices[0] != devices[1] && devices[1] != devices[2] && devices[0] != devices[2],
        "each has a disk of its own: {devices:?}"
    );
    verb(&["slow", node, "--sync", "500"]);
    let begin = Instant::now();
    succeeded(&probe("dd if=/dev/zero of=/var/tmp/probe bs=4k count=2 oflag=dsync"), "").unwrap();
    assert!(begin.elapsed() > Duration::from_millis(700), "two syncs took {:?}", begin.elapsed());
    verb(&["fill", node]);
    assert_eq!(state()["disk"], serde_json::json!(["a sync takes 500 ms", "full"]));
    let write = "head -c 1000000 /dev/zero >/var/tmp/probe && sync /var/tmp/probe";
    let refused = probe(write);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("No space left on device"), "{refused:?}");
    verb(&["mend", node]);
    succeeded(&probe(write), "").unwrap();
    assert_eq!(state()["disk"], serde_json::json!([]));

    // A cut power ends what is frozen, too, and what starts has a whole cable. A disk stays as it is.
    verb(&["slow", node]);
    verb(&["cut", node]);
    verb(&["cut", node, "--delay", "50ms"]);
    verb(&["freeze", node]);
    verb(&["kill", node]);
    verb(&["start", node]);
    let state = state();
    assert_eq!(
        [&state["frozen"], &state["unplugged"], &state["cuts"]],
        [&Value::from(false), &Value::from(false), &serde_json::json!([])]
    );
    assert!(state["delay"].is_null(), "{state:#}");
    assert_eq!(state["disk"], serde_json::json!(["a sync takes 200 ms"]));
    verb(&["mend", node]);
    answers("it has started again");
}

/// A round trip takes the delay longer and a little more, to whom ever, and nothing is lost but what shall
/// be.
fn is_slow_and_fast_again(lab: &Lab, node: &str) {
    if judge("ping").is_none() {
        return;
    }
    let address = lab.address(node);
    let verb = |words: &[&str]| approve(&mut lab.kiln(words));
    let state = || lab.status().into_iter().find(|state| state["name"] == node).unwrap();

    let (fast, lost) = ping(lab, &address);
    assert!(fast < 15.0 && lost == 0, "before: {fast} ms, {lost} lost");
    verb(&["cut", node, "--delay", "50ms"]);
    assert_eq!(state()["delay"], "50 ms");
    // With what it knows of its neighbours, and without.
    for round in ["known", "unknown"] {
        let (slow, lost) = ping(lab, &address);
        assert!((50.0..65.0).contains(&slow) && lost == 0, "{round}: {slow} ms, {lost} lost");
        verb(&["unplug", node]);
        verb(&["plug", node]);
        verb(&["exec", node, "--", "ip", "neighbour", "flush", "all"]);
    }

    verb(&["cut", node, "--delay", "20ms", "--direction", "out", "--loss", "20"]);
    assert_eq!(
        (&state()["delay"], &state()["cuts"]),
        (&"20 ms out".into(), &serde_json::json!(["everything out 20 %"]))
    );
    let (slow, lost) = ping(lab, &address);
    // Of a hundred, 20 are lost; fewer than 3, or more than 50, in one of a million times.
    assert!((20.0..35.0).contains(&slow) && (3..=50).contains(&lost), "{slow} ms, {lost} lost");

    verb(&["mend", node]);
    let (fast, lost) = ping(lab, &address);
    assert!(fast < 15.0 && lost == 0 && state()["delay"].is_null(), "after: {fast} ms, {lost} lost");
}

/// The shortest of a hundred round trips in milliseconds, and how many were lost; ping(8).
fn ping(lab: &Lab, address: &str) -> (f64, u32) {
    let output = lab.run(&["ping", "-q", "-n", "-i", "0.02", "-c", "100", address]);
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

#[test]
fn a_machine_that_never_came_is_left_out_by_an_order_and_joins_later() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some(client) = Client::new(site, scratch.path()) else { return };
    lab.up(&client.artifacts);
    for node in NODES {
        approve(&mut lab.kiln(&["kill", "--lose-disk", node]));
    }

    // Two of three wait, and say for whom: to them this first boot and a third machine that has all the data
    // look the same.
    for node in ["m1", "m2"] {
        approve(&mut lab.kiln(&["start", node]));
    }
    eventually("the console says for whom", PATIENCE, || {
        succeeded(&lab.kiln(&["console", "m1"]).output().unwrap(), "etcd: m3 does not respond")
    });
    let status = lab.inside("m2", &["kiln", "agent", "status"]);
    succeeded(&status, "waiting: m3 does not respond").unwrap();
    assert!(etcd_is_healthy(&lab, &["10.0.0.11", "10.0.0.12"], "m1").is_err());

    // What a person decides comes as seeds, by name.
    let order = scratch.path().join("order");
    site.ok(&["order", "--without", "m3", "--out", order.to_str().unwrap()]);
    for node in ["m1", "m2"] {
        approve(&mut lab.kiln(&["kill", node]));
        approve(&mut lab.kiln(&[
            "start",
            node,
            "--seed",
            order.join(format!("{node}.seed")).to_str().unwrap(),
        ]));
    }
    eventually("two members are a cluster", PATIENCE, || {
        etcd_is_healthy(&lab, &["10.0.0.11", "10.0.0.12"], "m1")
    });
    eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));

    // The third one comes with its usual seed, which knows of no order.
    approve(&mut lab.kiln(&["start", "m3"]));
    eventually("all three are members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, "m3"));
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

#[test]
fn a_cluster_is_recovered_by_an_order_from_the_only_copy_that_is_left() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some(client) = Client::new(site, scratch.path()) else { return };
    lab.up(&client.artifacts);
    eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));
    let create = ["create", "configmap", "probe", "--from-literal=written=before"];
    eventually("an object is created", PATIENCE, || succeeded(&client.kubectl(&lab, &create), "created"));
    let revision = ["get", "configmap", "probe", "--output=jsonpath={.metadata.resourceVersion}"];
    let list = ["get", "--raw", "/api/v1/namespaces/default/configmaps"];
    let number = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).parse::<u64>().map_err(|_| format!("{output:?}"))
    };
    let newest = || {
        let list: Value = serde_json::from_slice(&client.kubectl(&lab, &list).stdout).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let before = newest();
    let of_probe = number(&client.kubectl(&lab, &revision)).unwrap();

    // Two machines are replaced while the third one is off; when it comes back no cluster is founded.
    approve(&mut lab.kiln(&["kill", "m3"]));
    for node in ["m1", "m2"] {
        approve(&mut lab.kiln(&["kill", "--lose-disk", node]));
    }
    for node in NODES {
        approve(&mut lab.kiln(&["start", node]));
    }
    let said = "etcd: m3 has data at revision";
    eventually("the console says who has the data", PATIENCE, || {
        succeeded(&lab.kiln(&["console", "m1"]).output().unwrap(), said)
    });

    let order = scratch.path().join("order");
    site.ok(&["order", "--recover-from", "m3", "--out", order.to_str().unwrap()]);
    for node in NODES {
        approve(&mut lab.kiln(&["kill", node]));
        approve(&mut lab.kiln(&[
            "start",
            node,
            "--seed",
            order.join(format!("{node}.seed")).to_str().unwrap(),
        ]));
    }
    eventually("all three are members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, "m3"));
    eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));
    // The same object, and revisions that no client has seen: an old watch can't go on as if nothing had
    // happened.
    assert_eq!(number(&client.kubectl(&lab, &revision)), Ok(of_probe));
    let after = newest();
    assert!(after > before + 900_000_000, "{before} before, {after} after");
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

/// A pod that holds a port of its machine.
const LATER: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "later"}, "spec": {"nodeName": "w1",
    "containers": [{"name": "idle", "image": "k8s.gcr.io/pause:3.2", "ports": [{"containerPort": 9, "hostPort": 9009}]}]}}"#;

/// What docs/snapshots.md says about containers of pods that a restored cluster does not know, and more for
/// two busy processors.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// Programs of containers that the worker runs.
fn containers(lab: &Lab) -> usize {
    let output =
        lab.inside("w1", &["sh", "-c", "grep --no-messages --line-regexp pause /proc/[0-9]*/comm || true"]);
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[test]
fn a_snapshot_is_restored_by_an_order_and_nothing_goes_on_that_it_does_not_know() {
    const WORKER: (&str, &str) = (
        "# Keys and certificates;",
        "[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n\n# Keys and certificates;",
    );
    const RAW: (&str, &str) =
        ("# [outputs]\n# formats = [\"raw\", \"qcow2\"]", "[outputs]\nformats = [\"raw\"]");
    let Some(images) = images() else { return };
    let variant = Variant { name: "ha-restored", profile: "ha", changes: &[RAW, WORKER] };
    let (Some(lab), Some(site)) = (Lab::new(), built(&variant)) else { return };
    let site = &site;
    let scratch = tempfile::tempdir().unwrap();
    let Some(client) = Client::new(site, scratch.path()) else { return };
    lab.up(&client.artifacts);
    eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));
    let create =
        |name: &str| ["create", "configmap", name, "--from-literal=written=before"].map(str::to_owned);
    let kubectl =
        |words: &[String]| client.kubectl(&lab, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let list = "/api/v1/namespaces/default/configmaps";
    let newest = || -> Result<u64, String> {
        let output = client.kubectl(&lab, &["get", "--raw", list]);
        let list: Value = serde_json::from_slice(&output.stdout).map_err(|_| format!("{output:?}"))?;
        list["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse().map_err(|_| list.to_string())
    };
    eventually("an object is created", PATIENCE, || succeeded(&kubectl(&create("kept")), "created"));
    eventually("all three are members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, "m3"));
    let save = || succeeded(&lab.inside("m2", &["kiln", "agent", "etcd", "snapshot"]), "revision");
    eventually("a snapshot is saved", PATIENCE, save);
    eventually("another object is created", PATIENCE, || succeeded(&kubectl(&create("later")), "created"));
    let pod = scratch.path().join("pod.json");
    fs::write(&pod, LATER).unwrap();
    let pause = fs::File::open(images.join("pause.tar")).unwrap();
    approve(
        lab.kiln(&["exec", "w1", "--", "ctr", "--namespace", "k8s.io", "images", "import", "-"]).stdin(pause),
    );
    eventually("a pod is created", PATIENCE, || {
        succeeded(&client.kubectl(&lab, &["apply", "--filename", pod.to_str().unwrap()]), "pod/")
    });
    eventually("its two containers run", PATIENCE, || {
        if containers(&lab) == 2 { Ok(()) } else { Err(format!("{}", containers(&lab))) }
    });
    let mut before = 0;
    eventually("the newest revision", PATIENCE, || newest().map(|newest| before = newest));

    // Whoever has the vault takes it away, over the network.
    let file = scratch.path().join("etcd.db");
    let with_vault = |words: &[&str]| {
        let directory = format!("--chdir={}", site.dir().display());
        let program = [&["env", &directory, env!("CARGO_BIN_EXE_kiln")], words].concat();
        lab.run(&program)
    };
    let listed = with_vault(&["snapshot", "list"]);
    for node in NODES {
        succeeded(&listed, node).unwrap();
    }
    let fetched =
        with_vault(&["snapshot", "fetch", "--from", "m2", "--json", "--out", file.to_str().unwrap()]);
    succeeded(&fetched, "m2").unwrap();
    let fetched: Value = serde_json::from_slice(&fetched.stdout).unwrap();
    // A node's own certificate is not enough.
    let own = |name: &str| {
        let path = scratch.path().join(format!("m1-{name}"));
        fs::write(&path, lab.inside("m1", &["cat", &format!("/etc/kubernetes/pki/etcd/{name}")]).stdout)
            .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, certificate, key) = (own("ca.crt"), own("peer.crt"), own("peer.key"));
    let url = format!("https://{}:2383/snapshots", MEMBERS[1]);
    let refused = lab.run(&[
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

    let order = scratch.path().join("order");
    let restore = format!("{}@{}", file.display(), fetched["sha256"].as_str().unwrap());
    site.ok(&["order", "--restore", &restore, "--on", "m1", "--out", order.to_str().unwrap()]);
    for node in NODES {
        approve(&mut lab.kiln(&["kill", node]));
    }
    // The worker is never switched off, and its kubelet knows a pod that the cluster will not.
    assert_eq!(containers(&lab), 2);
    for node in NODES {
        approve(&mut lab.kiln(&[
            "start",
            node,
            "--seed",
            order.join(format!("{node}.seed")).to_str().unwrap(),
        ]));
    }
    eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));
    let gone = eventually("containers of the unknown pod are gone", FORGOTTEN, || {
        if containers(&lab) == 0 {
            Ok(())
        } else {
            Err(format!("{:?}", client.kubectl(&lab, &["get", "pods,nodes"])))
        }
    });
    eprintln!("containers of an unknown pod ran for {gone:.1?} after the first answer");
    eventually("all three are members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, "m3"));
    eventually("the object of the snapshot is there", PATIENCE, || {
        succeeded(&client.kubectl(&lab, &["get", "configmap", "kept", "--output=name"]), "configmap/kept")
    });
    eventually("the object that came later is not", PATIENCE, || {
        let later = client.kubectl(&lab, &["get", "configmap", "later"]);
        if String::from_utf8_lossy(&later.stderr).contains("NotFound") {
            Ok(())
        } else {
            Err(format!("{later:?}"))
        }
    });
    let mut after = 0;
    eventually("the newest revision", PATIENCE, || newest().map(|newest| after = newest));
    assert!(after > before + 900_000_000, "{before} before, {after} after");
    // Who watched before must list again, whatever server it asks.
    for member in MEMBERS {
        let server = format!("--server=https://{member}:6443");
        let watch = format!("{list}?watch=1&timeoutSeconds=5&resourceVersion={before}");
        eventually("an old watch ends with an error", PATIENCE, || {
            let output = client.kubectl(&lab, &["get", "--raw", &watch, &server]);
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if said.contains("too old resource version") || said.contains("Expired") {
                Ok(())
            } else {
                Err(said)
            }
        });
    }
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

#[test]
fn a_lab_leaves_nothing_behind_however_it_ends() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let kill = |signal: &str, ids: &[i32]| {
        assert!(!ids.is_empty(), "no process to send {signal} to");
        // Each of them takes the other along, so a later one may be gone already; what counts is what is left
        // afterwards.
        let _ = Command::new("kill")
            .arg(format!("-{signal}"))
            .args(ids.iter().map(ToString::to_string))
            .output()
            .unwrap();
    };
    let foreground = || -> Child { lab.starting(&["up", "--foreground"], &site.out()).spawn().unwrap() };
    let all_run = || {
        eventually("all nodes run", PATIENCE, || {
            let status = lab.kiln(&["status", "--json"]).output().unwrap();
            let nodes: Vec<Value> = serde_json::from_slice(&status.stdout).map_err(|err| err.to_string())?;
            if nodes.iter().filter(|node| node["running"] == true).count() == NODES.len() {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            }
        });
    };

    for signal in ["INT", "KILL"] {
        let mut started = foreground();
        all_run();
        kill(signal, &[started.id().try_into().unwrap()]);
        started.wait().unwrap();
        lab.assert_gone();
    }
    for part in ["outer", "inner"] {
        lab.up(&site.out());
        kill("KILL", &lab.supervisors(part));
        lab.assert_gone();
    }
    let mut rehearsal = lab.starting(&["rehearse"], &site.out()).spawn().unwrap();
    eventually("a lab of its own runs", PATIENCE, || {
        if lab.supervisors("inner").is_empty() { Err("none".into()) } else { Ok(()) }
    });
    kill("INT", &[rehearsal.id().try_into().unwrap()]);
    rehearsal.wait().unwrap();
    lab.assert_gone();
    // Nobody is left to clean up: the next command does.
    lab.up(&site.out());
    kill("KILL", &[lab.supervisors("outer"), lab.supervisors("inner")].concat());
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

#[test]
fn an_image_with_one_changed_byte_is_not_started() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&site.out(), &copy.path().join("out"));
    let manifest: Value =
        serde_json::from_slice(&fs::read(copy.path().join("out/manifest.json")).unwrap()).unwrap();
    let partitions = manifest["images"]["control-plane"]["partitions"].as_array().unwrap();
    let start = partitions.iter().find(|partition| partition["label"] == "kiln-root").unwrap()["start"]
        .as_u64()
        .unwrap();
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .open(copy.path().join("out/images/control-plane.raw"))
        .unwrap();
    let mut byte = [0];
    disk.read_exact_at(&mut byte, start + 123_456).unwrap();
    disk.write_all_at(&[byte[0] ^ 1], start + 123_456).unwrap();
    let output = lab.starting(&["up"], &copy.path().join("out")).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("control-plane.raw`: the root partition was modified"), "{said}");
    lab.assert_gone();
}

/// Since 3.5 a member that was cut off for a minute hears nothing of what others send it until their kernels
/// try again, up to two minutes later, and an election in which it must vote fails for as long.
#[test]
fn a_member_that_was_cut_off_takes_part_in_the_next_election() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some(client) = Client::new(site, scratch.path()) else { return };
    lab.up(&client.artifacts);
    eventually("etcd has three healthy members", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, "m1"));
    eventually("the VIP answers", PATIENCE, || client.ready(&lab, VIP));
    let leader = leader(&lab, &NODES).unwrap();
    let [away, other] = NODES.into_iter().filter(|node| *node != leader).collect::<Vec<_>>()[..] else {
        panic!("{leader}")
    };
    approve(&mut lab.kiln(&["unplug", away]));
    approve(&mut lab.kiln(&["freeze", away]));
    std::thread::sleep(Duration::from_secs(60));
    approve(&mut lab.kiln(&["thaw", away]));
    approve(&mut lab.kiln(&["plug", away]));
    // It is healthy to everyone who asks, and so far no one depends on it.
    eventually("etcd has three healthy members again", PATIENCE, || etcd_is_healthy(&lab, &MEMBERS, other));
    std::thread::sleep(Duration::from_secs(15));
    approve(&mut lab.kiln(&["kill", &leader]));
    let elected = eventually("one of the others leads", Duration::from_secs(10), || {
        self::leader(&lab, &[away, other]).map(drop).ok_or_else(|| "no leader".to_owned())
    });
    eprintln!("elected after {elected:.1?}");
}

/// The node whose member of etcd leads, as those of `nodes` see it.
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
