//! A short matrix of failures on the built cluster, alone on this machine: results that do not depend on the
//! machine, and durations with a margin for slow machines. `kiln lab rehearse` compares them with the plan.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

mod common;

use std::fs;

use common::lab::Lab;
use common::{Site, ha};
use serde_json::Value;

/// One failure for each part that clients depend on. The whole matrix (`ci/test all`) takes five times as
/// long.
const CASES: [&str; 7] = [
    "api-server-killed",
    "balancer-hung",
    "keepalived-killed",
    "holder-power",
    "holder-frozen",
    "node-frozen",
    "controller-manager-killed",
];

/// How many times longer than predicted an interruption may last on a slow machine.
const ROOM: f64 = 3.0;

#[test]
fn what_fails_is_taken_over_as_the_plan_says() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("rehearsal.html");
    let mut arguments = vec!["rehearse", "--json", "--report", page.to_str().unwrap()];
    let all = std::env::var_os("KILN_TEST_ALL").is_some();
    if !all {
        arguments.extend(CASES.iter().flat_map(|case| ["--case", case]));
    }
    // The predictions come from the cluster file.
    let output = lab.starting(&arguments, &site.out()).current_dir(site.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}\n{said}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!(report["complete"], true);
    let rows = report["rows"].as_array().unwrap();
    let made: Vec<&str> = rows.iter().map(|row| row["case"].as_str().unwrap()).collect();
    assert!(if all { CASES.iter().all(|case| made.contains(case)) } else { made == CASES }, "{made:?}");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| wrong(row).map(|why| format!("{}: {why}\n{row:#}", row["case"])))
        .collect();
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));

    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("<svg").count(), rows.len());
    let journals = fs::read_dir(page.with_extension("journals")).unwrap().count();
    assert!(journals >= 3 * CASES.len(), "{journals} journals are kept");
    lab.assert_gone();
    for row in rows {
        eprintln!("{} predicted {} worst {} {}", row["case"], row["predicted"], row["worst"], row["verdict"]);
    }
}

/// The reason why a row is wrong on any machine, if it is.
fn wrong(row: &Value) -> Option<String> {
    let run = &row["runs"][0];
    if run["outcome"] != "measured" {
        return Some(format!("not measured: {}", run["why"]));
    }
    if run["censored"] == true || run["broken"] != serde_json::json!([]) {
        return Some("the run broke a promise".into());
    }
    let (most, measured) = (row["predicted"][1].as_f64(), run["measured"].as_f64().unwrap());
    if let Some(most) = most.filter(|most| measured > ROOM * most) {
        return Some(format!("{measured} s instead of {most} s"));
    }
    let watches = ["kept", "reset", "stalled"].map(|what| run["watches"][what].as_u64().unwrap());
    let [kept, _, stalled] = watches;
    let is_right = watches.iter().sum::<u64>() == 3
        && match row["case"].as_str().unwrap() {
            // No client notices this failure.
            "controller-manager-killed" => kept == 3,
            "api-server-killed" | "node-frozen" => kept >= 2,
            // A node that loses the VIP resets its connections if it can.
            "balancer-hung" | "keepalived-killed" => stalled == 0,
            _ => true,
        };
    (!is_right).then(|| format!("watches kept, reset, stalled: {watches:?}"))
}

/// Checks for false alarms: half an hour alongside ten CPU-bound programs on two processors.
#[test]
#[ignore = "only by `ci/test all`: it takes more than ten minutes"]
fn nothing_reacts_to_a_machine_that_is_busy() {
    borne("busy", "1800");
}

/// Ten minutes with 5 % packet loss and a 50 ms delay: nothing reacts, and no more requests are late than
/// with a direct connection to one server.
#[test]
#[ignore = "only by `ci/test all`: it takes more than ten minutes"]
fn nothing_reacts_to_a_cable_that_is_bad() {
    let Some(run) = borne("loss", "600") else { return };
    let sent = |series: &str| run["compared"][series]["sent"].as_u64().unwrap();
    assert!(sent("endpoint") > 14_000 && sent("direct") > 14_000, "{run:#}");
    eprintln!("{}", run["compared"]);
}

/// Runs a case that the cluster must tolerate for `seconds`, and checks that no promise was broken.
fn borne(case: &str, seconds: &str) -> Option<Value> {
    let (lab, site) = (Lab::new()?, ha()?);
    let arguments = ["rehearse", "--json", "--case", case, "--seconds", seconds];
    let output = lab.starting(&arguments, &site.out()).current_dir(site.dir()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &report["rows"][0]["runs"][0];
    assert_eq!(
        (&run["outcome"], &run["broken"]),
        (&Value::from("measured"), &serde_json::json!([])),
        "{report:#}"
    );
    Some(run.clone())
}

/// Compares keepalived, its check and HAProxy from published instructions under the same failures.
#[test]
#[ignore = "only by `ci/test all`: it takes more than ten minutes"]
fn published_instructions_are_found_wrong_by_lints_and_by_failures() {
    let (Some(lab), Some(site)) = (Lab::new(), ha()) else { return };
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/baseline");
    let overlays = format!("{fixture}/overlays");
    let scratch = tempfile::tempdir().unwrap();
    let Some(other) = Site::new(scratch.path()) else { return };
    let refused = other.command(&["check", "--overlay-dir", &overlays]).output().unwrap();
    let accepted = fs::read_to_string(format!("{fixture}/accepted.toml")).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let lints: Vec<&str> =
        accepted.lines().filter_map(|line| line.strip_prefix("# kiln: allow ")?.split(' ').next()).collect();
    assert!(lints.len() == 14 && lints.iter().all(|lint| said.contains(&format!("[{lint}]"))), "{said}");
    let file = other.dir().join("cluster.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + &accepted).unwrap();
    for verb in ["lock", "build"] {
        other.ok(&[verb, "--overlay-dir", &overlays]);
    }
    let baseline = other.out();
    let cases = ["--case", "api-server-hung", "--case", "balancer-hung", "--case", "holder-power"];
    let arguments = [&["rehearse", "--json", "--baseline", baseline.to_str().unwrap()], &cases[..]].concat();
    let output = lab.starting(&arguments, &site.out()).current_dir(site.dir()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let worst = |rows: &str| {
        report[rows].as_array().unwrap().iter().map(|row| row["worst"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (ours, theirs) = (worst("rows"), worst("baseline"));
    eprintln!("ours {ours:.1?}, published {theirs:.1?}");
    assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| ours < theirs), "{report:#}");
}
