//! Whole output directories, checked by independent programs.

mod reading;
mod real;

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::{
    Artifacts, ClusterRecord, FORMATS, Manifest, Node, Published, RoleDisk, RoleImage, RoleInputs, pack, role,
};
use crate::disk::gpt::Table;
use crate::disk::pe::tests::sample;
use crate::disk::uki::tests::kernel;
use crate::host;
use crate::judge::{accepts, judge};
use crate::output::toolbox::tests::HostTools;
use crate::progress::Silent;
use crate::store::Store;
use crate::store::tests::store;
use crate::tree::{Entry, ImagePath, Tree};
use crate::words::{Arch, Output, RootFilesystem};

const EPOCH: u64 = 1_700_000_000;

fn tree(files: &[(&str, &[u8], u32)]) -> Tree {
    let origin: Arc<str> = Arc::from("test");
    let mut tree = Tree::new();
    for (path, bytes, mode) in files {
        tree.insert(ImagePath::new(path).unwrap(), Entry::file(*bytes, *mode, &origin));
    }
    tree
}

fn base() -> Tree {
    let (stub, kernel) = (sample(6), kernel());
    tree(&[
        ("/boot/vmlinuz-6.12.1-cloud", &kernel, 0o644),
        ("/usr/lib/systemd/boot/efi/linuxx64.efi.stub", &stub, 0o644),
        ("/usr/lib/systemd/boot/efi/systemd-bootx64.efi", &stub, 0o644),
        ("/usr/lib/os-release", b"ID=debian\n", 0o644),
    ])
}

fn root() -> Tree {
    let noise: Vec<u8> =
        (0..3_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    tree(&[
        ("/usr/bin/kubelet", &noise, 0o755),
        ("/usr/lib/os-release", b"ID=debian\n", 0o644),
        ("/usr/bin/su", b"su", 0o4755),
    ])
}

fn image(root: &Tree, store: &Store) -> crate::error::Result<RoleImage> {
    let (base, initrd) = (base(), tree(&[("/init", b"#!/bin/sh\n", 0o755)]));
    let filesystem = RootFilesystem::Squashfs;
    let inputs = RoleInputs {
        name: "control-plane",
        arch: Arch::Amd64,
        tree: root,
        base: &base,
        initrd: &initrd,
        epoch: EPOCH,
        filesystem,
    };
    role(&inputs, &HostTools, store, &Silent)
}

/// Builds an output directory with the nodes `m1` and `m2`.
fn build(image: &RoleImage, seeds: [&[u8]; 2], out: &Path) -> Published {
    build_formats(&["raw", "qcow2"], image, seeds, out)
}

fn build_formats(names: &[&str], image: &RoleImage, seeds: [&[u8]; 2], out: &Path) -> Published {
    let mut artifacts = Artifacts::begin(out, EPOCH).unwrap();
    let images = [RoleDisk::new(image)];
    let nodes = ["m1", "m2"]
        .into_iter()
        .zip(seeds)
        .map(|(name, seed)| Node { name, seed, image: Some(&images[0]), documents: None })
        .collect::<Vec<_>>();
    let outputs: Vec<Output> = names.iter().map(|name| name.parse().unwrap()).collect();
    pack(&outputs, &images, &nodes, &mut artifacts, &Silent).unwrap();
    let mut manifest = Manifest::new(EPOCH, cluster());
    manifest.images.insert("control-plane".into(), images[0].record().unwrap());
    artifacts.publish(manifest).unwrap()
}

fn cluster() -> ClusterRecord {
    let network = serde_json::json!({ "nodes": "10.0.0.0/24", "gateway": null, "interface": "lan0" });
    let endpoint = serde_json::json!({ "vip": null, "balancer": "external" });
    let described = serde_json::json!({ "name": "test", "network": network, "endpoint": endpoint, "nodes": [], "founders": "all" });
    serde_json::from_value(described).unwrap()
}

fn has_tools() -> bool {
    judge("mke2fs").is_some()
}

#[test]
fn judges_accept_the_disk_of_a_role_and_of_its_nodes() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let out = dir.path().join("out/test");
    assert_eq!(build(&image, [b"seed of m1", b"seed of m2"], &out), Published::New(6));
    let raw = out.join("images/control-plane.raw");
    for (program, arguments) in [("sfdisk", "--verify"), ("sgdisk", "--verify")] {
        let Some(mut judge) = judge(program) else { return };
        let verdict = accepts(judge.arg(arguments).arg(&raw));
        assert!(verdict.contains("No errors") || verdict.contains("No problems"), "{verdict}");
    }
    let table = Table::read(&mut host::fs::open(&raw).unwrap()).unwrap();
    let part = |label: &str| {
        let partition = table.find(label).unwrap();
        let path = dir.path().join(label);
        let bytes =
            host::fs::read_at(&raw, partition.start, usize::try_from(partition.size).unwrap()).unwrap();
        host::fs::write_atomic(&path, &bytes, host::fs::PUBLIC).unwrap();
        path
    };
    let root_hash = image.root.root_hash.to_string();
    accepts(
        judge("veritysetup")
            .unwrap()
            .arg("verify")
            .args([part("kiln-root"), part("kiln-root-verity")])
            .arg(&root_hash),
    );
    let listing = accepts(judge("unsquashfs").unwrap().arg("-lln").arg(part("kiln-root")));
    assert!(
        listing
            .lines()
            .any(|line| line.starts_with("-rwsr-xr-x 0/0 ") && line.ends_with(" squashfs-root/usr/bin/su")),
        "{listing}"
    );
    accepts(judge("fsck.fat").unwrap().arg("-n").arg(part("kiln-esp")));
    accepts(judge("e2fsck").unwrap().args(["-f", "-n"]).arg(part("kiln-state")));
    check_qcow2(&out, &raw, table.find("kiln-config").unwrap().start);
}

