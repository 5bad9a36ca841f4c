//! An etcd version other than the suite's, from a directory of programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Variant, approve, cache, judge, sha256};
use crate::running::{Expected, MASTERS, RAW, Running};

/// Copies the host's etcd and etcdctl to a separate directory. Returns the directory and the version.
fn programs() -> Option<(PathBuf, String)> {
    let (etcd, etcdctl) = (judge("etcd")?, judge("etcdctl")?);
    let directory = cache().join("etcd");
    fs::create_dir_all(&directory).unwrap();
    for program in [&etcd, &etcdctl] {
        let program = Path::new(program.get_program());
        fs::copy(program, directory.join(program.file_name().unwrap())).unwrap();
    }
    let said = approve(Command::new(directory.join("etcd")).arg("--version"));
    Some((directory, said.split_whitespace().nth(2).unwrap().to_owned()))
}

#[test]
fn a_cluster_runs_the_etcd_that_its_file_names() {
    let Some((directory, version)) = programs() else { return };
    let source =
        format!("[etcd]\nversion = \"{version}\"\n[[binaries]]\ndirectory = \"{}\"", directory.display());
    let source = ("# [[binaries]]\n# directory = \"kubernetes\"", &*Box::leak(source.into_boxed_str()));
    let variant = Variant { name: "ha-etcd", profile: "ha", changes: Box::leak(Box::new([RAW, source])) };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    for node in ["m1", "m2", "m3"] {
        let running_one = running.lab.inside(node, &["sh", "-c", "sha256sum /proc/$(pidof etcd)/exe"]);
        let expected = sha256(&directory.join("etcd"));
        assert!(
            String::from_utf8_lossy(&running_one.stdout).starts_with(&expected),
            "{node}: {running_one:?}"
        );
    }
    running.survives_the_holder_as("tests/lab");
    running.ends_well();
}
