//! The `cloud-init` documents on unmodified stock Debian machines.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use common::{Site, approve, cache, judge, kubernetes, root};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stock");

#[test]
fn three_stock_machines_become_a_cluster_by_their_cloud_init_documents() {
    let (Some(()), Some(programs)) = (root(), kubernetes()) else { return };
    for program in ["mmdebstrap", "systemd-nspawn", "dpkg-scanpackages", "curl"] {
        let Some(_) = judge(program) else { return };
    }
    let scratch = tempfile::tempdir_in(cache()).unwrap();
    let Some(site) = Site::new(&scratch.path().join("site")) else { return };
    site.ok(&["build", "--format", "cloud-init"]);

    let stock = cache().join("stock");
    let blobs = cache().join("store/blobs");
    approve(Command::new("bash").arg(format!("{SCRIPTS}/image")).args([
        &stock,
        &site.dir.join("kiln.lock"),
        &blobs,
    ]));

    let ca = scratch.path().join("ca.crt");
    let kubeconfig = fs::read_to_string(site.out().join("admin.kubeconfig")).unwrap();
    let data =
        kubeconfig.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data:")).unwrap();
    fs::write(&ca, base64::engine::general_purpose::STANDARD.decode(data.trim().trim_matches('"')).unwrap())
        .unwrap();

    let machines = scratch.path().join("machines");
    fs::create_dir(&machines).unwrap();
    let mut boot = Command::new("bash");
    boot.arg(format!("{SCRIPTS}/boot")).args([
        &machines,
        &stock,
        &site.out().join("nodes"),
        &programs,
        Path::new(env!("CARGO_BIN_EXE_kiln")),
    ]);
    let said = approve(boot.arg("https://10.0.0.10:8443/readyz").arg(&ca));
    let expected: String = ["m1", "m2", "m3"]
        .map(|node| format!("== {node}\ncloud-init status: done\nsystem running\n"))
        .concat();
    assert_eq!(said, expected);
}
