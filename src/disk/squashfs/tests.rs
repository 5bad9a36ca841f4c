use std::fmt::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{BLOCK, Chunks, write};
use crate::host;
use crate::judge::{accepts, judge};
use crate::progress::Silent;
use crate::tree::{Entry, ImagePath, Tree};

const EPOCH: u64 = 1_700_000_000;

/// Bytes that do not compress.
fn noise(size: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

fn put(tree: &mut Tree, path: &str, entry: Entry) {
    tree.insert(ImagePath::new(path).unwrap(), entry);
}

/// A tree with everything that the format has a special place for.
fn sample() -> Tree {
    let origin: Arc<str> = Arc::from("test");
    let file = |bytes: Vec<u8>| Entry::file(bytes, 0o644, &origin);
    let mut tree = Tree::new();
    put(&mut tree, "/empty", file(Vec::new()));
    put(&mut tree, "/exactly-a-block", file(b"kiln".repeat(BLOCK / 4)));
    put(&mut tree, "/noise", file(noise(3 * BLOCK + 5, 1)));
    put(&mut tree, "/noise-again", file(noise(3 * BLOCK + 5, 1)));
    put(&mut tree, "/zeros", file(vec![0; 5 * BLOCK]));
    put(&mut tree, "/hole-in-the-middle", file([noise(BLOCK, 2), vec![0; BLOCK], noise(100, 3)].concat()));
    put(&mut tree, "/usr/bin/su", Entry { mode: 0o4755, ..file(b"#!/bin/false\n".to_vec()) });
    put(&mut tree, "/usr/bin/sh", Entry::symlink("dash", &origin));
    put(
        &mut tree,
        "/var/lib/etcd",
        Entry { mode: 0o700, ..Entry::directory(0o755, &origin) }.owned_by(901, 902),
    );
    let capability =
        [("security.capability".to_owned(), b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec())];
    for path in ["/usr/bin/ping", "/usr/bin/ping6"] {
        put(
            &mut tree,
            path,
            Entry { xattrs: capability.clone().into(), mtime: EPOCH + 99, ..file(path.into()) },
        );
    }
    // A list of more than 64 KiB, in many runs, and small files for many fragments.
    for number in 0_u32..2000 {
        let name = format!("/many/{}{number}", "long-name-".repeat(4));
        put(&mut tree, &name, file(noise(number as usize % 700, number.into())));
    }
    tree
}

fn image(tree: &Tree, path: &Path, known: &Chunks) -> Chunks {
    let file = host::fs::create(path, host::fs::PUBLIC).unwrap();
    write(tree, EPOCH, &file, known, &Silent).unwrap()
}

fn bytes(tree: &Tree, known: &Chunks) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    image(tree, &dir.path().join("image"), known);
    host::fs::read(&dir.path().join("image")).unwrap()
}

#[test]
fn unsquashfs_reads_back_every_byte_mode_owner_and_link() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, path, unpacked) = (sample(), dir.path().join("image"), dir.path().join("tree"));
    image(&tree, &path, &Chunks::default());
    let Some(mut unsquashfs) = judge("unsquashfs") else { return };
    accepts(unsquashfs.args(["-quiet", "-no-progress", "-no-xattrs", "-dest"]).arg(&unpacked).arg(&path));
    let Some(mut unsquashfs) = judge("unsquashfs") else { return };
    let listing = accepts(unsquashfs.env("TZ", "UTC").args(["-lln", "-dest", ""]).arg(&path));
    assert_eq!(
        listing.lines().filter(|line| line.contains("2023-11-14")).count(),
        tree.iter().filter(|(_, entry)| entry.mtime > 0).count() + 1
    );
    let mut expected = String::new();
    for (path, entry) in tree.iter() {
        let kind = match &entry.kind {
            crate::tree::EntryKind::Directory => 'd',
            crate::tree::EntryKind::Symlink(_) => 'l',
            crate::tree::EntryKind::File(content) => {
                assert!(
                    host::fs::read(&unpacked.join(path.relative())).unwrap() == content.read().unwrap(),
                    "{path}"
                );
                '-'
            }
        };
        let _ = writeln!(expected, "{kind} {}/{} {path}", entry.uid, entry.gid);
    }
    let found: String = listing
        .lines()
        .filter(|line| !line.ends_with(':') && line.contains(" /"))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}\n", &line[..1], words[1], words[5])
        })
        .collect();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&found), sorted(&expected));
    assert!(listing.contains("-rwsr-xr-x 0/0 ") && listing.contains("sh -> dash"), "{listing}");
    assert!(listing.lines().any(|line| line.starts_with("drwx------ 901/902 ")), "{listing}");
}

