//! Independent programs read what is rendered: HAProxy, keepalived, systemd.

use std::path::PathBuf;
use std::process::Command;

use super::versions::of_version;
use super::{cluster, first, unpack};
use crate::cluster::KubernetesVersion;
use crate::host;
use crate::judge::{accepts, judge};
use crate::overlay::Overlays;
use crate::render;
use crate::tree::Tree;

/// A node's files in a directory, with paths in `file` rewritten so that a judge on this machine finds them there.
pub(super) struct Root {
    directory: tempfile::TempDir,
}

impl Root {
    pub(super) fn of(tree: &Tree) -> Self {
        let directory = tempfile::tempdir().unwrap();
        unpack(tree, directory.path());
        unpack(&render::role(&cluster(), "control-plane", &Overlays::load(&[]).unwrap()).unwrap(), directory.path());
        Self { directory }
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    /// Writes a copy of `file` in which each of `prefixes` leads into this directory.
    pub(super) fn rewritten(&self, file: &str, prefixes: &[&str]) -> PathBuf {
        let mut text = host::fs::read_to_string(&self.path(file)).unwrap();
        for prefix in prefixes {
            text = text.replace(prefix, self.path(prefix).to_str().unwrap());
        }
        let copy = self.path("judged");
        host::fs::write_atomic(&copy, text.as_bytes(), 0o644).unwrap();
        copy
    }
}

#[test]
fn haproxy_accepts_its_configuration() {
    let Some(mut haproxy) = judge("haproxy") else { return };
    let root = Root::of(&first(&cluster()));
    let file = root.rewritten("/etc/haproxy/haproxy.cfg", &["/etc/kubernetes"]);
    let said = accepts(haproxy.arg("-c").arg("-f").arg(file));
    assert!(!said.contains("WARNING"), "{said}");
}

#[test]
fn keepalived_accepts_its_configuration_without_a_warning() {
    let (Some(keepalived), Some(mut unshare), Some(_)) = (judge("keepalived"), judge("unshare"), judge("ip")) else { return };
    let root = Root::of(&first(&cluster()));
    let file = root.rewritten("/etc/keepalived/keepalived.conf", &["/usr/libexec"]);
    // The user of the check exists in the image only.
    let text = host::fs::read_to_string(&file).unwrap().replace("keepalived_script", "root");
    host::fs::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
    let script = "ip link add lan0 type bridge && ip address add 10.0.0.11/24 dev lan0 && ip link set lan0 up && exec \"$@\"";
    let inside = unshare.args(["--user", "--map-root-user", "--net", "sh", "-c", script, "sh"]);
    let said = accepts(inside.arg(keepalived.get_program()).arg("--config-test").arg("--use-file").arg(file));
    assert!(!said.contains("SECURITY"), "{said}");
}

/// What systemd says about units of our own making that it need not say about those of the distribution.
#[test]
fn systemd_finds_nothing_wrong_with_the_units_of_the_oldest_the_newest_and_the_usual_version() {
    for minor in [*KubernetesVersion::MINORS.start(), cluster().kubernetes.minor, *KubernetesVersion::MINORS.end()] {
        let Some(analyze) = judge("systemd-analyze") else { return };
        verify_units(&Root::of(&first(&of_version(minor))), analyze);
    }
}

fn verify_units(root: &Root, mut analyze: Command) {
    accepts(host::process::command("cp").args(["-rT", "/usr/lib/systemd/system"]).arg(prepared(root, "/usr/lib/systemd/system")));
    let ours: Vec<PathBuf> = host::fs::list(&root.path("/etc/systemd/system")).unwrap();
    let ours: Vec<&PathBuf> =
        ours.iter().filter(|path| path.extension().is_some_and(|end| end == "service") && !path.is_symlink()).collect();
    assert!(ours.len() >= 11, "{ours:?}");
    for unit in &ours {
        provide_programs(root, &host::fs::read_to_string(unit).unwrap());
    }
    let names = ours.iter().map(|path| path.file_name().unwrap());
    let root_option = format!("--root={}", root.directory.path().display());
    let said = accepts(analyze.args(["verify", "--man=no", "--recursive-errors=no", &root_option]).args(names));
    assert_eq!(said, "");
}

fn prepared(root: &Root, directory: &str) -> PathBuf {
    let path = root.path(directory);
    host::fs::create_directories(&path).unwrap();
    path
}

/// Puts an executable in the place of each program that a unit starts.
fn provide_programs(root: &Root, unit: &str) {
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        let program = line.split_once('=').unwrap().1.split_whitespace().next().unwrap().trim_start_matches(['-', '!', '+']);
        host::fs::write_atomic(&root.path(program), b"#!/bin/sh\n", 0o755).unwrap();
    }
}
