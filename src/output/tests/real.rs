//! Disks from real packages, built with the locked tools.

use std::sync::Arc;
use std::time::Instant;

use super::build;
use crate::base::{self, LockRequest, Trust};
use crate::host;
use crate::output::{RoleInputs, initrd, role};
use crate::progress::Silent;
use crate::store::Store;
use crate::tree::Entry;
use crate::words::{Arch, RootFilesystem};

/// Builds disks from the package mirror with the locked tools. Needs a network, and the path of kiln in
/// `KILN_SANDBOX_EXE`.
#[test]
#[ignore = "downloads 300 MB; KILN_TEST_OUT names the output directory, KILN_TEST_PACKAGES the packages"]
fn real_packages_become_real_disks() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let store = Store::open(None).unwrap();
    let packages: Vec<String> =
        variable("KILN_TEST_PACKAGES").split_whitespace().map(str::to_owned).collect();
    let mut clock = Clock(Instant::now());
    let lock = base::resolve(&request(packages), &store, &Silent).unwrap();
    clock.lap("resolve");
    let mirrors = base::mirror(None).unwrap();
    base::fetch(&lock, &["control-plane", "tools"], Some(&mirrors), &store, &Silent).unwrap();
    clock.lap("fetch");
    let tools = base::Tools::open(&lock, &store, &Silent).unwrap();
    clock.lap("tools");
    let base = base::compose(&lock, "control-plane", &[], &tools, &store, &Silent).unwrap();
    clock.lap(&format!("compose {} MB", base.size() >> 20));
    let agent = Entry::file(
        host::fs::read(variable("KILN_SANDBOX_EXE").as_ref()).unwrap(),
        0o755,
        &Arc::from("kiln"),
    );
    let initrd = initrd::compose(&base, &agent).unwrap();
    clock.lap("initrd tree");
    let mut tree = base.clone();
    tree.retain(|path, _| !path.is_under("/boot"));
    let inputs = RoleInputs {
        name: "control-plane",
        arch: Arch::Amd64,
        tree: &tree,
        base: &base,
        initrd: &initrd,
        epoch: lock.epoch,
        filesystem: filesystem(),
    };
    let image = role(&inputs, &tools, &store, &Silent).unwrap();
    clock.lap("role");
    let out = std::path::PathBuf::from(variable("KILN_TEST_OUT"));
    let published = build(&image, [b"seed of m1", b"seed of m2"], &out);
    clock.lap(&format!("pack {published:?}"));
}

/// Returns a request for these packages and the tools.
fn request(packages: Vec<String>) -> LockRequest {
    let tools = base::TOOLS_PACKAGES.iter().map(|name| (*name).to_owned()).collect();
    LockRequest {
        suite: "trixie".into(),
        architecture: Arch::Amd64,
        mirror: None,
        sets: [("control-plane".to_owned(), packages), (base::TOOLS_SET.to_owned(), tools)].into(),
        trust: Trust::default(),
    }
}

fn filesystem() -> RootFilesystem {
    if std::env::var_os("KILN_TEST_EROFS").is_some() {
        RootFilesystem::Erofs
    } else {
        RootFilesystem::Squashfs
    }
}

struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        println!("{:8.2} s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}
