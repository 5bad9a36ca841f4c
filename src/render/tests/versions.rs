//! Golden files of every Kubernetes version, for every built-in profile: the files of one node of each role
//! image.
//!
//! The oldest version's file contains everything that depends on the version; each later file contains the
//! changes since the previous version.

use std::collections::{BTreeMap, BTreeSet};

use similar::{ChangeTag, TextDiff};

use super::{cluster_file, resolved, vault};
use crate::cluster::{self, Cluster};
use crate::overlay::Overlays;
use crate::pki::Pki;
use crate::profile::Catalog;
use crate::profile::tests::read;
use crate::render;
use crate::tree::EntryKind;
use crate::words::KubernetesVersion;

/// Texts by node and path.
type Files = BTreeMap<String, String>;

/// Returns the cluster file with a different Kubernetes version.
fn with_version(text: &str, minor: u32) -> String {
    assert!(text.contains("kubernetes = \"1.20.2\""), "{text}");
    text.replacen("1.20.2", &format!("1.{minor}.0"), 1)
}

/// Returns the cluster of the other tests with a different Kubernetes version.
pub(super) fn of_version(minor: u32) -> Cluster {
    resolved(&with_version(&cluster_file(), minor))
}

/// The texts of the first node of each role image, without certificates, identities and keys.
fn files(cluster: &Cluster, pki: &Pki) -> Files {
    let overlays = Overlays::load(&[]).unwrap();
    let mut files = Files::new();
    for node in cluster.images().values().map(|nodes| nodes[0]) {
        let machine_id = node.machine_id(pki.cluster_id());
        for (path, entry) in render::node(cluster, node, pki, &overlays)
            .unwrap()
            .iter()
            .filter(|(_, entry)| &*entry.origin != "pki")
        {
            let EntryKind::File(content) = &entry.kind else { continue };
            let text = String::from_utf8(content.read().unwrap()).unwrap();
            let text = text.replace(pki.cluster_id(), "CLUSTER-ID").replace(&machine_id, "MACHINE-ID");
            files.insert(
                format!("{}:{path}", node.name),
                text.replace(pki.encryption_key(), "ENCRYPTION-KEY"),
            );
        }
    }
    files
}

/// Returns a profile's files for every Kubernetes version that it supports, oldest first.
fn versions(text: &str) -> Vec<(u32, Files)> {
    let pki = vault(&resolved(text));
    let first = KubernetesVersion::MINORS
        .into_iter()
        .find(|minor| cluster::resolve(&read(&with_version(text, *minor))).is_ok());
    let minors = first.unwrap()..=*KubernetesVersion::MINORS.end();
    minors.map(|minor| (minor, files(&resolved(&with_version(text, minor)), &pki))).collect()
}

/// The built-in profiles and their starting files.
fn profiles() -> Vec<(String, String)> {
    let catalog = Catalog::load(&[]).unwrap();
    catalog
        .names()
        .map(|name| (name.to_owned(), catalog.get(name).unwrap().unwrap().starting_file.to_string()))
        .collect()
}

/// Returns the paths whose text differs between versions.
fn dependent(versions: &[(u32, Files)]) -> BTreeSet<&String> {
    let paths: BTreeSet<&String> = versions.iter().flat_map(|(_, files)| files.keys()).collect();
    let differs =
        |path: &&String| versions.windows(2).any(|pair| pair[0].1.get(*path) != pair[1].1.get(*path));
    paths.into_iter().filter(differs).collect()
}

/// Returns removed and added lines, below the path of each changed file.
fn changes(before: &Files, after: &Files, paths: &BTreeSet<&String>) -> String {
    let nothing = String::new();
    let mut out = String::new();
    for path in paths.iter().filter(|path| before.get(**path) != after.get(**path)) {
        let (old, new) = (before.get(*path).unwrap_or(&nothing), after.get(*path).unwrap_or(&nothing));
        out.extend(["=== ", path, "\n"]);
        for change in TextDiff::from_lines(old, new)
            .iter_all_changes()
            .filter(|change| change.tag() != ChangeTag::Equal)
        {
            let sign = if change.tag() == ChangeTag::Delete { "-" } else { "+" };
            out.extend([sign, change.value()]);
        }
    }
    if out.is_empty() { "nothing changed\n".to_owned() } else { out }
}

fn golden(profile: &str, minor: u32, text: &str) {
    insta::with_settings!({
        snapshot_path => format!("../../../tests/golden/{profile}/versions"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(format!("1.{minor:02}"), text);
    });
}

#[test]
fn every_version_gets_exactly_its_golden_files() {
    for (profile, text) in profiles() {
        let versions = versions(&text);
        let paths = dependent(&versions);
        let (oldest, first) = &versions[0];
        // kube-vip needs leases, which are GA since 1.14.
        assert_eq!(
            *oldest,
            if profile == "kube-vip" { 14 } else { *KubernetesVersion::MINORS.start() },
            "{profile}"
        );
        let whole = paths.iter().filter_map(|path| Some(format!("=== {path}\n{}", first.get(*path)?)));
        golden(&profile, *oldest, &whole.collect::<String>());
        for pair in versions.windows(2) {
            golden(&profile, pair[1].0, &changes(&pair[0].1, &pair[1].1, &paths));
        }
    }
}

#[test]
fn no_file_of_any_version_names_what_that_version_lacks() {
    for (minor, files) in versions(&cluster_file()) {
        for (path, text) in &files {
            assert!(
                !text.lines().any(|line| line == "null" || line.ends_with(": null")),
                "1.{minor}: {path} holds a null:\n{text}"
            );
        }
        for (path, text) in
            files.iter().filter(|(path, _)| path.starts_with("m1:") && path.ends_with(".service"))
        {
            for file in text.split_whitespace().filter_map(configuration) {
                assert!(
                    files.contains_key(&format!("m1:{file}")),
                    "1.{minor}: {path} names `{file}`, which the node lacks"
                );
            }
        }
    }
}

/// Returns the configuration file that an argument names, if any.
fn configuration(argument: &str) -> Option<&str> {
    let (_, file) = argument.strip_prefix("--")?.split_once('=')?;
    Some(file).filter(|file| file.starts_with("/etc/kubernetes/") && file.ends_with(".yaml"))
}
