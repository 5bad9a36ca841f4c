//! Dependencies between the crate's top-level modules, its rooms, go in one direction: `cli → pipeline → the
//! rooms of the build → values and formats → host → error`.
//!
//! A new dependency fails this test first, so that it is added deliberately: extend the table in the change
//! that needs it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

#[allow(unreachable_pub, reason = "two programs share it")]
#[path = "../common/source.rs"]
mod source;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use uses::{Crate, Names};

/// The rooms that each room may use besides `error`, `digest`, `progress` and itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("digest", &[]),
    ("progress", &[]),
    ("host", &[]),
    ("yaml", &[]),
    ("words", &[]),
    ("config", &["words"]),
    // Tests only.
    ("judge", &["host"]),
    ("tree", &["host"]),
    ("store", &["host"]),
    ("base", &["host", "store", "tree", "words"]),
    ("disk", &["host", "tree"]),
    ("overlay", &["host", "tree", "words"]),
    ("profile", &["host", "words"]),
    ("cluster", &["profile", "words"]),
    ("segment", &["cluster", "host", "words"]),
    ("pki", &["cluster", "host", "tree", "words", "yaml"]),
    ("lint", &["cluster", "config", "overlay", "pki", "profile", "segment", "words"]),
    ("plan", &["cluster", "config", "overlay", "pki", "render", "words"]),
    ("render", &["cluster", "overlay", "pki", "tree", "words", "yaml"]),
    ("seed", &["cluster", "disk", "tree"]),
    ("output", &["base", "cluster", "disk", "host", "overlay", "seed", "store", "tree", "words", "yaml"]),
    ("agent", &["cluster", "disk", "host", "seed", "segment", "tree", "words"]),
    ("lab", &["cluster", "disk", "host", "output", "words"]),
    ("import", &["config", "host", "lint", "profile", "words"]),
    (
        "pipeline",
        &[
            "base", "cluster", "config", "disk", "host", "lint", "output", "overlay", "pki", "profile",
            "render", "seed", "store", "tree", "words",
        ],
    ),
];

/// Rooms that may use every other room.
const FREE: &[&str] = &["cli", "fuzz", "lib", "main"];

/// Rooms that every room may use without an entry in the table.
const SHARED: &[&str] = &["error", "digest", "progress"];

/// Reads the crate's modules.
fn kiln() -> Crate {
    Crate::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
}

/// Returns each dependency between two rooms, with one place where it occurs.
fn arrows(kiln: &Crate) -> BTreeMap<(String, String), String> {
    let room = |names: &Names| names.first().cloned().unwrap_or_else(|| "lib".to_owned());
    let between = |(from, to): (&Names, Names)| {
        ((room(from), room(&to)), format!("{} -> {}", from.join("::"), to.join("::")))
    };
    kiln.uses()
        .into_iter()
        .map(between)
        .filter(|((from, to), _)| from != to && !FREE.contains(&from.as_str()))
        .collect()
}

#[test]
fn every_arrow_between_rooms_is_in_the_table() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let is_new = |(from, to): &(String, String)| {
        let is_allowed = allowed.get(from.as_str()).is_some_and(|uses| uses.contains(&to.as_str()));
        !(is_allowed || SHARED.contains(&to.as_str()) && allowed.contains_key(from.as_str()))
    };
    let new: Vec<String> =
        arrows(&kiln()).into_iter().filter(|(arrow, _)| is_new(arrow)).map(|(_, place)| place).collect();
    assert!(new.is_empty(), "dependencies that the table does not allow:\n{}", new.join("\n"));
}

#[test]
fn every_arrow_of_the_table_is_used() {
    let used = arrows(&kiln());
    let all =
        ARROWS.iter().flat_map(|(from, uses)| uses.iter().map(|to| ((*from).to_owned(), (*to).to_owned())));
    let unused: Vec<String> =
        all.filter(|arrow| !used.contains_key(arrow)).map(|(from, to)| format!("{from} -> {to}")).collect();
    assert!(unused.is_empty(), "unused dependencies in the table:\n{}", unused.join("\n"));
}

#[test]
fn no_arrows_make_a_circle() {
    let kiln = kiln();
    let mut circles = Vec::new();
    // Checks the rooms first, then the sibling modules of each directory.
    for parent in kiln.directories() {
        let inside = |names: &Names| {
            (names.len() > parent.len() && names.starts_with(&parent)).then(|| names[parent.len()].clone())
        };
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in kiln.uses() {
            if let (Some(from), Some(to)) = (inside(from), inside(&to))
                && from != to
                && [&from, &to].iter().all(|name| {
                    parent.is_empty() || kiln.is_directory(&[&parent[..], &[(*name).clone()]].concat())
                })
            {
                arrows.entry(from).or_default().insert(to);
            }
        }
        circles.extend(
            arrows
                .keys()
                .filter_map(|start| circle(&arrows, start))
                .map(|way| format!("{}: {way}", parent.join("::"))),
        );
    }
    assert!(circles.is_empty(), "circular dependencies:\n{}", circles.join("\n"));
}

/// Returns a path from a name back to itself, if there is one.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>, start: &str) -> Option<String> {
    let (mut ways, mut seen) = (vec![vec![start.to_owned()]], BTreeSet::new());
    while let Some(way) = ways.pop() {
        for next in arrows.get(way.last()?).into_iter().flatten() {
            if next == start {
                return Some([&way[..], std::slice::from_ref(next)].concat().join(" -> "));
            }
            if seen.insert(next.clone()) {
                ways.push([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// Checks which module each notation for naming another module refers to.
#[test]
fn a_use_is_seen_however_it_is_written() {
    let named = |text: &str| {
        let mut kiln = Crate::of(&["cli", "cluster", "lab", "lab::spec", "disk", "disk::guid"]);
        kiln.add(vec!["lab".into()], "mod spec;\npub(crate) use spec::Lab;");
        kiln.add(vec!["disk".into(), "guid".into()], text);
        let uses = kiln.uses();
        uses.into_iter()
            .filter(|(from, _)| from.len() == 2)
            .map(|(_, to)| to.join("::"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(named("use crate::{cli, cluster};"), "cli cluster");
    assert_eq!(named("use crate::{cli::{self, Verb as Word}, cluster::resolve};"), "cli cluster");
    assert_eq!(named("use super::super::cluster::*;"), "cluster");
    assert_eq!(named("fn f() { crate::cluster::resolve::<u8>(); }"), "cluster");
    assert_eq!(
        named("fn f() -> impl Fn(&crate::cluster::Node) { assert!(crate::cli::is(1), \"{}\", 2) }"),
        "cli cluster"
    );
    assert_eq!(named("use crate::lab::Lab;"), "lab::spec", "the module that defines it");
    assert_eq!(named("use crate as kiln;"), "");
    assert_eq!(named("#[cfg(test)]\nmod tests { use crate::cli; }\n#[cfg(test)]\nuse crate::cluster;"), "");
}
