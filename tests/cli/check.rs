//! `kiln check`: problems in a cluster file, as text and in machine-readable formats.

use super::{command, edit, exit_code, kiln, kiln_in};

#[test]
fn check_tells_every_problem_at_once() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    edit(
        directory.path(),
        &[
            ("10.0.0.12", "10.0.0.300"),
            ("address = \"10.0.0.13\"", "adress = \"10.0.0.13\""),
            ("\"1.20.2\"", "1.20"),
        ],
    );
    insta::assert_snapshot!(kiln_in(directory.path(), &["check"]), @r#"
    exit code: 2
    --- stdout
    --- stderr
    error[cluster.kubernetes]: `kubernetes` is a number, but must be a string in quotes
      --> cluster.toml:12:14
       |
    12 | kubernetes = 1.20
       |              ^^^^
       |
       = hint: write `kubernetes = "1.20"`

    error[nodes[1].address]: `10.0.0.300` is not an IP address
      --> cluster.toml:44:11
       |
    44 | address = "10.0.0.300"
       |           ^^^^^^^^^^^^
       |
       = hint: use a value such as `"10.0.0.10"`

    error[nodes[2].adress]: unknown setting `adress` in `nodes[2]`
      --> cluster.toml:49:1
       |
    49 | adress = "10.0.0.13"
       | ^^^^^^
       |
       = hint: did you mean `address`?

    error: 3 problems found
    "#);
}

#[test]
fn check_tells_bad_practice_that_can_be_built() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    edit(
        directory.path(),
        &[("# port = 8443", "virtual-router-id = 51 # kiln: allow HA311 because the segment is ours")],
    );
    insta::assert_snapshot!(kiln_in(directory.path(), &["check"]), @r#"
    exit code: 0
    --- stdout
    --- stderr
    info[HA311]: VRRP router identifier 51 is probably used by another cluster too
      --> cluster.toml:30:21
       |
    30 | virtual-router-id = 51 # kiln: allow HA311 because the segment is ours
       |                     ^^
       |
       = hint: accepted because the segment is ours

    `cluster.toml` can be built: 0 warnings, 1 note
    "#);
}

/// Creates a site with a cluster file and a user's overlay whose template contains a known mistake.
fn site_with_a_mistake() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    let overlay = directory.path().join("site/mail");
    std::fs::create_dir_all(overlay.join("rootfs/etc/keepalived")).unwrap();
    std::fs::write(overlay.join("overlay.toml"), "summary = \"ours\"\n").unwrap();
    let script =
        "#!/bin/sh\n# {{ node.name }}\ncurl -s --max-time 1 https://{{ node.address }}:8443/ || exit 1\n";
    std::fs::write(overlay.join("rootfs/etc/keepalived/mail.sh.tera"), script).unwrap();
    edit(directory.path(), &[("[cluster]", "[overlays.control-plane]\nadd = [\"mail\"]\n\n[cluster]")]);
    directory
}

#[test]
fn check_finds_mistakes_in_the_files_of_overlays() {
    insta::assert_snapshot!(kiln_in(site_with_a_mistake().path(), &["check", "--overlay-dir", "site"]), @r#"
    exit code: 2
    --- stdout
    --- stderr
    error[HA302]: curl without `-f` succeeds whatever status the server returns
     --> site/mail/rootfs/etc/keepalived/mail.sh.tera:3:1
      |
    3 | curl -s --max-time 1 https://{{ node.address }}:8443/ || exit 1
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: use `curl -fsS --max-time 1`

    error: 1 problem found
    "#);
}

#[test]
fn a_comment_in_the_cluster_file_accepts_mistakes_of_overlays() {
    let directory = site_with_a_mistake();
    edit(directory.path(), &[("[cluster]", "# kiln: allow HA302 because it is a page of ours\n[cluster]")]);
    let seen = kiln_in(directory.path(), &["check", "--overlay-dir", "site"]);
    assert!(
        seen.starts_with("exit code: 0") && seen.contains("accepted because it is a page of ours"),
        "{seen}"
    );
}

#[test]
fn code_hosts_get_sarif_whatever_the_outcome() {
    let directory = site_with_a_mistake();
    let mut check = command(directory.path(), &["check", "--overlay-dir", "site", "--format", "sarif"]);
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "HA302");
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "site/mail/rootfs/etc/keepalived/mail.sh.tera");
    assert_eq!(location["region"]["startLine"], 3);
}

#[test]
fn check_explains_a_problem() {
    insta::assert_snapshot!(kiln(&["check", "--explain", "ha010"]), @r"
    exit code: 0
    --- stdout
    HA010 (blocks the build): the number of etcd members is even or less than three

    Why:   etcd needs a majority of its members: two tolerate no failure, and four tolerate no more than three do; the extra member is only one more machine that can fail
    Fix:   use 3 or 5 members
    Reads: the cluster file and the nodes' files
    See:   docs/lints.md#ha010

    To accept this problem, add a comment to the cluster file:
      # kiln: allow HA010 because …
    --- stderr
    ");
}

#[test]
fn scripts_get_one_document_with_every_problem() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    edit(directory.path(), &[("10.0.0.12", "10.0.0.300")]);
    insta::assert_snapshot!(kiln_in(directory.path(), &["check", "--json"]), @r#"
    exit code: 2
    --- stdout
    {
      "error": {
        "exit-code": 2,
        "hints": [],
        "kind": "input",
        "steps": [
          "1 problem found"
        ]
      },
      "problems": [
        {
          "code": null,
          "column": 11,
          "field": "nodes[1].address",
          "file": "cluster.toml",
          "hint": "use a value such as `\"10.0.0.10\"`",
          "line": 44,
          "message": "`10.0.0.300` is not an IP address",
          "severity": "error",
          "span": [
            1437,
            1449
          ]
        }
      ]
    }
    --- stderr
    "#);
}
