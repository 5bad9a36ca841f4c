//! Independent programs read the files rendered for the profile `ha`: HAProxy, keepalived, systemd.

use std::path::PathBuf;

use super::variants::{Network, haproxy, keepalived};
use super::versions::of_version;
use super::{cluster, first, rendered_with, resolved, unpack, vault};
use crate::cluster::{Cluster, Node};
use crate::host;
use crate::judge::{accepts, judge};
use crate::overlay::Overlays;
use crate::render;
use crate::tree::Tree;
use crate::words::{KubernetesVersion, Role};

/// A node's files in a directory, with paths in `file` rewritten so that a judge on this machine finds them
/// there.
pub(super) struct Root {
    directory: tempfile::TempDir,
}

impl Root {
    /// The first node of the profile `ha`.
    pub(super) fn of(tree: &Tree) -> Self {
        let cluster = cluster();
        Self::of_node(&cluster, &cluster.nodes[0], tree)
    }

    pub(super) fn of_node(cluster: &Cluster, node: &Node, tree: &Tree) -> Self {
        let directory = tempfile::tempdir().unwrap();
        unpack(tree, directory.path());
        unpack(
            &render::role(cluster, &node.image(), &Overlays::load(&[]).unwrap()).unwrap(),
            directory.path(),
        );
        Self { directory }
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    /// Writes a copy of `file` in which each of `prefixes` points into this directory.
    pub(super) fn rewritten(&self, file: &str, prefixes: &[&str]) -> PathBuf {
        let mut text = host::fs::read_to_string(&self.path(file)).unwrap();
        for prefix in prefixes {
            text = text.replace(prefix, self.path(prefix).to_str().unwrap());
        }
        let copy = self.path("judged");
        host::fs::write_atomic(&copy, text.as_bytes(), 0o644).unwrap();
        copy
    }

    /// Asserts that systemd reports nothing about kiln's own units; returns their number.
    pub(super) fn assert_units_are_sound(&self) -> usize {
        let ours: Vec<PathBuf> = host::fs::list(&self.path("/etc/systemd/system")).unwrap();
        let ours: Vec<&PathBuf> = ours
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "service") && !path.is_symlink())
            .collect();
        let Some(mut analyze) = judge("systemd-analyze") else { return ours.len() };
        accepts(
            host::process::command("cp")
                .args(["-rT", "/usr/lib/systemd/system"])
                .arg(prepared(self, "/usr/lib/systemd/system")),
        );
        for unit in &ours {
            provide_programs(self, &host::fs::read_to_string(unit).unwrap());
        }
        let names = ours.iter().map(|path| path.file_name().unwrap());
        let root_option = format!("--root={}", self.directory.path().display());
        let said =
            accepts(analyze.args(["verify", "--man=no", "--recursive-errors=no", &root_option]).args(names));
        assert_eq!(said, "");
        ours.len()
    }
}

#[test]
fn the_balancers_of_ha_accept_their_configuration_without_a_warning() {
    let root = Root::of(&first(&cluster()));
    let network = Network { address: "10.0.0.11".into(), vip: Some("10.0.0.10".into()) };
    haproxy(&root, &network);
    keepalived(&root, &network);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_of_the_oldest_the_newest_and_the_usual_version() {
    for minor in
        [*KubernetesVersion::MINORS.start(), cluster().kubernetes.minor, *KubernetesVersion::MINORS.end()]
    {
        assert!(Root::of(&first(&of_version(minor))).assert_units_are_sound() >= 11);
    }
}

#[test]
fn chrony_follows_the_time_servers_of_the_site_and_the_control_plane_and_only_that_leads() {
    let worker = "\n[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n";
    for (ntp, pools) in [(vec![], 0), (vec!["10.0.0.1".to_owned(), "pool.example.org".to_owned()], 2)] {
        let mut cluster = resolved(&format!("{}{worker}", include_str!("../../../profiles/ha/cluster.toml")));
        cluster.network.ntp = ntp;
        let masters = cluster.with_role(Role::ControlPlane).count();
        let nodes = rendered_with(&cluster, &vault(&cluster));
        for (name, servers, leaders) in [("m1", masters - 1, 1), ("w1", masters, 0)] {
            let Some(mut chronyd) = judge("chronyd") else { return };
            let (_, tree) = nodes.iter().find(|(node, _)| node.name == name).unwrap();
            let root = Root::of(tree);
            let read = accepts(chronyd.args(["-U", "-p", "-f"]).arg(root.path("/etc/chrony/chrony.conf")));
            let lines = |word: &str| read.lines().filter(|line| line.split(' ').next() == Some(word)).count();
            assert_eq!(
                (lines("pool"), lines("server"), lines("local")),
                (pools, servers, leaders),
                "{name}: {read}"
            );
        }
    }
}

fn prepared(root: &Root, directory: &str) -> PathBuf {
    let path = root.path(directory);
    host::fs::create_directories(&path).unwrap();
    path
}

/// Creates an executable for each program that a unit starts.
fn provide_programs(root: &Root, unit: &str) {
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        let program = line
            .split_once('=')
            .unwrap()
            .1
            .split_whitespace()
            .next()
            .unwrap()
            .trim_start_matches(['-', '!', '+']);
        host::fs::write_atomic(&root.path(program), b"#!/bin/sh\n", 0o755).unwrap();
    }
}
