//! Generated reference pages and the schema: up to date and consistent with each other.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::skip::skip;
use super::{command, edit, exit_code, json, kiln, text};

#[test]
fn the_versions_say_what_goes_with_which_kubernetes() {
    let seen = kiln(&["list", "versions"]);
    let lines = seen.lines().filter(|line| {
        ["KUBERNETES", "1.6 ", "1.20", "1.36", "SUITE", "trixie"].iter().any(|word| line.starts_with(word))
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    KUBERNETES  ETCD  CONTAINERD  DOCKER         CRI       CGROUPS  PAUSE   DNS
    1.6         3.1   -           20.10 to 28.5  v1alpha1  v1       3.1     kube-dns
    1.20        3.4   1.4 to 1.7  20.10 to 28.5  v1alpha2  v1, v2   3.2     CoreDNS 1.7.0
    1.36        3.6   2.2         -              v1        v2       3.10.2  CoreDNS 1.13.1
    SUITE     ETCD  CONTAINERD  DOCKER  CGROUPS
    trixie    3.5   1.7         26.1    v2
    ");
    let tables = json(&["list", "versions"]);
    let count = |table: &str| tables[table].as_array().unwrap().len();
    assert_eq!(count("kubernetes"), 31);
    let flag = |program: &str, name: &str| {
        let rows = tables["flags"].as_array().unwrap().iter();
        rows.filter(|row| row["program"] == program && row["flag"] == name).cloned().collect::<Vec<_>>()
    };
    let row = serde_json::json!({
        "program": "kubelet", "flag": "pod-infra-container-image",
        "since": null, "until": 28, "deprecated": 24, "removed": 35,
    });
    assert_eq!(flag("kubelet", "pod-infra-container-image"), [row]);
    assert_eq!(flag("kube-apiserver", "admission-control").len(), 3);
}

#[test]
fn the_reference_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster-file.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (by_hand, made) = written.split_at(written.find("-->\n").unwrap() + 4);
    let profile = include_str!("../../profiles/ha/profile.toml").parse::<toml::Table>().unwrap();
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

/// Returns the lint catalogue: a heading for each family, and a section for each lint.
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
            write!(
                text,
                "\n### {id}\n\n**{title}** ({severity}; looks at {looks_at})\n\nWhy: {why}.\n\nFix: {fix}.\n"
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn the_example_of_the_reference_can_be_built() {
    let text = include_str!("../../docs/cluster-file.md");
    let example = text.split("```").nth(1).unwrap().strip_prefix("toml\n").unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cluster.toml"), example).unwrap();
    assert_eq!(exit_code(directory.path(), &["check"]), 0);
}

/// Returns the reference of all sections and settings in the schema. Sections in the sample file come first,
/// in the same order.
fn reference(schema: &serde_json::Value, defaults: &toml::Value) -> String {
    let mut text = String::new();
    let sample = include_str!("../../profiles/ha/cluster.toml");
    let place = |name: &str| sample.find(&format!("[{name}]")).unwrap_or(usize::MAX);
    let mut sections: Vec<(&String, &serde_json::Value)> =
        schema["properties"].as_object().unwrap().iter().collect();
    sections.sort_by_key(|(name, _)| place(name));
    for (name, section) in sections {
        let about = section["description"].as_str().unwrap();
        let table = section.get("items").unwrap_or(section);
        if !table["properties"].is_object() {
            write!(text, "\n### `{name}`\n\n{about}: {}.\n", written_as(section)).unwrap();
            continue;
        }
        let title = if section["items"].is_object() { format!("[[{name}]]") } else { format!("[{name}]") };
        let about = table["description"].as_str().unwrap_or(about);
        write!(
            text,
            "\n### `{title}`\n\n{about}.\n\n| setting | written as | in `ha` | meaning |\n| --- | \
            --- | --- | --- |\n"
        )
        .unwrap();
        settings(table, "", defaults.get(name), &mut text);
    }
    text
}

#[test]
fn every_setting_of_the_schema_is_in_the_reference() {
    let (schema, text) = (json(&["schema"]), include_str!("../../docs/cluster-file.md"));
    for (name, section) in schema["properties"].as_object().unwrap() {
        let table = section.get("items").unwrap_or(section);
        let headings = [format!("### `{name}`"), format!("### `[{name}]`"), format!("### `[[{name}]]`")];
        let at = headings
            .iter()
            .find_map(|heading| text.find(heading.as_str()))
            .unwrap_or_else(|| panic!("no section of `{name}`"));
        let section = text[at + 4..].split("\n### ").next().unwrap();
        for key in table["properties"].as_object().into_iter().flat_map(|properties| properties.keys()) {
            assert!(section.contains(&format!("`{key}`")), "`{name}.{key}` is missing");
        }
    }
}

/// Appends a table row for each setting of a section, including nested settings.
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

/// Describes the values that a setting accepts.
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
        let missing = text(&output.stderr).contains("No module named");
        if missing { skip("the Python module `jsonschema`") } else { Some(text(&output.stdout)) }
    };
    let Some(found) = validate() else { return };
    assert_eq!(found, "[]\n");
    let wrong = [
        ("\"10.0.0.12\"", "\"10.0.0.x\""),
        ("\"1.20.2\"", "1.20"),
        ("[\"control-plane\"]", "[\"contrl-plane\"]"),
        ("gateway", "gatway"),
    ];
    edit(directory.path(), &wrong);
    assert_eq!(
        validate().unwrap(),
        "['$.cluster.kubernetes', '$.network', '$.nodes[0].roles[0]', '$.nodes[1].address']\n"
    );
}

#[test]
fn the_compiler_of_the_toolchain_file_is_the_one_that_the_manifest_requires() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap().parse::<toml::Table>().unwrap();
    let (manifest, toolchain) = (read("Cargo.toml"), read("rust-toolchain.toml"));
    let (required, channel) = (
        manifest["package"]["rust-version"].as_str().unwrap(),
        toolchain["toolchain"]["channel"].as_str().unwrap(),
    );
    assert_eq!(channel, format!("{required}.0"));
}
