//! Independent judges: OpenSSL reads every certificate and key, kubectl every kubeconfig.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::cluster::{Base, Cluster, Endpoint, Network, Node};
use crate::host;
use crate::judge::{accepts, judge, skip};
use crate::pki::plan::{PlannedLeaf, plan};
use crate::pki::table::{Authority, Form, Holder, LEAVES, Usage};
use crate::pki::{Algorithm, Options, Vault};
use crate::progress::Silent;
use crate::words::{
    Balancer, Cgroups, KubernetesVersion, NetworkPlugin, PortRange, Role, RootFilesystem, Runtime,
};

/// Three control-plane nodes with stacked etcd behind one VIP, as the profile `ha` has them, and one worker.
pub(crate) fn sample() -> Cluster {
    Cluster {
        name: "prod".into(),
        kubernetes: "1.20.2".parse::<KubernetesVersion>().unwrap(),
        runtime: Runtime::Containerd,
        image_repository: None,
        own_images: BTreeMap::new(),
        etcd: None,
        founders: crate::words::Founders::All,
        profile: "ha".into(),
        network: network(),
        endpoint: endpoint(),
        nodes: vec![
            node("m1", 11, &[Role::ControlPlane]),
            node("m2", 12, &[Role::ControlPlane]),
            node("m3", 13, &[Role::ControlPlane]),
            node("w1", 21, &[Role::Worker]),
        ],
        overlays: BTreeMap::new(),
        base: base(),
        binaries: Vec::new(),
        images: Vec::new(),
        outputs: Vec::new(),
        vault: PathBuf::from("vault"),
        lock: PathBuf::from("prod.lock"),
    }
}

fn network() -> Network {
    Network {
        nodes: "10.0.0.0/24".parse().unwrap(),
        pods: "10.244.0.0/16".parse().unwrap(),
        pods_per_node_prefix: 24,
        services: "10.96.0.0/12".parse().unwrap(),
        plugin: NetworkPlugin::None,
        proxy_mode: None,
        node_ports: PortRange { first: 30000, last: 32767 },
        domain: "cluster.local".into(),
        gateway: None,
        dns: Vec::new(),
        ntp: Vec::new(),
        interface: "lan0".into(),
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        vip: Some("10.0.0.10".parse().unwrap()),
        names: vec!["api.example.org".into()],
        external_addresses: vec!["203.0.113.10".parse().unwrap()],
        port: 6443,
        balancer: Balancer::named("haproxy").unwrap(),
        run: crate::words::Run::Service,
        images: Default::default(),
        bgp: None,
        virtual_router_id: 51,
    }
}

fn base() -> Base {
    Base {
        suite: "trixie".into(),
        mirror: None,
        architecture: crate::words::Arch::Amd64,
        kernel: "linux-image-cloud-amd64".into(),
        packages: Vec::new(),
        filesystem: RootFilesystem::Squashfs,
        cgroups: Cgroups::V2,
    }
}

pub(crate) fn node(name: &str, last: u8, roles: &[Role]) -> Node {
    Node {
        name: name.into(),
        roles: roles.iter().copied().collect(),
        address: IpAddr::from([10, 0, 0, last]),
        extra_addresses: Vec::new(),
        matches: Vec::new(),
        priority: 100,
        labels: BTreeMap::new(),
        taints: None,
    }
}

/// Creates a vault for `cluster` in a new directory.
pub(crate) fn vault(cluster: &Cluster, options: Options) -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    Vault::init(&path, cluster, options, &Silent).unwrap();
    (dir, Vault::open(&path).unwrap())
}

/// Runs OpenSSL and returns its output; panics with its error message if it fails.
fn openssl(args: &[&str]) -> String {
    judge("openssl").map(|mut openssl| accepts(openssl.args(args))).unwrap_or_default()
}

/// Checks whether OpenSSL fails.
fn openssl_refuses(args: &[&str]) -> bool {
    judge("openssl").is_none_or(|mut openssl| !openssl.args(args).output().unwrap().status.success())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn certificate_of(vault: &Vault, authority: Authority) -> PathBuf {
    vault.directory().join(format!("authorities/{}.crt", authority.name()))
}

fn purposes(planned: &PlannedLeaf) -> &'static [&'static str] {
    match planned.row.usage {
        Usage::Client => &["sslclient"],
        Usage::Server => &["sslserver"],
        Usage::Both => &["sslclient", "sslserver"],
    }
}