/// QEMU reads the role's disk from its qcow2 file, and the role's disk with the seed from the node's qcow2
/// file.
fn check_qcow2(out: &Path, raw: &Path, config: u64) {
    let compare = |one: &Path, other: &Path| {
        accepts(judge("qemu-img").unwrap().args(["compare", "-f", "raw", "-F", "qcow2"]).arg(one).arg(other));
        accepts(judge("qemu-img").unwrap().args(["check", "-f", "qcow2"]).arg(other));
    };
    compare(raw, &out.join("images/control-plane.qcow2"));
    let overlay = out.join("nodes/m2/m2.qcow2");
    if overlay.exists() {
        assert!(overlay.metadata().unwrap().len() < 1 << 20);
        let expected = out.join("expected");
        host::fs::write_atomic(&expected, &host::fs::read(raw).unwrap(), host::fs::PUBLIC).unwrap();
        host::fs::open_writable(&expected).unwrap().write_all_at(b"seed of m2", config).unwrap();
        compare(&expected, &overlay);
    }
}

#[test]
fn a_node_over_a_qcow2_image_is_read_as_one_disk_by_qemu() {
    if !has_tools() {
        return;
    }
    let Some(mut compare) = judge("qemu-img") else { return };
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    assert_eq!(build_formats(&["qcow2"], &image, [b"seed of m1", b"seed of m2"], &one), Published::New(5));
    assert_eq!(build_formats(&["raw"], &image, [b"seed of m1", b"seed of m2"], &other), Published::New(5));
    let disk = |out: &Path| {
        ["qcow2", "raw"]
            .map(|suffix| out.join("nodes/m1/m1").with_extension(suffix))
            .into_iter()
            .find(|path| path.exists())
    };
    accepts(compare.arg("compare").arg(disk(&one).unwrap()).arg(disk(&other).unwrap()));
}

#[test]
fn the_checksums_hold_and_secrets_are_their_owners() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let out = dir.path().join("out/test");
    build(&image, [b"seed of m1", b"seed of m2"], &out);
    let Some(mut sums) = judge("sha256sum") else { return };
    accepts(sums.args(["--check", "--strict", "SHA256SUMS"]).current_dir(&out));
    let mode = |path: &str| out.join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("images/control-plane.raw"), mode("manifest.json")), (0o755, 0o644, 0o644));
    assert_eq!((mode("nodes"), mode("nodes/m1"), mode("nodes/m1/m1.seed")), (0o700, 0o700, 0o600));
    let manifest = Manifest::read(&out).unwrap();
    assert!(manifest.artifacts.iter().all(|(path, record)| record.secret == path.starts_with("nodes/")));
}

