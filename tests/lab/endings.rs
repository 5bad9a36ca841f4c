//! Labs that are interrupted or killed, and a lab that must not start.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};

use serde_json::Value;

use crate::NODES;
use crate::common::lab::{Lab, PATIENCE, eventually};
use crate::common::{approve, copy_directory, ha};

#[test]
fn a_lab_leaves_nothing_behind_however_it_ends() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let foreground = || -> Child { lab.starting(&["up", "--foreground"], &site.out()).spawn().unwrap() };
    for signal in ["INT", "KILL"] {
        let mut started = foreground();
        wait_for_all_nodes(&lab);
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
    eventually("the rehearsal's own lab runs", PATIENCE, || {
        if lab.supervisors("inner").is_empty() { Err("none".into()) } else { Ok(()) }
    });
    kill("INT", &[rehearsal.id().try_into().unwrap()]);
    rehearsal.wait().unwrap();
    lab.assert_gone();
    // No supervisor is left to clean up, so the next command does it.
    lab.up(&site.out());
    kill("KILL", &[lab.supervisors("outer"), lab.supervisors("inner")].concat());
    approve(&mut lab.kiln(&["down"]));
    lab.assert_gone();
}

/// Sends a signal to processes. Each of them ends the others, so one may have disappeared already: only what
/// is left afterwards counts.
fn kill(signal: &str, ids: &[i32]) {
    assert!(!ids.is_empty(), "no process to send {signal} to");
    let ids = ids.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg(format!("-{signal}")).args(ids).output().unwrap();
}

fn wait_for_all_nodes(lab: &Lab) {
    eventually("all nodes run", PATIENCE, || {
        let status = lab.kiln(&["status", "--json"]).output().unwrap();
        let nodes: Vec<Value> = serde_json::from_slice(&status.stdout).map_err(|err| err.to_string())?;
        if nodes.iter().filter(|node| node["running"] == true).count() == NODES.len() {
            Ok(())
        } else {
            Err(format!("{nodes:?}"))
        }
    });
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
