//! The short matrix of failures on the built cluster, alone on this machine: facts that hold on any machine, and times with room for a slow
//! one. `kiln lab rehearse` itself holds times to the plan.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr, reason = "tests look at the world as users do")]

mod common;

use std::fs;

use common::ha;
use common::lab::Lab;
use serde_json::Value;

/// One way to break each part that clients depend on; the whole matrix takes three times as long (`ci/test all`).
const CASES: [&str; 7] = [
    "api-server-killed",
    "balancer-hung",
    "keepalived-killed",
    "holder-power",
    "holder-frozen",
    "node-frozen",
    "controller-manager-killed",
];

/// How many times longer than predicted a failure may last on a machine that is slow.
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
    // The cluster file says what is predicted.
    let output = lab.starting(&arguments, &site.out()).current_dir(site.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}\n{said}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();

    let rows = report["rows"].as_array().unwrap();
    let made: Vec<&str> = rows.iter().map(|row| row["case"].as_str().unwrap()).collect();
    assert!(if all { CASES.iter().all(|case| made.contains(case)) } else { made == CASES }, "{made:?}");
    let wrong: Vec<String> = rows.iter().filter_map(|row| wrong(row).map(|why| format!("{}: {why}\n{row:#}", row["case"]))).collect();
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

/// What is not as it must be on any machine.
fn wrong(row: &Value) -> Option<String> {
    let run = &row["runs"][0];
    if run["outcome"] != "measured" {
        return Some(format!("it says nothing: {}", run["why"]));
    }
    if run["censored"] == true || run["broken"] != serde_json::json!([]) {
        return Some("a promise is broken".into());
    }
    let (most, measured) = (row["predicted"][1].as_f64(), run["measured"].as_f64().unwrap());
    if let Some(most) = most.filter(|most| measured > ROOM * most) {
        return Some(format!("{measured} s instead of {most} s"));
    }
    let watches = |what: &str| run["watches"][what].as_u64().unwrap();
    let (kept, all) = (watches("kept"), watches("kept") + watches("reset") + watches("stalled"));
    let expected = match row["case"].as_str().unwrap() {
        // What no client sees.
        "controller-manager-killed" => all,
        "api-server-killed" => all - 1,
        _ => 0,
    };
    (all != 3 || kept < expected).then(|| format!("{kept} of {all} watches were kept"))
}
