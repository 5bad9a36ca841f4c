//! Golden files of every Kubernetes version: what the profile `ha` gives a control-plane node.
//!
//! The oldest version's file holds all that depends on the version; each later one what changed since the version before.

use std::collections::{BTreeMap, BTreeSet};

use similar::{ChangeTag, TextDiff};

use super::{cluster, rendered_with, vault};
use crate::cluster::{Cluster, KubernetesVersion};
use crate::pki::Pki;
use crate::tree::EntryKind;

/// Texts by path.
type Files = BTreeMap<String, String>;

/// The cluster of the other tests, with another Kubernetes.
pub(super) fn of_version(minor: u32) -> Cluster {
    Cluster { kubernetes: KubernetesVersion { major: 1, minor, patch: 0 }, ..cluster() }
}

/// The texts of the first control-plane node, without certificates, identities and keys.
fn files(minor: u32, pki: &Pki) -> Files {
    let cluster = Cluster { nodes: cluster().nodes.into_iter().take(3).collect(), ..of_version(minor) };
    let tree = rendered_with(&cluster, pki).swap_remove(0).1;
    let machine_id = cluster.nodes[0].machine_id(pki.cluster_id());
    let ours = tree.iter().filter(|(_, entry)| &*entry.origin != "pki");
    ours.filter_map(|(path, entry)| {
        let EntryKind::File(content) = &entry.kind else { return None };
        let text = String::from_utf8(content.read().unwrap()).unwrap();
        let text = text.replace(pki.cluster_id(), "CLUSTER-ID").replace(&machine_id, "MACHINE-ID");
        Some((path.to_string(), text.replace(pki.encryption_key(), "ENCRYPTION-KEY")))
    })
    .collect()
}

/// The paths whose text is not the same in all versions.
fn dependent(versions: &[(u32, Files)]) -> BTreeSet<&String> {
    let paths: BTreeSet<&String> = versions.iter().flat_map(|(_, files)| files.keys()).collect();
    let differs = |path: &&String| versions.windows(2).any(|pair| pair[0].1.get(*path) != pair[1].1.get(*path));
    paths.into_iter().filter(differs).collect()
}

/// Lines that are gone and lines that are new, below the path of each file that changed.
fn changes(before: &Files, after: &Files, paths: &BTreeSet<&String>) -> String {
    let nothing = String::new();
    let mut out = String::new();
    for path in paths.iter().filter(|path| before.get(**path) != after.get(**path)) {
        let (old, new) = (before.get(*path).unwrap_or(&nothing), after.get(*path).unwrap_or(&nothing));
        out.extend(["=== ", path, "\n"]);
        for change in TextDiff::from_lines(old, new).iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal) {
            let sign = if change.tag() == ChangeTag::Delete { "-" } else { "+" };
            out.extend([sign, change.value()]);
        }
    }
    if out.is_empty() { "nothing changed\n".to_owned() } else { out }
}

fn golden(minor: u32, text: &str) {
    insta::with_settings!({
        snapshot_path => "../../../tests/golden/ha/versions",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(format!("1.{minor:02}"), text);
    });
}

#[test]
fn every_version_gets_exactly_its_golden_files() {
    let pki = vault(&cluster());
    let versions: Vec<(u32, Files)> = KubernetesVersion::MINORS.map(|minor| (minor, files(minor, &pki))).collect();
    let paths = dependent(&versions);
    let (oldest, first) = &versions[0];
    golden(*oldest, &paths.iter().filter_map(|path| Some(format!("=== {path}\n{}", first.get(*path)?))).collect::<String>());
    for pair in versions.windows(2) {
        golden(pair[1].0, &changes(&pair[0].1, &pair[1].1, &paths));
    }
}

#[test]
fn no_file_of_any_version_names_what_that_version_lacks() {
    let pki = vault(&cluster());
    for (minor, files) in KubernetesVersion::MINORS.map(|minor| (minor, files(minor, &pki))) {
        for (path, text) in &files {
            assert!(!text.lines().any(|line| line == "null" || line.ends_with(": null")), "1.{minor}: {path} holds a null:\n{text}");
        }
        let named: BTreeSet<&str> = ["config", "audit-policy-file", "encryption-provider-config", "authentication-config"]
            .into_iter()
            .flat_map(|flag| files.values().flat_map(move |text| value_of(text, flag)))
            .collect();
        for path in named {
            assert!(files.contains_key(path), "1.{minor}: a flag names `{path}`, which no node has");
        }
    }
}

/// Each value of `--flag=` or `--experimental-flag=` in a unit.
fn value_of<'text>(text: &'text str, flag: &'static str) -> impl Iterator<Item = &'text str> {
    let arguments = text.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    arguments.filter_map(move |argument| argument.strip_prefix("experimental-").unwrap_or(argument).strip_prefix(flag)?.strip_prefix('='))
}
