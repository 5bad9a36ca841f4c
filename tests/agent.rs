//! The agent on a root filesystem as the initrd sees it: the image's files, covered by the node's files in
//! memory.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::fs;
use std::path::Path;

use common::{approve, ha, judge, root};

/// Runs a script in a mount namespace with a separate `/run`, so that this machine remains unchanged.
fn in_private(script: &str, root: &Path, seed: &Path) -> Option<String> {
    let mut unshare = judge("unshare")?;
    unshare.args(["--mount", "sh", "-euc", &format!("mount -t tmpfs none /run\n{script}")]);
    unshare
        .env("KILN", env!("CARGO_BIN_EXE_kiln"))
        .env("ROOT", root)
        .env("SEED", seed)
        .env_remove("KILN_SEED");
    Some(approve(&mut unshare))
}

fn image(dir: &Path) {
    for directory in ["etc", "var", "usr/share/factory/var/lib/dpkg"] {
        fs::create_dir_all(dir.join(directory)).unwrap();
    }
    fs::write(dir.join("etc/os-release"), "ID=debian\n").unwrap();
    fs::write(dir.join("etc/hostname"), "unconfigured\n").unwrap();
    fs::write(dir.join("usr/share/factory/var/lib/dpkg/status"), "").unwrap();
}

#[test]
fn the_nodes_files_lie_over_the_images_and_a_second_run_changes_nothing() {
    let (Some(()), Some(site)) = (root(), ha()) else { return };
    let dir = tempfile::tempdir().unwrap();
    image(dir.path());
    let script = r#"
        "$KILN" agent apply --root "$ROOT" --seed "$SEED"
        cat "$ROOT/etc/hostname" "$ROOT/etc/os-release"
        stat --format='%a %u %n' "$ROOT/etc" "$ROOT/etc/kubernetes/pki/apiserver.key" "$ROOT/var/lib/kiln/seed"
        find "$ROOT/etc" "$ROOT/var" /run/kiln -printf '%p %i %m %U %T@ %C@\n' | sort > /run/before
        "$KILN" agent apply --root "$ROOT" --seed "$SEED"
        find "$ROOT/etc" "$ROOT/var" /run/kiln -printf '%p %i %m %U %T@ %C@\n' | sort > /run/after
        cmp /run/before /run/after && echo identical
        "$KILN" agent status --json
    "#;
    let Some(said) = in_private(script, dir.path(), &site.out().join("nodes/m2/m2.seed")) else { return };
    let shown = dir.path().display();
    for expected in
        ["m2\nID=debian\n", &format!("755 0 {shown}/etc\n"), &format!("600 0 {shown}/var/lib/kiln/seed\n")]
    {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    assert!(said.contains("no changes were necessary") && said.contains("\nidentical\n"), "{said}");
    assert!(said.contains(r#""outcome": "applied""#) && said.contains(r#""node": "m2""#), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "a secret was shown");
    assert_eq!(fs::read_to_string(dir.path().join("etc/hostname")).unwrap(), "unconfigured\n");
}

#[test]
fn a_seed_that_is_not_this_machines_writes_nothing() {
    let (Some(()), Some(site)) = (root(), ha()) else { return };
    let dir = tempfile::tempdir().unwrap();
    image(dir.path());
    let script = r#"
        export SYSTEMD_PROC_CMDLINE=kiln.node=m3
        ! "$KILN" agent apply --root "$ROOT" --seed "$SEED"
        find "$ROOT/var"
    "#;
    let Some(said) = in_private(script, dir.path(), &site.out().join("nodes/m2/m2.seed")) else { return };
    assert!(said.contains("the kernel command line has `kiln.node=m3`, but the seed is for `m2`"), "{said}");
    assert!(!said.contains("lib/kiln"), "{said}");
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_finished_by_the_next_one() {
    let (Some(()), Some(site)) = (root(), ha()) else { return };
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    image(whole.path());
    image(cut.path());
    for number in 0..40 {
        for dir in [&whole, &cut] {
            fs::write(
                dir.path().join(format!("usr/share/factory/var/lib/dpkg/{number}")),
                number.to_string(),
            )
            .unwrap();
        }
    }
    let seed = site.out().join("nodes/m1/m1.seed");
    let finish = r#"
        "$KILN" --quiet agent apply --root "$ROOT" --seed "$SEED" > /run/said
        cd "$ROOT" && find etc var -printf '%p %m %U %G %s %l\n' | sort
    "#;
    let kill = r#"
        for moment in 001 002 004 006 008 010 012 014 017 020 024 028 032 038 044 050 060 070 080 100 150 200 300; do
            timeout --signal=KILL "0.$moment" "$KILN" --quiet agent apply --root "$ROOT" --seed "$SEED" > /run/said && echo finished || true
        done 2> /run/killed > /run/finished
        echo "$(wc -l < /run/finished) of 23 runs ended before they were killed"
    "#;
    let Some(expected) = in_private(finish, whole.path(), &seed) else { return };
    let said = in_private(&[kill, finish].concat(), cut.path(), &seed).unwrap();
    let (killed, listing) = said.split_once('\n').unwrap();
    assert_eq!(listing, expected);
    eprintln!("{killed}");
}
