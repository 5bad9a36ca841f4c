//! `kiln pki` as users run it: file modes do not depend on the umask, and a killed command leaves no partial
//! vault.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn kiln(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    kiln(directory, arguments).output().unwrap()
}

/// A directory with the cluster file of the profile `ha`.
fn site() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    assert!(run(directory.path(), &["init", "--profile", "ha"]).status.success());
    directory
}

/// `directory` and all paths below it, sorted.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(tree(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn no_umask_opens_a_vault() {
    for umask in ["000", "077", "777"] {
        let site = site();
        let script = format!("umask {umask}; exec \"$0\" pki init");
        let output = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_kiln")])
            .current_dir(site.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "umask {umask}: {}", String::from_utf8_lossy(&output.stderr));
        for path in tree(&site.path().join("vault")) {
            let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "umask {umask}: {}", path.display());
        }
    }
}

#[test]
fn a_killed_init_leaves_no_vault_or_a_whole_one_and_the_next_succeeds() {
    for milliseconds in (0..60).step_by(4) {
        let site = site();
        let mut child = kiln(site.path(), &["pki", "init", "--quiet"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        let _ = child.wait();
        if site.path().join("vault").exists() {
            assert!(
                run(site.path(), &["pki", "expiry"]).status.success(),
                "killed after {milliseconds} ms: the vault is incomplete"
            );
        }
        assert!(
            run(site.path(), &["pki", "init"]).status.success(),
            "killed after {milliseconds} ms: the next init failed"
        );
        let left: Vec<PathBuf> =
            fs::read_dir(site.path()).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
        assert_eq!(left.len(), 2, "killed after {milliseconds} ms: {left:?}");
    }
}

#[test]
fn of_many_inits_at_once_one_makes_the_vault_and_none_harms_it() {
    let site = site();
    let children: Vec<_> =
        (0..8).map(|_| kiln(site.path(), &["pki", "init", "--json"]).spawn().unwrap()).collect();
    let said: Vec<String> = children
        .into_iter()
        .map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    let created = said.iter().filter(|text| text.contains("\"created\": true")).count();
    assert_eq!(created, 1, "{said:?}");
    let refused = |text: &&String| {
        !text.contains("\"created\"") && !text.contains("another kiln process is writing to a vault")
    };
    assert_eq!(said.iter().filter(refused).count(), 0, "{said:?}");
    assert!(run(site.path(), &["pki", "expiry"]).status.success());
}

#[test]
fn expiry_fails_when_a_certificate_has_too_few_days_left() {
    let site = site();
    assert!(run(site.path(), &["pki", "init", "--leaf-days", "10"]).status.success());
    assert!(run(site.path(), &["pki", "expiry", "--warn-days", "9"]).status.success());
    let output = run(site.path(), &["pki", "expiry"]);
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("50 of 53 certificates have fewer than 30 days left"), "{said}");
    assert!(said.contains("kiln pki renew --within-days 30"), "{said}");
}

#[test]
fn a_kubeconfig_is_private_and_never_replaces_a_file() {
    let site = site();
    assert!(run(site.path(), &["pki", "init"]).status.success());
    let write =
        || run(site.path(), &["pki", "kubeconfig", "--user", "super-admin", "--output", "break-glass"]);
    assert!(write().status.success());
    let path = site.path().join("break-glass");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let again = write();
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(fs::read(&path).unwrap(), before);
}
