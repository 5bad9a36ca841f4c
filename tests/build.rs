//! `kiln build` as users run it: reproducible, without partial outputs and without repeated work.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Site, approve, cache, copy_directory, files, fresh_store, ha, judge, root, sha256};

/// Paths and digests of all artifacts that a build published.
fn digests(out: &Path) -> Vec<(String, String)> {
    let artifacts = files(out)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "manifest.json" && name != "SHA256SUMS"));
    artifacts.map(|path| (path.display().to_string(), sha256(&out.join(path)))).collect()
}

#[test]
fn checksums_cover_every_artifact_and_hold() {
    let Some(site) = ha() else { return };
    let out = site.out();
    approve(
        Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&out),
    );
    let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    for path in files(&out) {
        let path = path.display().to_string();
        assert!(
            path == "SHA256SUMS" || sums.lines().any(|line| line.ends_with(&format!("  {path}"))),
            "{path} is not in SHA256SUMS"
        );
    }
}

#[test]
fn a_second_build_with_nothing_changed_rewrites_nothing() {
    let Some(site) = ha() else { return };
    let out = site.out();
    let stamps = || {
        files(&out)
            .iter()
            .map(|path| {
                let metadata = out.join(path).metadata().unwrap();
                (path.clone(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
            })
            .collect::<Vec<_>>()
    };
    let before = stamps();
    site.ok(&["build"]);
    assert_eq!(stamps(), before);
}

#[test]
fn a_lock_that_was_made_for_another_cluster_file_is_refused() {
    let Some(_) = ha() else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let other = Site::new(&dir.path().join("site")).unwrap();
    let file = other.dir.join("cluster.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[base]\npackages = [\"tcpdump\"]\n")).unwrap();
    let output = other.command(&["build"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the packages of `control-plane` do not include `tcpdump`")
            && said.contains("hint: run `kiln lock`"),
        "{said}"
    );
    assert!(!other.dir.join("out").exists());
}

#[test]
fn a_build_of_cloud_init_alone_makes_no_image() {
    let Some(_) = ha() else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let other = Site::new(&dir.path().join("site")).unwrap();
    // The build needs neither packages in the store nor a reachable mirror.
    let mut build = other.command(&["build", "--format", "cloud-init"]);
    approve(
        build.env("KILN_STORE", dir.path().join("store")).env("KILN_MIRROR", "http://127.0.0.1:9/debian"),
    );
    let made: Vec<String> = files(&other.out()).iter().map(|path| path.display().to_string()).collect();
    assert!(
        made.contains(&"nodes/m1/user-data".to_owned())
            && !made.iter().any(|path| path.starts_with("images/")),
        "{made:?}"
    );
}

#[test]
fn a_lock_of_stock_systems_alone_says_so_when_an_image_is_asked_for() {
    let Some(_) = ha() else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let site = Site::new(&dir.path().join("site")).unwrap();
    let file = site.dir.join("cluster.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[outputs]\nformats = [\"cloud-init\"]\n")).unwrap();
    site.ok(&["lock"]);
    site.ok(&["build"]);
    let refused = site.command(&["build", "--format", "raw"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("pins no packages for images") && said.contains("formats = [\"raw\"]"), "{said}");
}

#[test]
fn another_directory_umask_zone_and_locale_give_the_same_bytes() {
    let Some(site) = ha() else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let other = Site::new(&dir.path().join("somewhere else")).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 077; exec \"$0\" build"])
        .arg(env!("CARGO_BIN_EXE_kiln"))
        .current_dir(&other.dir);
    shell.env("KILN_STORE", fresh_store(dir.path())).envs([
        ("TZ", "Asia/Shanghai"),
        ("LANG", "tr_TR.UTF-8"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("HOME", "/nonexistent"),
    ]);
    approve(&mut shell);
    assert_eq!(digests(&other.out()), digests(&site.out()));
}

#[test]
fn an_ordinary_user_builds_the_same_bytes_with_and_without_subordinate_ids() {
    let Some(site) = ha() else { return };
    let Some(()) = root() else { return };
    for (user, subordinate) in [("kiln-test-plain", false), ("kiln-test-subids", true)] {
        let _ = Command::new("userdel").args(["--remove", user]).output();
        approve(
            Command::new("useradd").args(["--create-home", "--home-dir"]).arg(cache().join(user)).arg(user),
        );
        approve(Command::new("usermod").args([
            if subordinate { "--add-subuids" } else { "--del-subuids" },
            "100000-1000000",
            user,
        ]));
        let home = cache().join(user);
        let other = Site::new(&home.join("site")).unwrap();
        copy_directory(Path::new(env!("CARGO_BIN_EXE_kiln")), &home.join("kiln"));
        fresh_store(&home);
        approve(Command::new("chown").args(["-R", user]).arg(&home));
        reachable(&home);
        approve(
            Command::new("setpriv")
                .args([
                    "--reuid",
                    user,
                    "--regid",
                    user,
                    "--init-groups",
                    "--inh-caps=-all",
                    "--bounding-set=-all",
                ])
                .arg(home.join("kiln"))
                .arg("build")
                .current_dir(&other.dir)
                .env("HOME", &home)
                .env("KILN_STORE", home.join("store")),
        );
        assert_eq!(digests(&other.out()), digests(&site.out()), "{user}");
        let _ = Command::new("userdel").args(["--remove", user]).output();
        let _ = fs::remove_dir_all(&home);
    }
}

/// Lets an ordinary user traverse the parent directories of its home: root's cache usually has mode 0700.
fn reachable(path: &Path) {
    for directory in path.ancestors().skip(1) {
        let mode = directory.metadata().unwrap().permissions().mode();
        if mode & 0o001 == 0 {
            fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o001)).unwrap();
        }
    }
}

