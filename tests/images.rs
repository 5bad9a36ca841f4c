//! Published artifacts, judged by independent programs.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Site, approve, cache, ha, holding, judge, root, sha256};

/// One partition as sfdisk sees it.
struct Partition {
    name: String,
    kind: String,
    uuid: String,
    start: u64,
    size: u64,
}

fn raw(site: &Site) -> PathBuf {
    site.out().join("images/control-plane.raw")
}

fn partitions(image: &Path) -> Vec<Partition> {
    let json = approve(judge("sfdisk").unwrap().arg("--json").arg(image));
    let table: serde_json::Value = serde_json::from_str(&json).unwrap();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_lowercase();
    let rows = table["partitiontable"]["partitions"].as_array().unwrap();
    rows.iter()
        .map(|row| Partition {
            name: text(row, "name"),
            kind: text(row, "type"),
            uuid: text(row, "uuid").replace('-', ""),
            start: row["start"].as_u64().unwrap() * 512,
            size: row["size"].as_u64().unwrap() * 512,
        })
        .collect()
}

fn find<'a>(partitions: &'a [Partition], name: &str) -> &'a Partition {
    partitions
        .iter()
        .find(|partition| partition.name == name)
        .unwrap_or_else(|| panic!("no partition `{name}`"))
}

/// Copies one partition to a separate file.
fn extract(image: &Path, partition: &Partition, to: &Path) {
    let range = [format!("skip={}", partition.start), format!("count={}", partition.size)];
    approve(
        Command::new("dd")
            .arg(format!("if={}", image.display()))
            .arg(format!("of={}", to.display()))
            .args(range)
            .args(["bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none"]),
    );
}

