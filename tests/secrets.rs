//! Every key of a vault is a canary: none may occur in an artifact that others can read, in kiln's output
//! or in the store.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Site, approve, cache, files, fresh_store, holding, judge};

/// The second base64 line of each private key, and the encryption key. Keys of the same kind share their
/// first line.
fn canaries(vault: &Path) -> Vec<(PathBuf, String)> {
    let secret =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "key" || extension == "pem");
    let canary = |path: PathBuf| {
        let text = fs::read_to_string(vault.join(&path)).unwrap();
        let key = text
            .split("PRIVATE KEY-----\n")
            .nth(1)
            .map_or(text.as_str(), |key| key.split_once('\n').unwrap().1);
        let line = key.lines().next().unwrap().to_owned();
        (path, line)
    };
    files(vault).into_iter().filter(secret).map(canary).collect()
}

/// The canaries as they occur in PEM files, and base64-encoded once more as in kubeconfigs, in all three
/// alignments.
fn patterns(canaries: &[(PathBuf, String)]) -> String {
    let of_one = |canary: &String| {
        let encoded = |skip: usize| base64(&canary.as_bytes()[skip..][..(canary.len() - skip) / 3 * 3]);
        [canary.clone(), encoded(0), encoded(1), encoded(2)].join("\n") + "\n"
    };
    canaries.iter().map(|(_, canary)| of_one(canary)).collect()
}

fn base64(bytes: &[u8]) -> String {
    let mut command = Command::new("base64");
    command.arg("--wrap=0").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// All output of kiln while building and inspecting the artifacts.
fn said(site: &Site) -> Vec<u8> {
    let formats = ["--format", "raw", "--format", "qcow2", "--format", "dir", "--format", "cloud-init"];
    let verbs: [&[&str]; 13] = [
        &["check"],
        &["plan"],
        &["plan", "--json"],
        &["pki", "init"],
        &["pki", "list", "--json"],
        &["pki", "expiry", "--json"],
        &[&["build"], &formats[..]].concat(),
        &[&["build", "--json"], &formats[..]].concat(),
        &["render", "m1"],
        &["render", "m1", "/etc/kubernetes/pki/ca.crt"],
        &["inspect", "out/ha"],
        &["inspect", "out/ha/nodes/m1/m1.seed", "--json"],
        &["verify", "out/ha"],
    ];
    let outputs = verbs.map(|arguments| site.ok(arguments));
    outputs.iter().flat_map(|output| [&output.stdout[..], &output.stderr]).collect::<Vec<_>>().concat()
}

#[test]
fn no_key_is_in_an_image_the_store_a_message_or_a_file_that_others_can_read() {
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let Some(mut site) = Site::new(&dir.path().join("site")) else { return };
    // A fresh store, because stages of other sites in the shared store do not contain keys from this vault.
    site.store = fresh_store(dir.path());
    let patterns = dir.path().join("patterns");
    fs::write(&patterns, self::patterns(&canaries(&site.dir.join("vault")))).unwrap();
    // The search finds the canaries where they belong, both in PEM files and in kubeconfigs.
    assert!(holding(&patterns, &[&site.dir.join("vault/leaves")]).len() >= 50);
    site.ok(&["render", "m1", "--secrets", "--out", "m1"]);
    let on_node = holding(&patterns, &[&site.dir.join("m1")]);
    for expected in
        ["etc/kubernetes/pki/sa.key", "etc/kubernetes/scheduler.conf", "etc/kubernetes/encryption.yaml"]
    {
        assert!(on_node.iter().any(|path| path.ends_with(expected)), "{expected} is not among {on_node:?}");
    }

    let log = dir.path().join("log");
    fs::write(&log, said(&site)).unwrap();
    assert!(!files(&site.store.join("stages")).is_empty(), "the build did not use this test's store");
    assert_eq!(holding(&patterns, &[&log, &site.store]), Vec::<String>::new());
    let with_keys = holding(&patterns, &[&site.out()]);
    assert!(with_keys.iter().any(|path| path.ends_with("admin.kubeconfig")), "{with_keys:?}");
    for path in with_keys {
        let mode = Path::new(&path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path} contains a key and others can read it");
    }
    let Some(unpacked) = unpack(&site.out().join("images/control-plane"), dir.path()) else { return };
    assert_eq!(holding(&patterns, &[&unpacked]), Vec::<String>::new());
}

/// Unpacks the root and the initrd of a role image with programs other than kiln.
fn unpack(image: &Path, dir: &Path) -> Option<PathBuf> {
    let (mut unsquashfs, mut objcopy, mut zstd) = (judge("unsquashfs")?, judge("objcopy")?, judge("zstd")?);
    let into = dir.join("unpacked");
    fs::create_dir(&into).unwrap();
    let (root, packed, initrd) = (into.join("root"), dir.join("initrd.zst"), into.join("initrd"));
    approve(
        unsquashfs
            .args(["-quiet", "-no-progress", "-no-xattrs", "-ignore-errors", "-dest"])
            .arg(&root)
            .arg(image.join("root.squashfs")),
    );
    approve(
        objcopy
            .args(["--output-target=binary", "--only-section=.initrd"])
            .arg(image.join("kiln.efi"))
            .arg(&packed),
    );
    approve(zstd.args(["--quiet", "--decompress"]).arg(&packed).arg("-o").arg(&initrd));
    assert!(root.join("usr/bin/kubelet").exists() && fs::metadata(&initrd).unwrap().len() > 1 << 20);
    Some(into)
}

#[test]
fn a_node_holds_no_authority_s_key_and_no_other_node_s() {
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let Some(site) = Site::new(&dir.path().join("site")) else { return };
    let vault = site.dir.join("vault");
    let foreign = |path: &Path| {
        path.starts_with("authorities") || path.starts_with("leaves/m2") || path.ends_with("super-admin.pem")
    };
    let kept: Vec<(PathBuf, String)> =
        canaries(&vault).into_iter().filter(|(path, _)| foreign(path)).collect();
    assert!(kept.len() > 15, "{} keys", kept.len());
    let path = dir.path().join("patterns");
    fs::write(&path, patterns(&kept)).unwrap();
    site.ok(&["render", "m1", "--secrets", "--out", "m1"]);
    assert_eq!(holding(&path, &[&site.dir.join("m1")]), Vec::<String>::new());
}
