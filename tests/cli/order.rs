//! `kiln order`.

use std::os::unix::fs::PermissionsExt as _;

use crate::{command, exit_code, kiln_in};

/// Creates a site with three etcd members and their keys.
fn site() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["init", "--profile", "ha"][..], &["pki", "init"]] {
        assert_eq!(exit_code(directory.path(), arguments), 0);
    }
    directory
}

#[test]
fn an_order_is_one_seed_for_each_member_that_its_owner_alone_reads() {
    let site = site();
    let output = command(site.path(), &["order", "--without", "m3", "--json"]).output().unwrap();
    let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(written, serde_json::json!({ "seeds": ["order/m1.seed", "order/m2.seed", "order/m3.seed"] }));
    for name in ["m1", "m2", "m3"] {
        let seed = site.path().join(format!("order/{name}.seed"));
        assert_eq!(std::fs::metadata(&seed).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Only members whose data is to be set aside get a seed.
    assert_eq!(exit_code(site.path(), &["order", "--set-aside", "m1", "--out", "aside"]), 0);
    assert_eq!(std::fs::read_dir(site.path().join("aside")).unwrap().count(), 1);
    // A second order is never written among the seeds of the first one.
    insta::assert_snapshot!(kiln_in(site.path(), &["order", "--without", "m3"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: `order` already exists

    hint: choose another directory with `--out`
    ");
}

#[test]
fn an_order_about_a_stranger_or_about_all_is_refused() {
    let site = site();
    insta::assert_snapshot!(kiln_in(site.path(), &["order", "--without", "m33"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: `m33` is not an etcd member

    hint: did you mean `m3`?
    ");
    insta::assert_snapshot!(kiln_in(site.path(), &["order", "--recover-from", "w1"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: `w1` is not an etcd member

    hint: the members are m1, m2, m3
    ");
    insta::assert_snapshot!(kiln_in(site.path(), &["order", "--without", "m1,m2,m3"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: the order excludes every member

    hint: list only the missing members
    ");
    insta::assert_snapshot!(kiln_in(site.path(), &["order", "--set-aside", "m1,m2"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: 2 of 3 members can't be set aside: the rest would have no quorum

    hint: use `--recover-from NODE` to make one member's data the cluster's data
    ");
    // An order has exactly one purpose.
    assert_eq!(exit_code(site.path(), &["order", "--without", "m1", "--recover-from", "m2"]), 2);
    assert_eq!(exit_code(site.path(), &["order"]), 2);
    assert!(!site.path().join("order").exists());
}
