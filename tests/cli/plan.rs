//! `kiln plan` and `kiln render`: what would be built, as a summary and as single files.

use super::{exit_code, kiln_in};

#[test]
fn the_plan_begins_with_what_matters() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init", "--name", "berlin"]);
    let seen = kiln_in(directory.path(), &["plan", "--quiet"]);
    insta::assert_snapshot!(seen.split("\n\n").next().unwrap(), @r"
    exit code: 0
    --- stdout
    cluster   berlin, Kubernetes 1.20.2, profile ha
    endpoint  https://10.0.0.10:8443 (haproxy, VRRP router 10)
    failover  within 1.2 s after the VIP holder fails
    quorum    3 etcd members, 2 must be up, 1 may fail
    capacity  256 nodes, 254 pod addresses per node, 1048574 services, 2768 node ports
    time      synchronized between the machines; set `ntp` in `[network]` to use time servers
    outputs   raw, qcow2
    ");
    assert!(seen.contains("\nm3    10.0.0.13  control-plane  252 "), "{seen}");
}

#[test]
fn render_shows_one_file_of_a_node_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    insta::assert_snapshot!(kiln_in(directory.path(), &["render", "m2", "/etc/hostname"]), @r"
    exit code: 0
    --- stdout
    m2
    --- stderr
    no vault at `vault`: certificates are omitted, and identifiers derived from the vault are only examples
    ");
    insta::assert_snapshot!(kiln_in(directory.path(), &["render", "m2", "/etc/kubernetes/encryption.yaml", "--quiet"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: `/etc/kubernetes/encryption.yaml` contains a secret

    hint: add `--secrets` to show it
    ");
    insta::assert_snapshot!(kiln_in(directory.path(), &["render", "m2", "--secrets"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: there is no vault at `vault`

    hint: run `kiln pki init` to create one
    ");
}

#[test]
fn render_writes_a_directory_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    assert_eq!(exit_code(directory.path(), &["render", "m1", "--out", "m1"]), 0);
    assert_eq!(std::fs::read_to_string(directory.path().join("m1/etc/hostname")).unwrap(), "m1\n");
    insta::assert_snapshot!(kiln_in(directory.path(), &["render", "m1", "--out", "m1"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    no vault at `vault`: certificates are omitted, and identifiers derived from the vault are only examples
    error: `m1` exists and is not empty

    hint: choose another directory with `--out`
    ");
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
