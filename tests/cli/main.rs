//! The program's exit codes, stdout and stderr, as a person sees them.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod check;
mod init;
mod order;
mod plan;
mod reference;
mod rehearse;
#[path = "../common/skip.rs"]
mod skip;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs kiln in `directory` with an empty environment, and returns the exit code, stdout and stderr as text.
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

/// Runs kiln with `--json` and returns its output.
fn json(arguments: &[&str]) -> serde_json::Value {
    let directory = tempfile::tempdir().unwrap();
    let output = command(directory.path(), arguments).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn exit_code(directory: &Path, arguments: &[&str]) -> i32 {
    command(directory, arguments).output().unwrap().status.code().unwrap()
}

/// Replaces texts in the directory's cluster file; each must exist.
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

    hint: run `kiln init` to create one, or specify yours with `--file`
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
    error: line 2 of `cluster.toml` is not valid UTF-8

    hint: save the file as UTF-8
    ");
}

#[test]
fn an_unknown_profile_says_where_to_look() {
    insta::assert_snapshot!(kiln(&["init", "--profile", "nope"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: unknown profile `nope`

    hint: run `kiln list profiles` to see all profiles
    ");
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
    let mut child =
        command(directory.path(), &["check"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let code = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let _ = Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status();
        child.try_wait().unwrap()
    });
    // The first signals may arrive before kiln handles them; being killed by the signal is then correct.
    let ended = code.expect("kiln exits after two interrupts");
    assert!(
        ended.code() == Some(130) || std::os::unix::process::ExitStatusExt::signal(&ended) == Some(2),
        "{ended:?}"
    );
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
    let mut child = command(directory.path(), &["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
