//! What a person sees: exit code, stdout and stderr of the program itself.

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
fn a_reader_that_leaves_early_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = command(directory.path(), &["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
