//! For each lint of files, files that trip it and files that do not.
//!
//! The tables are text: `# HA301`, then `--- bad` and `--- good`, then files after `== machine:/path`. `---
//! bad 1.36 3.6` says for which Kubernetes and etcd; 1.20 and 3.5 by default. `== m1:/path 0644` gives a
//! mode.

use std::fmt::Write as _;
use std::sync::Arc;

use super::certificates;
use crate::config::{File, Machine, Target};
use crate::error::{Problem, Source};
use crate::lint::{LINTS, check_files};

const TABLES: [&str; 9] = [
    include_str!("HA0.txt"),
    include_str!("HA1.txt"),
    include_str!("HA2.txt"),
    include_str!("HA3.txt"),
    include_str!("HA4.txt"),
    include_str!("spellings-0.txt"),
    include_str!("spellings-12.txt"),
    include_str!("spellings-34.txt"),
    include_str!("spellings-23.txt"),
];

/// One set of files.
pub(super) struct Example {
    pub(super) id: String,
    pub(super) bad: bool,
    pub(super) target: Target,
    pub(super) machines: Vec<Machine>,
}

fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for section in TABLES.iter().flat_map(|table| table.split("\n# HA").skip(1)) {
        let (number, sets) = section.split_once('\n').unwrap();
        for set in format!("\n{sets}").split("\n--- ").skip(1) {
            let (head, files) = set.split_once('\n').unwrap();
            let mut words = head.split_whitespace();
            let bad = match words.next() {
                Some("bad") => true,
                Some("good") => false,
                other => panic!("HA{number}: {other:?}"),
            };
            let mut minor = |default: u32| {
                words.next().map_or(default, |version| version.split_once('.').unwrap().1.parse().unwrap())
            };
            let target = Target { kubernetes: minor(20), etcd: minor(5), now: 0 };
            examples.push(Example { id: format!("HA{number}"), bad, target, machines: machines(files) });
        }
    }
    examples.extend(certificates::examples());
    examples
}

/// Every file of every example.
pub(crate) fn example_files() -> Vec<File> {
    examples().into_iter().flat_map(|example| example.machines).flat_map(|machine| machine.files).collect()
}

pub(super) fn machines(text: &str) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    for part in format!("\n{text}").split("\n== ").skip(1) {
        let (head, text) = part.split_once('\n').unwrap_or((part, ""));
        let mut words = head.split_whitespace();
        let (name, path) = words.next().unwrap().split_once(':').unwrap();
        let mode = words.next().map(|mode| u32::from_str_radix(mode, 8).unwrap());
        let text: Arc<str> = format!("{}\n", text.trim_end()).into();
        let source = Source { path: format!("{name}{path}").into(), text: text.clone() };
        let file = File { path: path.to_owned(), text, mode, source };
        match machines.iter_mut().find(|machine| machine.name == name) {
            Some(machine) => machine.files.push(file),
            None => machines.push(Machine { name: name.to_owned(), files: vec![file], images: Vec::new() }),
        }
    }
    machines
}

/// `path:line: message`.
pub(super) fn reported(problem: &Problem) -> String {
    let source = problem.source.as_ref().unwrap();
    let line = source.text[..problem.span.as_ref().unwrap().start].matches('\n').count() + 1;
    format!("{}:{line}: {}", source.path.display(), problem.message)
}

#[test]
fn each_lint_of_files_finds_what_is_wrong_and_leaves_alone_what_is_right() {
    let mut seen = String::new();
    let mut wrong = Vec::new();
    for example in examples() {
        let problems = check_files(&example.machines, example.target);
        let own: Vec<&Problem> =
            problems.iter().filter(|problem| problem.code == Some(example.id.as_str())).collect();
        match (example.bad, own.is_empty()) {
            (true, true) => {
                wrong.push(format!("{} finds nothing in what is wrong: {:#?}", example.id, example.machines));
            }
            (false, false) => {
                wrong.push(format!("{} finds something in what is right: {}", example.id, reported(own[0])));
            }
            _ => {
                own.iter()
                    .for_each(|problem| writeln!(seen, "{} {}", example.id, reported(problem)).unwrap());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    insta::assert_snapshot!(seen);
}

#[test]
fn each_lint_of_files_has_an_example_of_both() {
    let examples = examples();
    for lint in LINTS.iter().filter(|lint| lint.on_files.is_some()) {
        for bad in [true, false] {
            assert!(
                examples.iter().any(|example| example.id == lint.id && example.bad == bad),
                "{} has no example, bad: {bad}",
                lint.id
            );
        }
    }
    for example in &examples {
        let known = LINTS.iter().any(|lint| lint.id == example.id && lint.on_files.is_some());
        assert!(known, "{} is no lint of files", example.id);
    }
}
