//! Arrows between rooms point one way: `cli → pipeline → the rooms of the story → values and formats → host → error`.
//!
//! A new arrow fails here first, so that it is drawn on purpose: add it to the table with the change that needs it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use besides `error`, `digest`, `progress` and itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("digest", &[]),
    ("progress", &[]),
    ("host", &[]),
    ("yaml", &[]),
    // Tests only.
    ("judge", &["host"]),
    ("tree", &["host"]),
    ("store", &["host"]),
    ("overlay", &["host", "tree", "base"]),
    ("base", &["cluster", "host", "tree", "store"]),
    ("disk", &["host", "tree"]),
    ("cluster", &["profile"]),
    ("profile", &["cluster", "host"]),
    ("segment", &["cluster", "host"]),
    ("lint", &["cluster", "profile", "overlay", "pki", "segment", "host"]),
    ("plan", &["cluster", "lint", "overlay", "pki", "render"]),
    ("pki", &["cluster", "host", "tree", "yaml"]),
    ("render", &["base", "cluster", "overlay", "pki", "tree", "host", "yaml"]),
    ("seed", &["cluster", "disk", "host", "tree"]),
    ("output", &["base", "cluster", "disk", "host", "overlay", "render", "seed", "store", "tree", "yaml"]),
    ("agent", &["cluster", "disk", "host", "seed", "segment", "tree"]),
    ("lab", &["cluster", "disk", "host", "output", "seed", "store", "tree"]),
    ("pipeline", &["base", "cluster", "disk", "host", "lint", "output", "overlay", "pki", "profile", "render", "seed", "store", "tree"]),
];

/// May use every room.
const FREE: &[&str] = &["cli", "lib", "main"];

#[test]
fn every_arrow_between_rooms_is_in_the_table() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS.iter().map(|(room, uses)| (*room, uses.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let room = room(&file);
        if FREE.contains(&room.as_str()) || is_test(&file) {
            continue;
        }
        let Some(allowed) = allowed.get(room.as_str()) else {
            wrong.push(format!("the room `{room}` is not in the table"));
            continue;
        };
        for used in uses(&production(&fs::read_to_string(&file).unwrap())) {
            let shared = ["error", "digest", "progress"].contains(&used.as_str());
            if used != room && !shared && !allowed.contains(used.as_str()) {
                wrong.push(format!("{room} -> {used} in {}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the table does not allow:\n{}", wrong.join("\n"));
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `src/lab/qemu.rs` lies in `lab`, `src/digest.rs` in `digest`.
fn room(file: &Path) -> String {
    let relative = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Whether a file is a room's tests and nothing else.
fn is_test(file: &Path) -> bool {
    file.iter().any(|part| part == "tests")
        || file.file_name().is_some_and(|name| name == "tests.rs" || name.to_string_lossy().starts_with("judged_by_"))
}

/// A file without its tests, which stand at its end.
fn production(text: &str) -> String {
    let tests =
        text.match_indices("#[cfg(test)]\n").find(|(at, _)| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with("mod tests {")));
    text[..tests.map_or(text.len(), |(at, _)| at)].to_owned()
}

fn uses(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    code.flat_map(|line| line.split("crate::").skip(1).map(word).collect::<Vec<_>>()).filter(|name| !name.is_empty()).collect()
}
