//! What a person sees: exit code, stdout and stderr of the program itself.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs kiln in `directory` and returns what a person would see. Nothing of this machine's environment leaks in.
fn kiln_in(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory, arguments).output().unwrap();
    let mut seen = String::new();
    writeln!(seen, "exit code: {}", output.status.code().unwrap()).unwrap();
    writeln!(seen, "--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr)).unwrap();
    seen.replace(&directory.display().to_string(), "DIRECTORY")
}

fn kiln(arguments: &[&str]) -> String {
    kiln_in(tempfile::tempdir().unwrap().path(), arguments)
}

/// What kiln prints as JSON.
fn json(arguments: &[&str]) -> serde_json::Value {
    let directory = tempfile::tempdir().unwrap();
    let output = command(directory.path(), arguments).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn exit_code(directory: &Path, arguments: &[&str]) -> i32 {
    command(directory, arguments).output().unwrap().status.code().unwrap()
}

/// Replaces texts in the directory's cluster file; each must be there.
fn edit(directory: &Path, replacements: &[(&str, &str)]) {
    let path = directory.join("cluster.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "no {from:?} in the starting file");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(path, text).unwrap();
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(arguments).current_dir(directory).env_clear().env("HOME", directory).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_misspelt_verb_is_a_usage_error_that_names_the_right_one() {
    insta::assert_snapshot!(kiln(&["completion", "bash"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: unrecognized subcommand 'completion'

      tip: a similar subcommand exists: 'completions'

    Usage: kiln [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn a_file_that_is_not_there_says_how_to_get_one() {
    insta::assert_snapshot!(kiln(&["check"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: there is no cluster file `cluster.toml`

    hint: run `kiln init` to write one, or name yours with `--file`
    ");
}

#[test]
fn a_file_that_is_no_text_is_the_users_fault() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cluster.toml"), b"profile = \"ha\"\n# \xff\n").unwrap();
    insta::assert_snapshot!(kiln_in(directory.path(), &["check"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: line 2 of `cluster.toml` is not UTF-8

    hint: save the file as UTF-8
    ");
}

#[test]
fn an_unknown_profile_says_where_to_look() {
    insta::assert_snapshot!(kiln(&["init", "--profile", "nope"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: no profile named `nope`

    hint: run `kiln list profiles` to see the built-in ones
    ");
}

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
    error: `cluster.toml` exists and is not overwritten

    hint: name another with `--output`, or replace it with `--force`
    ");
    let text = std::fs::read_to_string(directory.path().join("cluster.toml")).unwrap();
    assert!(text.contains("\nname = \"berlin\"\n"));
}

/// What the articles say in prose and tables, as the inventory of whoever follows them: an article's files, and the errors and
/// warnings that the cluster file really has.
const IMPORTS: &[(&str, &str, &[&str])] = &[
    (
        "000-keepalived",
        "[all:vars]\nk8s_version=1.9.6\n[master]\nvm1 ansible_host=192.168.115.5\nvm2 ansible_host=192.168.115.6\n\
         [node]\nvm2\nvm3 ansible_host=192.168.115.7\n",
        &["HA006", "HA011", "HA012", "HA219", "HA226", "HA228", "HA342"],
    ),
    (
        "000-haproxy",
        "[all:vars]\nk8s_version=1.9.6\n[master]\nvm1 ansible_host=192.168.115.5\nvm2 ansible_host=192.168.115.6\n",
        &["HA010", "HA011", "HA219", "HA226", "HA228"],
    ),
    ("001", "[all:vars]\nk8s_version=1.6.0\nvip=1.1.1.9\n", &["network.nodes"]),
    (
        "002",
        "[all:vars]\nvip=192.168.109.200\n[etcd]\nmaster01\nnode01\nnode02\n[lb]\nlb01 ansible_host=192.168.109.135\n\
         lb02 ansible_host=192.168.109.137\n",
        &["HA011", "HA012"],
    ),
    (
        "003",
        "[master]\nm1 ansible_host=172.38.40.1\nm2 ansible_host=172.38.40.2\nm3 ansible_host=172.38.40.3\n",
        &["HA008", "HA228", "HA342"],
    ),
    (
        "004",
        "[all:vars]\nk8s_version=1.18.8\nvip=192.168.0.40\n[master]\nm1 ansible_host=192.168.0.41\nm2 ansible_host=192.168.0.42\n\
         m3 ansible_host=192.168.0.43\n",
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
        let problems = told["problems"].as_array().unwrap().iter().filter(|problem| problem["severity"] != "info");
        let codes: std::collections::BTreeSet<_> =
            problems.map(|problem| problem["code"].as_str().or(problem["field"].as_str()).unwrap().to_owned()).collect();
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
    let keepalived = "global_defs {\n  enable_script_security\n  script_user root\n}\nvrrp_instance api {\n  state BACKUP\n  nopreempt\n  \
                      virtual_router_id 51\n  unicast_peer {\n    10.0.0.12\n  }\n  virtual_ipaddress {\n    10.0.0.10/32\n  }\n}\n";
    std::fs::write(directory.path().join("old/etc/keepalived/keepalived.conf"), keepalived).unwrap();
    insta::assert_snapshot!(kiln_in(directory.path(), &["init", "--import", "old"]), @r"
    exit code: 0
    --- stdout
    --- stderr
    warning[HA311]: VRRP router identifier 51 is probably used by somebody else too
     --> old/etc/keepalived/keepalived.conf:8:21
      |
    8 |   virtual_router_id 51
      |                     ^^
      |
      = hint: leave `virtual-router-id` out: it is then the last byte of the VIP

    files read: 1; problems found in them: 1
    wrote `cluster.toml`; decide what no file says, then run `kiln check --file cluster.toml`
    ");
    let output = command(directory.path(), &["init", "--import", "old", "--output", "-", "--json"]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let place = |problem: &serde_json::Value| format!("{} {} {}", problem["code"], problem["file"], problem["line"]);
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
    error: `empty` holds no text file

    hint: put the files there as they lie on the machines: `etc/keepalived/keepalived.conf`, `m1/etc/haproxy/haproxy.cfg`


    exit code: 2
    --- stdout
    --- stderr
    error: `nowhere` is not a directory

    hint: give a directory that holds keepalived.conf, haproxy.cfg, unit files, …, as they lie on the machines
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
    error: `Ber\"lin` is not a name of lower-case letters, digits and `-`, 63 at most (RFC 1123)

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

#[test]
fn the_versions_say_what_goes_with_which_kubernetes() {
    let seen = kiln(&["list", "versions"]);
    let lines =
        seen.lines().filter(|line| ["KUBERNETES", "1.6 ", "1.20", "1.36", "SUITE", "trixie"].iter().any(|word| line.starts_with(word)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    KUBERNETES  ETCD  CONTAINERD  CRI       CGROUPS  PAUSE   DNS
    1.6         3.1   -           v1alpha1  v1       3.1     kube-dns
    1.20        3.4   1.4 to 1.7  v1alpha2  v1, v2   3.2     CoreDNS 1.7.0
    1.36        3.6   2.2         v1        v2       3.10.2  CoreDNS 1.13.1
    SUITE     ETCD  CONTAINERD  CGROUPS
    trixie    3.5   1.7         v2
    ");
    let tables = json(&["list", "versions"]);
    let count = |table: &str| tables[table].as_array().unwrap().len();
    assert_eq!(count("kubernetes"), 31);
    let flag = |program: &str, name: &str| {
        let rows = tables["flags"].as_array().unwrap().iter();
        rows.filter(|row| row["program"] == program && row["flag"] == name).cloned().collect::<Vec<_>>()
    };
    let row = serde_json::json!({
        "program": "kubelet", "flag": "pod-infra-container-image", "since": null, "until": 34, "deprecated": 24, "removed": 35,
    });
    assert_eq!(flag("kubelet", "pod-infra-container-image"), [row]);
    assert_eq!(flag("kube-apiserver", "admission-control").len(), 3);
}

#[test]
fn the_reference_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster-file.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (by_hand, made) = written.split_at(written.find("-->\n").unwrap() + 4);
    let profile = include_str!("../profiles/ha/profile.toml").parse::<toml::Table>().unwrap();
    let current = reference(&json(&["schema"]), &profile["defaults"]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{by_hand}{current}")).unwrap();
    } else {
        assert_eq!(made, current, "run `UPDATE_DOCS=1 cargo test --test cli reference`");
    }
}

#[test]
fn the_catalogue_of_lints_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lints.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (by_hand, made) = written.split_at(written.find("-->\n").unwrap() + 4);
    let current = catalogue(json(&["list", "lints"]).as_array().unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{by_hand}{current}")).unwrap();
    } else {
        assert_eq!(made, current, "run `UPDATE_DOCS=1 cargo test --test cli catalogue`");
    }
}

/// A section for each lint, below a heading for each family.
fn catalogue(lints: &[serde_json::Value]) -> String {
    const FAMILIES: [(&str, &str); 5] = [
        ("HA0", "Topology and networks"),
        ("HA1", "Keys and certificates"),
        ("HA2", "Components and versions"),
        ("HA3", "Balancers and VIPs"),
        ("HA4", "The machine below"),
    ];
    let mut text = String::new();
    for (prefix, family) in FAMILIES {
        write!(text, "\n## {family}\n").unwrap();
        for lint in lints.iter().filter(|lint| lint["id"].as_str().unwrap().starts_with(prefix)) {
            let [id, severity, title, why, fix, looks_at] =
                ["id", "severity", "title", "why", "fix", "looks-at"].map(|key| lint[key].as_str().unwrap());
            write!(text, "\n### {id}\n\n**{title}** ({severity}; looks at {looks_at})\n\nWhy: {why}.\n\nFix: {fix}.\n").unwrap();
        }
    }
    text
}

#[test]
fn the_example_of_the_reference_can_be_built() {
    let text = include_str!("../docs/cluster-file.md");
    let example = text.split("```").nth(1).unwrap().strip_prefix("toml\n").unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cluster.toml"), example).unwrap();
    assert_eq!(exit_code(directory.path(), &["check"]), 0);
}

/// Every table of a cluster file with its settings, as the schema describes them.
fn reference(schema: &serde_json::Value, defaults: &toml::Value) -> String {
    const ORDER: [&str; 9] = ["cluster", "network", "endpoint", "nodes", "vault", "base", "binaries", "images", "outputs"];
    let mut text = String::new();
    for name in ORDER {
        let section = &schema["properties"][name];
        let (title, section) = match section.get("items") {
            Some(items) => (format!("[[{name}]]"), items),
            None => (format!("[{name}]"), section),
        };
        let about = section["description"].as_str().unwrap();
        write!(text, "\n### `{title}`\n\n{about}.\n\n| setting | written as | in `ha` | meaning |\n| --- | --- | --- | --- |\n").unwrap();
        settings(section, "", defaults.get(name), &mut text);
    }
    text
}

fn settings(section: &serde_json::Value, prefix: &str, defaults: Option<&toml::Value>, text: &mut String) {
    for (key, setting) in section["properties"].as_object().unwrap() {
        let table = defaults.map(|defaults| defaults.get(0).unwrap_or(defaults));
        let default = table.and_then(|table| table.get(key));
        let default = default.map_or(String::new(), |default| format!("`{default}`"));
        let about = setting["description"].as_str().unwrap();
        writeln!(text, "| `{prefix}{key}` | {} | {default} | {about} |", written_as(setting)).unwrap();
        if setting["properties"].is_object() {
            settings(setting, &format!("{prefix}{key}."), None, text);
        }
    }
}

fn written_as(setting: &serde_json::Value) -> String {
    let listed = setting["enum"].as_array().into_iter().flatten();
    let described = setting["oneOf"].as_array().into_iter().flatten().map(|one| &one["const"]);
    let words: Vec<String> = listed.chain(described).map(|word| format!("`{word}`")).collect();
    match setting["type"].as_str() {
        _ if !words.is_empty() => words.join(" "),
        Some("array") => format!("list: {}", written_as(&setting["items"])),
        Some("object") => "table".to_owned(),
        Some("integer") => format!("{} to {}", setting["minimum"], setting["maximum"]),
        Some("boolean") => "`true` or `false`".to_owned(),
        _ => setting["examples"].get(0).map_or("text".to_owned(), |example| format!("`{example}`")),
    }
}

#[test]
fn an_independent_validator_agrees_with_the_schema() {
    const VALIDATE: &str = "import json, sys, tomllib\nfrom jsonschema import Draft202012Validator as V\n\
        schema = json.load(open(sys.argv[1]))\nV.check_schema(schema)\n\
        print(sorted(e.json_path for e in V(schema).iter_errors(tomllib.load(open(sys.argv[2], 'rb')))))";
    let directory = tempfile::tempdir().unwrap();
    let schema = command(directory.path(), &["schema"]).output().unwrap().stdout;
    std::fs::write(directory.path().join("schema.json"), schema).unwrap();
    exit_code(directory.path(), &["init"]);
    let validate = || {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-W", "ignore", "-c", VALIDATE, "schema.json", "cluster.toml"]);
        let output = python.current_dir(directory.path()).output().unwrap();
        if !output.status.success() && std::env::var("CI").as_deref() != Ok("true") {
            eprintln!("SKIPPED a judgement: {}", text(&output.stderr));
            return None;
        }
        Some(text(&output.stdout))
    };
    let Some(found) = validate() else { return };
    assert_eq!(found, "[]\n");
    let wrong =
        [("\"10.0.0.12\"", "\"10.0.0.x\""), ("\"1.20.2\"", "1.20"), ("[\"control-plane\"]", "[\"contrl-plane\"]"), ("gateway", "gatway")];
    edit(directory.path(), &wrong);
    assert_eq!(validate().unwrap(), "['$.cluster.kubernetes', '$.network', '$.nodes[0].roles[0]', '$.nodes[1].address']\n");
}

#[test]
fn check_tells_every_problem_at_once() {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    edit(directory.path(), &[("10.0.0.12", "10.0.0.300"), ("address = \"10.0.0.13\"", "adress = \"10.0.0.13\""), ("\"1.20.2\"", "1.20")]);
    insta::assert_snapshot!(kiln_in(directory.path(), &["check"]), @r#"
    exit code: 2
    --- stdout
    --- stderr
    error[cluster.kubernetes]: `kubernetes` is a number, and should be text in quotes
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
       = hint: write it like `"10.0.0.10"`

    error[nodes[2].adress]: `adress` is no setting of `nodes[2]`
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
    edit(directory.path(), &[("# port = 8443", "virtual-router-id = 51 # kiln: allow HA311 because the segment is ours")]);
    insta::assert_snapshot!(kiln_in(directory.path(), &["check"]), @r#"
    exit code: 0
    --- stdout
    --- stderr
    info[HA405]: no time server is set
     --> cluster.toml:8:11
      |
    8 | profile = "ha"
      |           ^^^^
      |
      = hint: name one: `ntp = ["pool.ntp.org"]`

    info[HA311]: VRRP router identifier 51 is probably used by somebody else too
      --> cluster.toml:30:21
       |
    30 | virtual-router-id = 51 # kiln: allow HA311 because the segment is ours
       |                     ^^
       |
       = hint: accepted because the segment is ours

    `cluster.toml` can be built: 0 warnings, 2 remarks
    "#);
}

/// A cluster file and an overlay of the user's own that brings a known mistake, in a template.
fn site_with_a_mistake() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    exit_code(directory.path(), &["init"]);
    let overlay = directory.path().join("site/mail");
    std::fs::create_dir_all(overlay.join("rootfs/etc/keepalived")).unwrap();
    std::fs::write(overlay.join("overlay.toml"), "summary = \"ours\"\n").unwrap();
    let script = "#!/bin/sh\n# {{ node.name }}\ncurl -s --max-time 1 https://{{ node.address }}:8443/ || exit 1\n";
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
    info[HA405]: no time server is set
     --> cluster.toml:8:11
      |
    8 | profile = "ha"
      |           ^^^^
      |
      = hint: name one: `ntp = ["pool.ntp.org"]`

    error[HA302]: curl without `-f` succeeds whatever the server answers
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
    assert!(seen.starts_with("exit code: 0") && seen.contains("accepted because it is a page of ours"), "{seen}");
}

#[test]
fn code_hosts_get_sarif_whatever_the_outcome() {
    let directory = site_with_a_mistake();
    let mut check = command(directory.path(), &["check", "--overlay-dir", "site", "--format", "sarif"]);
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &log["runs"][0]["results"][1];
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
    HA010 (refuses to build): the number of etcd members gives no fault tolerance

    Why:   etcd needs more than half of its members: two tolerate no failure, four no more than three; an even number only adds a machine that can fail
    Fix:   use 3 members, or 5
    Looks: at the cluster file and the nodes' files
    See:   docs/lints.md#ha010

    Accept it with a comment in the cluster file:
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
          "hint": "write it like `\"10.0.0.10\"`",
          "line": 44,
          "message": "`10.0.0.300` is not an IP address",
          "severity": "error",
          "span": [
            1421,
            1433
          ]
        }
      ]
    }
    --- stderr
    "#);
}

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
    failover  within 3.1 s after the machine that holds the VIP dies
    quorum    3 etcd members, 2 must live, 1 may fail
    capacity  256 nodes, 254 pod addresses on each, 1048574 services, 2768 node ports
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
    there is no vault at `vault`: certificates are left out, and identifiers that follow from it are examples
    ");
    insta::assert_snapshot!(kiln_in(directory.path(), &["render", "m2", "/etc/kubernetes/encryption.yaml", "--quiet"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: `/etc/kubernetes/encryption.yaml` holds a secret

    hint: add `--secrets` to see it
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
    there is no vault at `vault`: certificates are left out, and identifiers that follow from it are examples
    error: `m1` exists and is not empty

    hint: name another directory with `--out`
    ");
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn colour_is_a_matter_of_terminals_and_of_asking() {
    let coloured = |arguments: &[&str]| kiln(arguments).contains('\x1b');
    assert!(!coloured(&["check"]));
    assert!(coloured(&["check", "--color", "always"]));
    assert!(!coloured(&["check", "--color", "never"]));
}

#[test]
fn every_shell_gets_completions_and_every_verb_is_in_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = kiln(&["completions", shell]);
        for verb in ["init", "check", "plan", "render", "list", "doctor", "pki", "schema"] {
            assert!(script.contains(verb), "{shell} does not complete {verb}");
        }
    }
}

#[test]
fn a_full_disk_under_stdout_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(directory.path(), &["schema"]).stdout(full).output().unwrap();
    let told = "error: writing to stdout: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(3), told));
}

#[test]
fn a_second_interrupt_ends_even_what_waits_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("cluster.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut child = command(directory.path(), &["check"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let code = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let _ = Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status();
        child.try_wait().unwrap()
    });
    // The first signals may come before kiln listens: the kernel's own end is then the right one.
    let ended = code.expect("two interrupts end kiln");
    assert!(ended.code() == Some(130) || std::os::unix::process::ExitStatusExt::signal(&ended) == Some(2), "{ended:?}");
}

#[test]
fn help_comes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let times = (0..20).map(|_| {
        let start = std::time::Instant::now();
        assert_eq!(exit_code(directory.path(), &["--help"]), 0);
        start.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best < std::time::Duration::from_millis(25), "{best:?}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = command(directory.path(), &["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