#[test]
fn the_partition_table_is_the_one_of_the_discoverable_partitions_specification() {
    let Some(site) = ha() else { return };
    let Some(mut sfdisk) = judge("sfdisk") else { return };
    approve(sfdisk.arg("--verify").arg(raw(site)));
    let partitions = partitions(&raw(site));
    let kinds: Vec<(&str, &str)> =
        partitions.iter().map(|partition| (partition.name.as_str(), partition.kind.as_str())).collect();
    assert_eq!(
        kinds,
        [
            ("kiln-esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            ("kiln-root", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            ("kiln-root-verity", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
            ("kiln-config", "0fc63daf-8483-4772-8e79-3d69d8477de4"),
            ("kiln-state", "4d21b016-b534-45c2-a9fb-5c16e091fd2d"),
        ]
    );
}

#[test]
fn the_root_verifies_against_the_hash_that_its_partition_names_carry() {
    let Some(site) = ha() else { return };
    let Some(mut veritysetup) = judge("veritysetup") else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let partitions = partitions(&raw(site));
    let (root, hashes) = (dir.path().join("root"), dir.path().join("verity"));
    extract(&raw(site), find(&partitions, "kiln-root"), &root);
    extract(&raw(site), find(&partitions, "kiln-root-verity"), &hashes);
    let root_hash =
        format!("{}{}", find(&partitions, "kiln-root").uuid, find(&partitions, "kiln-root-verity").uuid);
    approve(veritysetup.arg("verify").args([&root, &hashes]).arg(&root_hash));
    if let Some(mut unsquashfs) = judge("unsquashfs") {
        let listing = approve(unsquashfs.args(["-lls", "-no-progress"]).arg(&root));
        for program in ["kube-apiserver", "kubelet", "kiln", "haproxy"] {
            assert!(
                listing.lines().any(|line| line.ends_with(&format!("bin/{program}"))),
                "{program} is not in the root"
            );
        }
    }
}

#[test]
fn systemd_dissect_understands_the_image() {
    let Some(site) = ha() else { return };
    let Some(()) = root() else { return };
    let Some(mut dissect) = judge("systemd-dissect") else { return };
    let text = approve(dissect.arg("--no-pager").arg(raw(site)));
    assert!(text.contains("root") && text.contains("esp"), "{text}");
}

#[test]
fn the_qcow2_is_sound_and_holds_the_same_disk_as_the_raw_image() {
    let Some(site) = ha() else { return };
    let Some(mut check) = judge("qemu-img") else { return };
    let qcow2 = raw(site).with_extension("qcow2");
    approve(check.arg("check").arg(&qcow2));
    approve(
        judge("qemu-img").unwrap().args(["compare", "-f", "qcow2", "-F", "raw"]).args([&qcow2, &raw(site)]),
    );
}

#[test]
fn the_file_systems_of_the_esp_and_the_state_are_clean() {
    let Some(site) = ha() else { return };
    let Some(mut fsck) = judge("fsck.fat") else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let partitions = partitions(&raw(site));
    let (esp, state) = (dir.path().join("esp"), dir.path().join("state"));
    extract(&raw(site), find(&partitions, "kiln-esp"), &esp);
    extract(&raw(site), find(&partitions, "kiln-state"), &state);
    approve(fsck.arg("-n").arg(&esp));
    approve(judge("e2fsck").unwrap().args(["-f", "-n"]).arg(&state));
}

#[test]
fn no_secret_of_the_vault_is_in_a_role_image() {
    let Some(site) = ha() else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let root = dir.path().join("root");
    extract(&raw(site), find(&partitions(&raw(site)), "kiln-root"), &root);
    let Some(mut unsquashfs) = judge("unsquashfs") else { return };
    approve(
        unsquashfs
            .args(["-no-progress", "-quiet", "-no-xattrs", "-dest"])
            .arg(dir.path().join("tree"))
            .arg(&root),
    );
    let (tree, patterns) = (dir.path().join("tree"), dir.path().join("patterns"));
    fs::write(&patterns, secrets(&site.dir.join("vault")).join("\n")).unwrap();
    assert_eq!(holding(&patterns, &[&tree]), Vec::<String>::new());
    // The search finds a planted secret.
    let planted = tree.join("planted");
    fs::copy(site.dir.join("vault/leaves/m1/apiserver.pem"), &planted).unwrap();
    assert_eq!(holding(&patterns, &[&tree]), [planted.to_str().unwrap()]);
}

/// One characteristic line of every private key in the vault.
fn secrets(vault: &Path) -> Vec<String> {
    let mut secrets = Vec::new();
    for path in common::files(vault) {
        let text = fs::read_to_string(vault.join(path)).unwrap();
        let mut lines = text.lines().skip_while(|line| !line.contains("PRIVATE KEY-----")).skip(1);
        secrets.extend(lines.next().filter(|line| line.len() > 20).map(str::to_owned));
    }
    assert!(secrets.len() > 20, "the vault holds {} keys", secrets.len());
    secrets
}

#[test]
fn a_seed_costs_less_than_a_mebibyte_and_nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let Some(site) = ha() else { return };
    for node in ["m1", "m2", "m3"] {
        let seed = site.out().join(format!("nodes/{node}/{node}.seed"));
        let metadata = seed.metadata().unwrap();
        assert!(metadata.len() < 1 << 20, "{node}: {} bytes", metadata.len());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{node}");
    }
    let digests: Vec<String> =
        ["m1", "m2", "m3"].map(|node| sha256(&site.out().join(format!("nodes/{node}/{node}.seed")))).into();
    assert!(digests[0] != digests[1] && digests[1] != digests[2]);
}

#[test]
fn an_erofs_root_holds_the_same_files_as_the_squashfs_one() {
    let (Some(()), Some(shared)) = (root(), ha()) else { return };
    let Some(mut unshare) = judge("unshare") else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let site = Site::new(&dir.path().join("site")).unwrap();
    let file = site.dir.join("cluster.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[base]\nfilesystem = \"erofs\"\n")).unwrap();
    site.ok(&["build", "--format", "dir"]);
    let erofs = site.out().join("images/control-plane/root.erofs");
    let squashfs = dir.path().join("root.squashfs");
    let image = raw(shared);
    extract(&image, find(&partitions(&image), "kiln-root"), &squashfs);
    let script = "mkdir a b && mount -o ro,loop \"$1\" a && mount -o ro,loop \"$2\" b && diff --recursive \
        --no-dereference a b && cd a && find . -printf '%p %m %U %G %y\\n' | sort >../a.list && cd ../b && \
        find . -printf '%p %m %U %G %y\\n' | sort | diff ../a.list -";
    approve(
        unshare.args(["--mount", "sh", "-c", script, "sh"]).args([&squashfs, &erofs]).current_dir(dir.path()),
    );
}
