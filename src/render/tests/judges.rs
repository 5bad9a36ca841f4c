//! Independent programs read what is rendered: HAProxy, keepalived, systemd, and the Kubernetes programs themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::versions::of_version;
use super::{cluster, first, text, unpack};
use crate::cluster::{KubernetesVersion, SUITES};
use crate::host;
use crate::judge::{accepts, judge};
use crate::overlay::Overlays;
use crate::render;
use crate::tree::Tree;

/// A node's files in a directory, with paths in `file` rewritten so that a judge on this machine finds them there.
struct Root {
    directory: tempfile::TempDir,
}

impl Root {
    fn of(tree: &Tree) -> Self {
        let directory = tempfile::tempdir().unwrap();
        unpack(tree, directory.path());
        unpack(&render::role(&cluster(), "control-plane", &Overlays::load(&[]).unwrap()).unwrap(), directory.path());
        Self { directory }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    /// Writes a copy of `file` in which each of `prefixes` leads into this directory.
    fn rewritten(&self, file: &str, prefixes: &[&str]) -> PathBuf {
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

/// Where `ci/kubernetes` puts the programs of v1.20.2.
fn kubernetes(program: &str) -> Option<Command> {
    let cache = std::env::var_os("KILN_TEST_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/kiln-tests")))?;
    judge(cache.join("kubernetes-v1.20.2").join(program).to_str()?)
}

/// The flags of `ExecStart=` in a rendered unit.
fn flags(unit: &str) -> BTreeSet<String> {
    let words = unit.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    words.map(|word| word.split('=').next().unwrap().to_owned()).collect()
}

/// The programs of `ci/kubernetes` that are started with flags.
const PROGRAMS: [&str; 5] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

#[test]
fn every_flag_exists_in_the_real_program() {
    let tree = first(&cluster());
    for program in PROGRAMS {
        let Some(mut real) = kubernetes(program) else { continue };
        let help = accepts(real.arg("--help"));
        let known: BTreeSet<String> = flags(&help);
        let rendered = flags(&text(&tree, &format!("/etc/systemd/system/{program}.service")));
        let unknown: Vec<&String> = rendered.difference(&known).collect();
        assert!(rendered.len() > 1 && unknown.is_empty(), "{program} does not know {unknown:?}");
    }
}

/// `--version` comes last: a program that can't read one of the values before it says so instead.
#[test]
fn every_value_is_read_by_the_real_program() {
    let tree = first(&cluster());
    for program in PROGRAMS {
        let Some(mut real) = kubernetes(program) else { continue };
        let unit = text(&tree, &format!("/etc/systemd/system/{program}.service"));
        let arguments = arguments(&unit);
        assert!(arguments.len() > 1, "{unit}");
        let said = accepts(real.args(arguments).arg("--version"));
        assert!(said.lines().any(|line| line == "Kubernetes v1.20.2"), "{program}: {said}");
    }
}

/// The arguments of a unit's `ExecStart=` as the program gets them.
fn arguments(unit: &str) -> Vec<String> {
    let start = unit.lines().skip_while(|line| !line.starts_with("ExecStart="));
    let rest = start.skip(1).take_while(|line| line.starts_with("  --"));
    rest.map(|line| line.trim().trim_end_matches('\\').trim_end().replace("%%", "%").replace("$$", "$")).collect()
}

/// With nobody where etcd should be, it stops right after it has read and judged all that it was given.
#[test]
fn the_api_server_starts_and_misses_nothing_but_etcd() {
    let Some(mut api_server) = kubernetes("kube-apiserver") else { return };
    let root = Root::of(&first(&cluster()));
    let unit = root.rewritten("/etc/systemd/system/kube-apiserver.service", &["/etc/kubernetes", "/var/log"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let elsewhere = |argument: String| match argument.split_once('=').unwrap().0 {
        "--bind-address" => "--bind-address=127.0.0.1".to_owned(),
        "--secure-port" => format!("--secure-port={port}"),
        "--etcd-servers" => "--etcd-servers=https://127.0.0.1:1".to_owned(),
        _ => argument,
    };
    let output = api_server.args(arguments(&host::fs::read_to_string(&unit).unwrap()).into_iter().map(elsewhere)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Version: v1.20.2") && said.contains("127.0.0.1:1: connect: connection refused"), "{said}");
    assert_eq!(said.lines().rfind(|line| line.starts_with("Error: ")), Some("Error: context deadline exceeded"), "{said}");
}

#[test]
fn every_flag_exists_in_the_real_etcd() {
    let Some(mut etcd) = judge("etcd") else { return };
    let version = accepts(etcd.arg("--version"));
    let version = version.split_whitespace().nth(2).unwrap();
    let suite = SUITES.iter().find(|suite| version.starts_with(&format!("{}.", suite.etcd)));
    let suite = suite.unwrap_or_else(|| panic!("no suite has etcd {version}"));
    let mut cluster = cluster();
    cluster.base.suite = suite.name.to_owned();
    let rendered = flags(&text(&first(&cluster), "/etc/systemd/system/etcd.service"));
    let known = flags(&accepts(judge("etcd").unwrap().arg("--help")));
    let unknown: Vec<&String> = rendered.difference(&known).collect();
    assert!(rendered.len() > 10 && unknown.is_empty(), "etcd {version} does not know {unknown:?}");
}

#[test]
fn kube_proxy_accepts_its_configuration() {
    let Some(mut kube_proxy) = kubernetes("kube-proxy") else { return };
    let root = Root::of(&first(&cluster()));
    let written = root.path("written.yaml");
    accepts(kube_proxy.arg("--config").arg(root.path("/etc/kubernetes/kube-proxy.yaml")).arg("--write-config-to").arg(&written));
    let written = host::fs::read_to_string(&written).unwrap();
    assert!(written.contains("hostnameOverride: m1") && written.contains("clusterCIDR: 10.244.0.0/16"), "{written}");
}

#[test]
fn the_kubelet_accepts_its_configuration_and_would_refuse_an_unknown_field() {
    let Some(mut kubelet) = kubernetes("kubelet") else { return };
    let root = Root::of(&first(&cluster()));
    let file = root.rewritten("/etc/kubernetes/kubelet.yaml", &["/etc/kubernetes"]);
    let complaint = |kubelet: &mut Command, file: &Path| {
        // No such kubeconfig: it stops right after it has read its configuration.
        let output = kubelet.arg("--config").arg(file).args(["--kubeconfig", "/nonexistent", "--container-runtime=remote"]);
        String::from_utf8_lossy(&output.output().unwrap().stderr).into_owned()
    };
    let said = complaint(&mut kubelet, &file);
    assert!(!said.contains("failed to load Kubelet config"), "{said}");
    let text = format!("{}notAField: 1\n", host::fs::read_to_string(&file).unwrap());
    host::fs::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
    let said = complaint(&mut kubernetes("kubelet").unwrap(), &file);
    assert!(said.contains("notAField"), "{said}");
}