#[test]
fn fifty_kills_at_random_moments_leave_no_partial_output_and_the_next_build_succeeds() {
    let Some(site) = ha() else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let other = Site::new(&dir.path().join("site")).unwrap();
    let store = fresh_store(dir.path());
    let expected = digests(&site.out());
    let started = Instant::now();
    approve(other.command(&["build"]).env("KILN_STORE", &store));
    let whole = started.elapsed();
    fs::remove_dir_all(other.dir.join("out")).unwrap();
    fs::remove_dir_all(store.join("stages")).unwrap();
    // A linear congruential generator: random enough to hit every stage, but identical in every run.
    let mut seed = 7_u64;
    let rounds = std::env::var("KILN_TEST_KILLS").map_or(50, |text| text.parse().unwrap());
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = whole.mul_f64((seed >> 40) as f64 / f64::from(1 << 24)).min(Duration::from_secs(8));
        let mut child = other
            .command(&["build", "--quiet"])
            .env("KILN_STORE", &store)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let out = other.dir.join("out");
        let published = out.is_dir()
            && fs::read_dir(&out)
                .unwrap()
                .any(|entry| !entry.unwrap().file_name().to_string_lossy().starts_with('.'));
        if published {
            assert_eq!(digests(&other.out()), expected, "round {round}: the outputs are incomplete");
            fs::remove_dir_all(&out).unwrap();
        }
    }
    approve(other.command(&["build"]).env("KILN_STORE", &store));
    assert_eq!(digests(&other.out()), expected);
    let litter: Vec<_> = fs::read_dir(other.dir.join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != ".gitignore" && name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(litter.is_empty(), "left behind: {litter:?}");
}

#[test]
fn a_full_disk_is_named_and_nothing_is_published() {
    let Some(_) = ha() else { return };
    let Some(()) = root() else { return };
    let Some(mut unshare) = judge("unshare") else { return };
    let dir = tempfile::tempdir_in(cache()).unwrap();
    let other = Site::new(&dir.path().join("site")).unwrap();
    fs::create_dir(other.dir.join("out")).unwrap();
    let script = "mount -t tmpfs -o size=40m none out && \"$0\" build 2>&1; code=$?; ls -A out; exit $code";
    let output = unshare
        .args(["--mount", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_kiln"))
        .current_dir(&other.dir)
        .env("KILN_STORE", cache().join("store"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("No space left on device") && text.contains("out/"), "{text}");
    assert!(!text.contains("manifest.json\n"), "{text}");
}