#[test]
fn a_second_build_writes_nothing_and_a_changed_seed_writes_its_node_only() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let out = dir.path().join("out/test");
    let inode = |path: &str| out.join(path).metadata().unwrap().ino();
    build(&image, [b"seed of m1", b"seed of m2"], &out);
    let before =
        (inode(""), inode("images/control-plane.raw"), inode("nodes/m1/m1.seed"), inode("nodes/m2/m2.seed"));
    assert_eq!(build(&image, [b"seed of m1", b"seed of m2"], &out), Published::Unchanged);
    assert_eq!((inode(""), inode("images/control-plane.raw")), (before.0, before.1));
    assert_eq!(build(&image, [b"seed of m1", b"other seed"], &out), Published::New(2));
    assert_eq!((inode("images/control-plane.raw"), inode("nodes/m1/m1.seed")), (before.1, before.2));
    assert_ne!(inode("nodes/m2/m2.seed"), before.3);
    host::fs::open_writable(&out.join("images/control-plane.raw"))
        .unwrap()
        .write_all_at(b"x", 5 << 20)
        .unwrap();
    assert_eq!(
        build(&image, [b"seed of m1", b"other seed"], &out),
        Published::New(1),
        "a changed file is not kept"
    );
    let left: Vec<_> = host::fs::list(&dir.path().join("out")).unwrap();
    assert_eq!(left, [dir.path().join("out/.gitignore"), out]);
}

#[test]
fn two_stores_give_the_same_directory() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let sums: Vec<String> = ["one", "two"]
        .map(|name| {
            let image = image(&root(), &store(&dir.path().join(name).join("store"))).unwrap();
            let out = dir.path().join(name).join("out");
            build(&image, [b"1", b"2"], &out);
            host::fs::read_to_string(&out.join("SHA256SUMS")).unwrap()
        })
        .into();
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn a_secret_in_a_role_tree_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut root = root();
    let origin: Arc<str> = Arc::from("kube-apiserver");
    root.insert(
        ImagePath::new("/etc/kubernetes/pki/sa.key").unwrap(),
        Entry::file(*b"key", 0o600, &origin).secret(),
    );
    let err = image(&root, &store(dir.path())).unwrap_err().to_string();
    assert!(
        err.contains("`/etc/kubernetes/pki/sa.key` is marked as secret [secret, from `kube-apiserver`]"),
        "{err}"
    );
}

#[test]
fn a_seed_that_does_not_fit_is_refused_and_nothing_is_published() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let images = [RoleDisk::new(&image)];
    let (seed, out) = (vec![1; (4 << 20) + 1], dir.path().join("out"));
    let mut artifacts = Artifacts::begin(&out, EPOCH).unwrap();
    let node = Node { name: "m1", seed: &seed, image: Some(&images[0]), documents: None };
    let err = pack(&["raw".parse().unwrap()], &images, &[node], &mut artifacts, &Silent).unwrap_err();
    assert_eq!(
        err.to_string(),
        "the seed of `m1` is 4096 KiB long, but the config partition has room for only 4096 KiB"
    );
    drop(artifacts);
    assert!(!out.exists());
}

#[test]
fn what_a_dead_build_left_is_removed_and_what_a_living_one_makes_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dead = dir.path().join(".kiln-dead");
    host::fs::create_directories(&dead.join("images")).unwrap();
    let living = Artifacts::begin(&dir.path().join("one"), EPOCH).unwrap();
    let other = Artifacts::begin(&dir.path().join("two"), EPOCH).unwrap();
    assert!(!dead.exists());
    assert_eq!(host::fs::list(dir.path()).unwrap().len(), 2);
    drop((living, other));
    assert!(host::fs::list(dir.path()).unwrap().is_empty());
}

#[test]
fn a_new_parent_is_kept_out_of_git_and_an_older_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Artifacts::begin(&dir.path().join("out/ha"), EPOCH).unwrap());
    assert_eq!(host::fs::read(&dir.path().join("out/.gitignore")).unwrap(), b"*\n");
    drop(Artifacts::begin(&dir.path().join("ha"), EPOCH).unwrap());
    assert!(!dir.path().join(".gitignore").exists());
}

#[test]
fn a_directory_that_no_build_made_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    host::fs::write_atomic(&dir.path().join("thesis.txt"), b"years of work", host::fs::PUBLIC).unwrap();
    let err = Artifacts::begin(dir.path(), EPOCH).unwrap_err();
    assert!(
        err.to_string().ends_with("exists but was not created by a build; it was left unchanged"),
        "{err}"
    );
}

#[test]
fn every_format_of_cluster_files_has_its_code() {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    assert_eq!(names, Output::all().map(|output| output.name).collect::<Vec<_>>());
}