#[test]
fn unsquashfs_reads_the_capabilities_of_programs() {
    let dir = tempfile::tempdir().unwrap();
    let (path, unpacked) = (dir.path().join("image"), dir.path().join("tree"));
    image(&sample(), &path, &Chunks::default());
    let (Some(mut unsquashfs), Some(mut getfattr)) = (judge("unsquashfs"), judge("getfattr")) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root may set capabilities");
    }
    accepts(unsquashfs.args(["-quiet", "-no-progress", "-dest"]).arg(&unpacked).arg(&path));
    let said =
        accepts(getfattr.args(["--match=-", "--dump", "--encoding=hex"]).arg(unpacked.join("usr/bin/ping")));
    assert!(said.contains("security.capability=0x0100000200200000"), "{said}");
}

#[test]
fn the_kernel_mounts_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let tree = sample();
    image(&tree, &path, &Chunks::default());
    let Some(mut unshare) = judge("unshare") else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root may mount");
    }
    let script = "mount -t squashfs -o loop,ro \"$1\" /mnt && cd /mnt && find . -type f -exec sha256sum {} \
        + | sort | sha256sum";
    let kernel = accepts(unshare.args(["--mount", "sh", "-c", script, "sh"]).arg(&path));
    let mut sums: Vec<String> = Vec::new();
    for (path, entry) in tree.iter() {
        if let crate::tree::EntryKind::File(content) = &entry.kind {
            sums.push(format!("{}  ./{}\n", content.sha256(), path.relative()));
        }
    }
    sums.sort();
    let expected = crate::digest::Digest::of(sums.concat().as_bytes());
    assert_eq!(kernel.split_whitespace().next().unwrap(), expected.to_string());
}

#[test]
fn known_blocks_change_the_cost_and_not_one_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (path, index) = (dir.path().join("image"), dir.path().join("index"));
    let mut tree = sample();
    let first = image(&tree, &path, &Chunks::default());
    host::fs::write_atomic(&index, &first.to_bytes().unwrap(), host::fs::PUBLIC).unwrap();
    let known = Chunks::load(&index, &path);
    assert!(bytes(&tree, &known) == host::fs::read(&path).unwrap(), "the same tree");

    put(&mut tree, "/many/changed", Entry::file(*b"another file", 0o644, &Arc::from("test")));
    let expected = bytes(&tree, &Chunks::default());
    assert!(bytes(&tree, &known) == expected, "a changed tree");

    // What is not what it was is made again.
    let damaged = host::fs::create(&dir.path().join("damaged"), host::fs::PUBLIC).unwrap();
    let mut image = host::fs::read(&path).unwrap();
    image.iter_mut().skip(1000).step_by(5000).for_each(|byte| *byte ^= 1);
    damaged.write_all_at(&image, 0).unwrap();
    assert!(bytes(&tree, &Chunks::load(&index, &dir.path().join("damaged"))) == expected, "a damaged image");
    assert!(bytes(&tree, &Chunks::load(&index, &dir.path().join("missing"))) == expected, "a missing image");
    assert!(bytes(&tree, &Chunks::load(&path, &path)) == expected, "an index that is none");
}

#[test]
fn a_changed_small_file_changes_few_fragments() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = sample();
    let before = image(&tree, &dir.path().join("before"), &Chunks::default());
    put(&mut tree, "/many/a", Entry::file(*b"a file before all others", 0o644, &Arc::from("test")));
    let after = image(&tree, &dir.path().join("after"), &Chunks::default());
    let new = after.known.keys().filter(|key| !before.known.contains_key(key)).count();
    assert!(new <= 3, "{new} of {} blocks are new", after.known.len());
}

#[test]
fn an_attribute_that_has_no_place_is_refused_with_its_file() {
    let mut tree = Tree::new();
    let acl = [("system.posix_acl_access".to_owned(), vec![2, 0, 0, 0])];
    put(&mut tree, "/shared", Entry { xattrs: acl.into(), ..Entry::directory(0o755, &Arc::from("test")) });
    let file = tempfile::tempfile().unwrap();
    let err = write(&tree, EPOCH, &file, &Chunks::default(), &Silent).unwrap_err();
    assert_eq!(
        err.to_string(),
        "packing `/shared`: squashfs does not support the extended attribute `system.posix_acl_access`"
    );
}
