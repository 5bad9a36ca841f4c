//! A cluster of arm64 machines, as far as a machine of another architecture can prepare one: checked, locked
//! from Debian's real index and rendered.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Site, approve, cache, ha, judge, kubernetes};

#[test]
fn an_arm64_cluster_is_locked_and_rendered_and_its_images_need_an_arm64_machine() {
    let (Some(shared), Some(programs)) = (ha(), kubernetes()) else { return };
    if judge("go").is_none() {
        return;
    }
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let site = Site { dir: dir.path().to_owned(), store: shared.store.clone() };
    let amd64 = programs.to_str().unwrap();
    site.ok(&["init", "--profile", "ha", "--binaries", amd64]);
    let file = dir.path().join("cluster.toml");
    let text = fs::read_to_string(&file).unwrap() + "\n[base]\narchitecture = \"arm64\"\n";
    fs::write(&file, &text).unwrap();
    site.ok(&["pki", "init"]);

    let said = refused(&site, &["lock"]);
    assert!(said.contains("the machines are arm64, but these are for amd64: `kube-apiserver`"), "{said}");
    let directory = dir.path().join("arm64");
    arm64_programs(&programs, &directory);
    fs::write(&file, text.replace(amd64, directory.to_str().unwrap())).unwrap();
    site.ok(&["lock"]);

    let lock: toml::Table = fs::read_to_string(dir.path().join("kiln.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let named = |name: &str| packages.iter().any(|package| package["name"].as_str() == Some(name));
    assert!(named("linux-image-cloud-arm64") && named("systemd-boot-efi") && named("haproxy"));
    for package in packages {
        let architecture = package["architecture"].as_str().unwrap();
        assert!(["arm64", "all"].contains(&architecture), "{package}");
    }

    site.ok(&["render", "m1", "--out", "m1"]);
    let units = dir.path().join("m1/etc/systemd/system");
    assert!(units.join("serial-getty@ttyAMA0.service").symlink_metadata().is_ok());
    assert!(units.join("serial-getty@ttyS0.service").symlink_metadata().is_err());
    site.ok(&["build", "--format", "cloud-init"]);

    if cfg!(target_arch = "x86_64") && !Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists() {
        let said = refused(&site, &["build", "--format", "raw", "--offline"]);
        assert!(said.contains("on an arm64 machine"), "{said}");
    }
}

fn refused(site: &Site, arguments: &[&str]) -> String {
    let output = site.command(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Compiles a program for arm64 under the names of all programs in a directory.
fn arm64_programs(names: &Path, directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    let source = directory.join("main.go");
    fs::write(&source, "package main\n\nfunc main() {}\n").unwrap();
    let mut go = Command::new("go");
    go.env("GOARCH", "arm64").env("CGO_ENABLED", "0").stdin(Stdio::null()).current_dir(directory);
    approve(go.args(["build", "-o", "program", "main.go"]));
    for entry in fs::read_dir(names).unwrap() {
        fs::copy(directory.join("program"), directory.join(entry.unwrap().file_name())).unwrap();
    }
}