#[test]
fn openssl_accepts_every_leaf_for_its_purpose_and_under_no_other_authority() {
    let cluster = sample();
    let (_dir, vault) = vault(&cluster, Options::default());
    for planned in plan(&cluster).leaves {
        let leaf = vault.leaf_path(&planned.id);
        for purpose in purposes(&planned) {
            let authority = certificate_of(&vault, planned.authority());
            openssl(&[
                "verify",
                "-x509_strict",
                "-check_ss_sig",
                "-purpose",
                purpose,
                "-CAfile",
                text(&authority),
                text(&leaf),
            ]);
        }
        for other in Authority::ALL.into_iter().filter(|authority| *authority != planned.authority()) {
            let refused =
                openssl_refuses(&["verify", "-CAfile", text(&certificate_of(&vault, other)), text(&leaf)]);
            assert!(refused, "{} is accepted by the {} authority", planned.id, other.name());
        }
    }
}

#[test]
fn a_client_certificate_is_refused_as_a_server_s_and_the_other_way_round() {
    let cluster = sample();
    let (_dir, vault) = vault(&cluster, Options::default());
    let authority = certificate_of(&vault, Authority::Kubernetes);
    for (leaf, purpose) in
        [("m1/apiserver", "sslclient"), ("m1/scheduler", "sslserver"), ("admin", "sslserver")]
    {
        let path = vault.directory().join(format!("leaves/{leaf}.pem"));
        let refused =
            openssl_refuses(&["verify", "-purpose", purpose, "-CAfile", text(&authority), text(&path)]);
        assert!(refused, "{leaf} is accepted as {purpose}");
    }
}

#[test]
fn openssl_finds_every_name_and_address_in_the_serving_certificates() {
    let cluster = sample();
    let (_dir, vault) = vault(&cluster, Options::default());
    let check = |leaf: &str, option: &str, value: &str| {
        let path = vault.directory().join(format!("leaves/{leaf}.pem"));
        openssl(&["x509", "-noout", option, value, "-in", text(&path)]).contains("does match")
    };
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    for name in names.into_iter().chain(["m1", "m2", "m3", "localhost", "api.example.org"]) {
        assert!(check("m2/apiserver", "-checkhost", name), "{name}");
    }
    for address in
        ["10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.96.0.1", "127.0.0.1", "::1", "203.0.113.10"]
    {
        assert!(check("m2/apiserver", "-checkip", address), "{address}");
    }
    assert!(check("m1/etcd-peer", "-checkip", "10.0.0.10"), "a peer that holds the VIP may connect from it");
    assert!(
        !check("m1/etcd-server", "-checkip", "203.0.113.10"),
        "translated addresses reach only API servers"
    );
    assert!(
        !check("m1/etcd-server", "-checkip", "10.0.0.10")
            && !check("m1/kubelet-server", "-checkip", "10.0.0.10")
    );
    assert!(
        check("w1/kubelet-server", "-checkip", "10.0.0.21") && check("w1/kubelet-server", "-checkhost", "w1")
    );
    assert!(!check("m2/apiserver", "-checkip", "10.0.0.21") && !check("m2/apiserver", "-checkhost", "w1"));
}

