//! All pointers in `docs/checklist.md` have existing targets.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The concatenated Rust files of a directory.
fn sources(directory: &str) -> String {
    let files = walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory))
        .into_iter()
        .map(Result::unwrap);
    files
        .filter(|file| file.path().extension().is_some_and(|end| end == "rs"))
        .map(|file| fs::read_to_string(file.path()).unwrap())
        .collect()
}

fn kiln(arguments: &[&str]) -> bool {
    Command::new(env!("CARGO_BIN_EXE_kiln")).args(arguments).output().unwrap().status.success()
}

/// The reason why a pointer is invalid, if it is.
fn dangling(pointer: &str, tests: &str) -> Option<&'static str> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (kind, name) = pointer.split_once(':').unwrap_or((pointer, ""));
    let exists = match kind {
        "profile" => project.join("profiles").join(name).join("profile.toml").is_file(),
        "overlay" => project.join("overlays").join(name).join("overlay.toml").is_file(),
        "doc" => project.join(name).is_file(),
        "lint" => kiln(&["check", "--explain", name]),
        "verb" => kiln(&[name, "--help"]),
        "test" => tests.contains(&format!("fn {name}()")),
        "open" => !name.trim().is_empty(),
        _ => return Some("of an unknown kind"),
    };
    (!exists).then_some("missing")
}

#[test]
fn every_item_of_the_checklist_points_to_something_that_is_there() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checklist.md")).unwrap();
    let tests = sources("tests") + &sources("src");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("---"))
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect())
        .collect();
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| row[1] != "article") {
        let [item, _, covered] = row[..] else { panic!("a row without three columns: {row:?}") };
        let pointers: Vec<&str> = covered.split('`').skip(1).step_by(2).collect();
        if pointers.is_empty() {
            wrong.push(format!("{item}: points to nothing"));
        }
        wrong.extend(
            pointers
                .iter()
                .filter_map(|pointer| Some(format!("{item}: `{pointer}` is {}", dangling(pointer, &tests)?))),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() > 80, "only {} rows were read", rows.len());
}
