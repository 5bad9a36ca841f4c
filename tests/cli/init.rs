//! `kiln init`: a starting file, optionally imported from the configuration of an existing cluster.

use std::path::Path;

use super::{command, exit_code, json, kiln_in};

#[test]
fn init_writes_once_and_says_what_comes_next() {
    let directory = tempfile::tempdir().unwrap();
    let first = kiln_in(directory.path(), &["init", "--name", "berlin"]);
    let second = kiln_in(directory.path(), &["init"]);
    insta::assert_snapshot!(format!("{first}\n{second}"), @r"
    exit code: 0
    --- stdout
    --- stderr
    wrote `cluster.toml`; edit it, then run `kiln check --file cluster.toml`


    exit code: 2
    --- stdout
    --- stderr
    error: `cluster.toml` already exists and is not overwritten

    hint: choose another file with `--output`, or overwrite this one with `--force`
    ");
    let text = std::fs::read_to_string(directory.path().join("cluster.toml")).unwrap();
    assert!(text.contains("\nname = \"berlin\"\n"));
}

/// Articles to import: the directory with an article's files, an inventory with the facts that the article
/// gives in prose and tables, and the errors and warnings that apply to the imported cluster file.
const IMPORTS: &[(&str, &str, &[&str])] = &[
    (
        "000-keepalived",
        "[all:vars]\nk8s_version=1.9.6\n[master]\nvm1 ansible_host=192.168.115.5\nvm2 \
        ansible_host=192.168.115.6\n[node]\nvm2\nvm3 ansible_host=192.168.115.7\n",
        &["HA006", "HA011", "HA012", "HA226", "HA228", "HA342"],
    ),
    (
        "000-haproxy",
        "[all:vars]\nk8s_version=1.9.6\n[master]\nvm1 ansible_host=192.168.115.5\nvm2 \
        ansible_host=192.168.115.6\n",
        &["HA010", "HA011", "HA226", "HA228"],
    ),
    ("001", "[all:vars]\nk8s_version=1.6.0\nvip=1.1.1.9\n", &["network.nodes"]),
    (
        "002",
        "[all:vars]\nvip=192.168.109.200\n[etcd]\nmaster01\nnode01\nnode02\n[lb]\nlb01 \
        ansible_host=192.168.109.135\nlb02 ansible_host=192.168.109.137\n",
        &["HA011", "HA012"],
    ),
    (
        "003",
        "[master]\nm1 ansible_host=172.38.40.1\nm2 ansible_host=172.38.40.2\nm3 ansible_host=172.38.40.3\n",
        &["HA008", "HA228", "HA342"],
    ),
    (
        "004",
        "[all:vars]\nk8s_version=1.18.8\nvip=192.168.0.40\n[master]\nm1 ansible_host=192.168.0.41\nm2 \
        ansible_host=192.168.0.42\nm3 ansible_host=192.168.0.43\n",
        &["HA228"],
    ),
];

#[test]
fn an_imported_cluster_has_only_the_problems_that_its_files_have() {
    for (article, inventory, expected) in IMPORTS {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(article), &old);
        std::fs::write(old.join("plan.ini"), inventory).unwrap();
        assert_eq!(exit_code(directory.path(), &["init", "--import", "old"]), 0, "{article}");
        let output = command(directory.path(), &["check", "--json"]).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems =
            told["problems"].as_array().unwrap().iter().filter(|problem| problem["severity"] != "info");
        let codes: std::collections::BTreeSet<_> = problems
            .map(|problem| problem["code"].as_str().or(problem["field"].as_str()).unwrap().to_owned())
            .collect();
        assert_eq!(codes.iter().map(String::as_str).collect::<Vec<_>>(), *expected, "{article}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { _ = std::fs::copy(&path, &target).unwrap() }
    }
}

#[test]
fn an_import_tells_what_is_wrong_with_the_files_and_where() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("old/etc/keepalived")).unwrap();
    let keepalived = "global_defs {\n  enable_script_security\n  script_user root\n}\nvrrp_instance api {\n \
         state BACKUP\n  nopreempt\n  \
                      virtual_router_id 51\n  unicast_peer {\n    10.0.0.12\n  }\n  virtual_ipaddress {\n   \
         10.0.0.10/32\n  }\n}\n";
    std::fs::write(directory.path().join("old/etc/keepalived/keepalived.conf"), keepalived).unwrap();
    insta::assert_snapshot!(kiln_in(directory.path(), &["init", "--import", "old"]), @r"
    exit code: 0
    --- stdout
    --- stderr
    error[HA311]: VRRP router identifier 51 is probably used by another cluster too
     --> old/etc/keepalived/keepalived.conf:8:21
      |
    8 |   virtual_router_id 51
      |                     ^^
      |
      = hint: omit `virtual-router-id`: the default is the last byte of the VIP

    files read: 1; problems found: 1
    wrote `cluster.toml`; fill in what the imported files do not specify, then run `kiln check --file cluster.toml`
    ");
    let output =
        command(directory.path(), &["init", "--import", "old", "--output", "-", "--json"]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let place =
        |problem: &serde_json::Value| format!("{} {} {}", problem["code"], problem["file"], problem["line"]);
    let places: Vec<String> = told["problems"].as_array().unwrap().iter().map(place).collect();
    assert!(places.contains(&"\"HA311\" \"old/etc/keepalived/keepalived.conf\" 8".to_owned()), "{places:?}");
    let text = std::fs::read_to_string(directory.path().join("cluster.toml")).unwrap();
    assert_eq!(told["cluster-file"], text);
    assert!(text.contains("\n# From old/etc/keepalived/keepalived.conf:13\nvip = \"10.0.0.10\"\n"), "{text}");
}

#[test]
fn an_import_of_nothing_says_what_to_put_there() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("empty")).unwrap();
    let seen = ["empty", "nowhere"].map(|name| kiln_in(directory.path(), &["init", "--import", name]));
    insta::assert_snapshot!(seen.join("\n"), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: `empty` contains no text files

    hint: lay out the files as on the machines: `etc/keepalived/keepalived.conf`, `m1/etc/haproxy/haproxy.cfg`


    exit code: 2
    --- stdout
    --- stderr
    error: `nowhere` is not a directory

    hint: specify a directory that contains keepalived.conf, haproxy.cfg, unit files, …, laid out as on the machines
    ");
    assert!(!directory.path().join("cluster.toml").exists());
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(kiln_in(directory.path(), &["init", "--name", "Ber\"lin"]), @r#"
    exit code: 2
    --- stdout
    --- stderr
    error: `Ber\"lin` is not a valid name (at most 63 lower-case letters, digits and `-`; RFC 1123)

    hint: choose another `--name`
    "#);
    assert!(!directory.path().join("cluster.toml").exists());
}

#[test]
fn the_starting_file_of_every_profile_can_be_built() {
    for profile in json(&["list", "profiles"]).as_array().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let name = profile["name"].as_str().unwrap();
        assert_eq!(exit_code(directory.path(), &["init", "--profile", name]), 0);
        assert_eq!(exit_code(directory.path(), &["check"]), 0, "{name}");
    }
}