#[test]
fn openssl_accepts_the_keys_of_every_algorithm() {
    let mut cluster = sample();
    cluster.nodes.truncate(1);
    let cases = [
        (Algorithm::EcdsaP256, "ec", "id-ecPublicKey\n                Public-Key: (256 bit)"),
        (Algorithm::EcdsaP384, "ec", "id-ecPublicKey\n                Public-Key: (384 bit)"),
        (Algorithm::Rsa2048, "rsa", "rsaEncryption\n                Public-Key: (2048 bit)"),
    ];
    for (algorithm, program, shown) in cases {
        let (_dir, vault) = vault(&cluster, Options { algorithm: Some(algorithm), ..Options::default() });
        let at = |name: &str| vault.directory().join(name);
        for key in ["leaves/m1/apiserver.pem", "authorities/etcd.key", "sa.key"] {
            openssl(&[program, "-check", "-noout", "-in", text(&at(key))]);
        }
        assert!(
            openssl(&["x509", "-noout", "-text", "-in", text(&at("leaves/m1/apiserver.pem"))])
                .contains(shown)
        );
        let public = openssl(&["pkey", "-pubout", "-in", text(&at("sa.key"))]);
        assert_eq!(public, host::fs::read_to_string(&at("sa.pub")).unwrap());
        openssl(&[
            "verify",
            "-x509_strict",
            "-CAfile",
            text(&certificate_of(&vault, Authority::Kubernetes)),
            text(&at("leaves/m1/apiserver.pem")),
        ]);
        vault.pki(&cluster).unwrap();
    }
}

/// The programs of the Kubernetes version under test; `ci/kubernetes` builds them.
fn kubectl() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    let path = cache.join("kiln-tests/kubernetes-v1.20.2/kubectl");
    if path.exists() { Some(path) } else { skip("the Kubernetes programs of `ci/kubernetes`") }
}

#[test]
fn kubectl_reads_every_kubeconfig() {
    let Some(kubectl) = kubectl() else { return };
    let cluster = sample();
    let (dir, vault) = vault(&cluster, Options::default());
    let pki = vault.pki(&cluster).unwrap();
    let judge = |bytes: &[u8], server: &str, user: &str| {
        let path = dir.path().join("kubeconfig");
        host::fs::write_atomic(&path, bytes, host::fs::PRIVATE).unwrap();
        let mut command = host::process::command(&kubectl);
        let command = command.args([
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
            "--kubeconfig",
            text(&path),
        ]);
        let view: serde_json::Value =
            serde_json::from_slice(&host::process::run(command).unwrap().stdout).unwrap();
        assert_eq!(view["clusters"][0]["cluster"]["server"], server);
        assert_eq!(view["users"][0]["name"], user);
        assert_eq!(view["current-context"], format!("{user}@prod"));
        let fields = [
            &view["clusters"][0]["cluster"]["certificate-authority-data"],
            &view["users"][0]["user"]["client-key-data"],
        ];
        assert!(
            fields.iter().all(|field| field.as_str().is_some_and(|text| text.len() > 100)),
            "the keys are embedded"
        );
    };
    let node = &cluster.nodes[0];
    for row in
        LEAVES.iter().filter(|row| row.holder == Holder::Cluster || row.holder.includes(&cluster, node))
    {
        let server = match row.form {
            Form::Endpoint(_) => "https://10.0.0.10:6443",
            Form::Local(_) => "https://10.0.0.11:6443",
            _ => continue,
        };
        judge(&pki.files(row.name, node).unwrap()[0].bytes, server, row.name);
    }
    judge(pki.kubeconfig_of("super-admin").unwrap().as_bytes(), "https://10.0.0.10:6443", "super-admin");
}

/// A figure, not a check: `cargo test --release pki -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn issuing_is_measured_against_openssl() {
    let cluster = sample();
    let count = plan(&cluster).leaves.len();
    let start = std::time::Instant::now();
    let (dir, _vault) = vault(&cluster, Options::default());
    let ours = start.elapsed();
    let start = std::time::Instant::now();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    openssl(&[&["req", "-x509", "-keyout", &at("ca.key"), "-out", &at("ca.crt")], &key[..]].concat());
    for index in 0..count {
        let (private, request, public) =
            (at(&format!("{index}.key")), at(&format!("{index}.csr")), at(&format!("{index}.crt")));
        openssl(&[&["req", "-new", "-keyout", &private, "-out", &request], &key[..]].concat());
        let signer = (at("ca.crt"), at("ca.key"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &signer.0,
            "-CAkey",
            &signer.1,
            "-CAcreateserial",
            "-out",
            &public,
        ]);
    }
    let theirs = start.elapsed();
    eprintln!(
        "{count} leaves: kiln {ours:?} (with authorities, checks and fsync), openssl {theirs:?}, ratio {:.4}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}
