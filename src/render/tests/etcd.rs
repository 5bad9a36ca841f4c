//! Every etcd version that a cluster file may set: golden units, and the source of the programs.

use super::golden::{golden, machine_id, settled};
use super::{rendered_with, resolved, text, vault};
use crate::overlay::Overlays;
use crate::profile::tests::problems;
use crate::render;
use crate::words::{BinarySource, EtcdVersion};

const HA: &str = include_str!("../../../profiles/ha/cluster.toml");
const UNIT: &str = "/etc/systemd/system/etcd.service";

fn with_etcd(version: &str) -> String {
    format!("{HA}\n[etcd]\nversion = \"{version}\"\n")
}

fn unit(text_of_cluster: &str) -> String {
    let cluster = resolved(text_of_cluster);
    let pki = vault(&cluster);
    let (_, tree) = rendered_with(&cluster, &pki).swap_remove(0);
    text(&settled(&tree, &pki, &machine_id(&tree)), UNIT)
}

#[test]
fn every_minor_of_etcd_gets_the_flags_that_it_knows() {
    for (minor, patch) in EtcdVersion::MINORS.zip([20, 32, 27, 34, 21, 5]) {
        golden("etcd", &format!("3.{minor}.service"), &unit(&with_etcd(&format!("3.{minor}.{patch}"))));
    }
}

#[test]
fn a_flag_that_came_with_a_patch_is_for_those_from_it_on() {
    for (flag, version, known) in [
        ("--cipher-suites=", "3.1.20", false),
        ("--cipher-suites=", "3.2.21", false),
        ("--cipher-suites=", "3.2.22", true),
        ("--cipher-suites=", "3.3.6", false),
        ("--cipher-suites=", "3.3.7", true),
        ("--cipher-suites=", "3.4.0", true),
        ("--tls-min-version=", "3.5.7", false),
        ("--tls-min-version=", "3.5.8", true),
        ("--tls-min-version=", "3.6.0", true),
    ] {
        assert_eq!(unit(&with_etcd(version)).contains(flag), known, "etcd {version} and {flag}");
    }
    assert!(unit(HA).contains("--tls-min-version=TLS1.2"), "Debian's 3.5 is newer");
}

#[test]
fn a_version_of_the_files_own_comes_from_a_release_and_brings_no_package() {
    let needs = |text: &str| {
        render::requirements(&resolved(text), "control-plane", &Overlays::load(&[]).unwrap()).unwrap()
    };
    let has = |names: &[String]| {
        ["etcd", "etcdctl", "etcd-client", "etcd-server"].map(|name| names.iter().any(|other| other == name))
    };
    let (own, suite) = (needs(&with_etcd("3.4.13")), needs(HA));
    assert_eq!((has(&own.binaries), has(&own.packages)), ([true, true, false, false], [false; 4]));
    assert_eq!((has(&suite.binaries), has(&suite.packages)), ([false; 4], [false, false, true, true]));
    let url = "https://github.com/etcd-io/etcd/releases/download/v3.4.13/etcd-v3.4.13-linux-amd64.tar.gz"
        .to_owned();
    assert_eq!(
        resolved(&with_etcd("3.4.13")).binaries.last(),
        Some(&BinarySource::Archive { url, sha256: None })
    );
}

#[test]
fn versions_and_digests_that_are_none_are_refused() {
    let digest = "[[binaries]]\narchive = \"https://example.org/etcd-v3.4.13-linux-amd64.tar.gz\"\nsha256 =";
    for (text, expected) in [
        (with_etcd("3.7.0"), "`\"3.7.0\"`: etcd 3.7.0 is not supported (choose a release from 3.1 to 3.6)"),
        (with_etcd("3.4"), "`\"3.4\"`: `3.4` is not an etcd version (use a value such as `\"3.5.21\"`)"),
        (format!("{HA}\n{digest} \"{}\"\n", "0".repeat(64)), ""),
        (
            format!("{HA}\n[[binaries]]\ndirectory = \"programs\"\nsha256 = \"{}\"\n", "0".repeat(64)),
            "`\"0000000000000000000000000000000000000000000000000000000000000000\"`: a directory has no \
            digest: the lock pins each program in the directory (remove `sha256`)",
        ),
    ] {
        assert_eq!(problems(&text).join("; "), expected);
    }
    let text = format!("{HA}\n{digest} \"00\"\n");
    assert!(
        problems(&text)[0]
            .starts_with("`\"00\"`: `00` is not a SHA-256 digest (64 lower-case hexadecimal digits)"),
        "{:?}",
        problems(&text)
    );
}
