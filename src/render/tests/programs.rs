//! The Kubernetes programs of 1.20.2 and the host's etcd read the files rendered for them, and start with
//! them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::judges::Root;
use super::{cluster, first, text};
use crate::cluster::Cluster;
use crate::host;
use crate::judge::{accepts, judge};
use crate::words::EtcdVersion;

/// Returns a program of v1.20.2 from the directory that `ci/kubernetes` fills.
pub(super) fn kubernetes(program: &str) -> Option<Command> {
    let cache = std::env::var_os("KILN_TEST_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/kiln-tests")))?;
    judge(cache.join("kubernetes-v1.20.2").join(program).to_str()?)
}

/// Returns the flags of `ExecStart=` in a rendered unit.
fn flags(unit: &str) -> BTreeSet<String> {
    let words = unit.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    words.map(|word| word.split('=').next().unwrap().to_owned()).collect()
}

/// The programs of `ci/kubernetes` that are started with flags.
const PROGRAMS: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

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

/// `--version` is last: a program that can't read one of the preceding values reports that instead.
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

/// Returns the arguments of a unit's `ExecStart=` as the program receives them.
fn arguments(unit: &str) -> Vec<String> {
    let start = unit.lines().skip_while(|line| !line.starts_with("ExecStart="));
    let rest = start.skip(1).take_while(|line| line.starts_with("  --"));
    rest.map(|line| line.trim().trim_end_matches('\\').trim_end().replace("%%", "%").replace("$$", "$"))
        .collect()
}

/// Without etcd, the API server exits right after it has read and validated its configuration.
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
    let output = api_server
        .args(arguments(&host::fs::read_to_string(&unit).unwrap()).into_iter().map(elsewhere))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("Version: v1.20.2") && said.contains("127.0.0.1:1: connect: connection refused"),
        "{said}"
    );
    assert_eq!(
        said.lines().rfind(|line| line.starts_with("Error: ")),
        Some("Error: context deadline exceeded"),
        "{said}"
    );
}

/// Without an API server they can do nothing, but by then they have read their keys, certificates and
/// kubeconfig.
#[test]
fn the_controllers_and_the_scheduler_start_and_serve_their_health() {
    for (program, kubeconfig) in
        [("kube-controller-manager", "controller-manager.conf"), ("kube-scheduler", "scheduler.conf")]
    {
        let Some(mut real) = kubernetes(program) else { continue };
        let root = Root::of(&first(&cluster()));
        let unit = root.rewritten(&format!("/etc/systemd/system/{program}.service"), &["/etc/kubernetes"]);
        let unit = host::fs::read_to_string(&unit).unwrap();
        let kubeconfig = root.path(&format!("/etc/kubernetes/{kubeconfig}"));
        let nobody = host::fs::read_to_string(&kubeconfig).unwrap().replace("10.0.0.11:6443", "127.0.0.1:1");
        host::fs::write_atomic(&kubeconfig, nobody.as_bytes(), 0o600).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let elsewhere = |argument: String| match argument.split_once('=').unwrap().0 {
            "--secure-port" => format!("--secure-port={}", address.port()),
            _ => argument,
        };
        let said = until(
            real.args(arguments(&unit).into_iter().map(elsewhere)),
            &format!("Serving securely on {address}"),
        );
        assert!(said.contains("Serving securely"), "{program}: {said}");
    }
}

/// Starts a program, and stops it when it prints `word` on stderr or after 500 lines. Returns the output.
fn until(command: &mut Command, word: &str) -> String {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().take(500) {
        said.extend([line.unwrap().as_str(), "\n"]);
        if said.contains(word) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

/// Returns the version of this machine's etcd, and a cluster that runs it.
fn of_real_etcd() -> Option<(EtcdVersion, Cluster)> {
    let version = accepts(judge("etcd")?.arg("--version"));
    let version: EtcdVersion = version.split_whitespace().nth(2).unwrap().parse().unwrap();
    Some((version, Cluster { etcd: Some(version), ..cluster() }))
}

#[test]
fn every_flag_exists_in_the_real_etcd() {
    let Some((version, cluster)) = of_real_etcd() else { return };
    let rendered = flags(&text(&first(&cluster), "/etc/systemd/system/etcd.service"));
    let known = flags(&accepts(judge("etcd").unwrap().arg("--help")));
    let unknown: Vec<&String> = rendered.difference(&known).collect();
    assert!(rendered.len() > 10 && unknown.is_empty(), "etcd {version} does not know {unknown:?}");
}

/// A single-member cluster on loopback, bootstrapped with the flags, certificates and directories of a node.
#[test]
fn the_real_etcd_starts_with_the_flags_of_its_version() {
    let Some((version, cluster)) = of_real_etcd() else { return };
    let root = Root::of(&first(&cluster));
    let unit = root.rewritten("/etc/systemd/system/etcd.service", &["/etc/kubernetes", "/var/lib/etcd"]);
    let unit = host::fs::read_to_string(&unit).unwrap();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (peers, clients, metrics) = (port(), port(), port());
    let elsewhere = |argument: String| match argument.split_once('=').unwrap().0 {
        name @ ("--listen-peer-urls" | "--initial-advertise-peer-urls") => {
            format!("{name}=https://127.0.0.1:{peers}")
        }
        name @ ("--listen-client-urls" | "--advertise-client-urls") => {
            format!("{name}=https://127.0.0.1:{clients}")
        }
        name @ "--listen-metrics-urls" => format!("{name}=http://127.0.0.1:{metrics}"),
        name @ "--initial-cluster" => format!("{name}=m1=https://127.0.0.1:{peers}"),
        _ => argument,
    };
    let said = until(
        judge("etcd").unwrap().args(arguments(&unit).into_iter().map(elsewhere)),
        "serving client traffic securely",
    );
    assert!(said.contains("serving client traffic securely"), "etcd {version}: {said}");
}

#[test]
fn kube_proxy_accepts_its_configuration() {
    let Some(mut kube_proxy) = kubernetes("kube-proxy") else { return };
    let root = Root::of(&first(&cluster()));
    let written = root.path("written.yaml");
    accepts(
        kube_proxy
            .arg("--config")
            .arg(root.path("/etc/kubernetes/kube-proxy.yaml"))
            .arg("--write-config-to")
            .arg(&written),
    );
    let written = host::fs::read_to_string(&written).unwrap();
    assert!(
        written.contains("hostnameOverride: m1") && written.contains("clusterCIDR: 10.244.0.0/16"),
        "{written}"
    );
}

#[test]
fn the_kubelet_accepts_its_configuration_and_would_refuse_an_unknown_field() {
    let Some(mut kubelet) = kubernetes("kubelet") else { return };
    let root = Root::of(&first(&cluster()));
    let file = root.rewritten("/etc/kubernetes/kubelet.yaml", &["/etc/kubernetes"]);
    let complaint = |kubelet: &mut Command, file: &Path| {
        // No such kubeconfig: the kubelet exits right after it has read its configuration.
        let output = kubelet.arg("--config").arg(file).args([
            "--kubeconfig",
            "/nonexistent",
            "--container-runtime=remote",
        ]);
        String::from_utf8_lossy(&output.output().unwrap().stderr).into_owned()
    };
    let said = complaint(&mut kubelet, &file);
    assert!(!said.contains("failed to load Kubelet config"), "{said}");
    let text = format!("{}notAField: 1\n", host::fs::read_to_string(&file).unwrap());
    host::fs::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
    let said = complaint(&mut kubernetes("kubelet").unwrap(), &file);
    assert!(said.contains("notAField"), "{said}");
}
