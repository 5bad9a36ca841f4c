use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{keep_programs, of_file, pin_programs, programs};
use crate::base::Lock;
use crate::error::Kind;
use crate::progress::Silent;
use crate::store::Store;
use crate::words::{Arch, BinarySource, KubernetesVersion};

const VERSION: KubernetesVersion = KubernetesVersion { major: 1, minor: 20, patch: 2 };

fn wanted() -> BTreeSet<String> {
    BTreeSet::from(["kubelet".to_owned()])
}

fn directory(path: &Path) -> BinarySource {
    BinarySource::Directory { path: path.to_owned() }
}

#[test]
fn the_first_directory_that_has_a_program_is_pinned_and_used_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    fs::write(dir.path().join("bin/kubelet"), "program").unwrap();
    let sources = [directory(&dir.path().join("nowhere")), directory(&dir.path().join("bin"))];
    let mut lock = Lock::new("trixie", Arch::Amd64);
    pin_programs(&mut lock, &wanted(), VERSION, &sources, &store, &Silent).unwrap();
    let names = ["kubelet".to_owned()];
    let found = programs(&lock, &names, VERSION, &sources, &store, &Silent).unwrap();
    assert_eq!(found[0].1.read().unwrap(), b"program");
    fs::write(dir.path().join("bin/kubelet"), "another").unwrap();
    let err = programs(&lock, &names, VERSION, &sources, &store, &Silent).unwrap_err();
    assert_eq!(err.kind(), Kind::Verify);
    assert_eq!(err.hints(), ["if the program was changed on purpose, run `kiln lock`"]);
}

#[test]
fn the_digest_of_one_file_is_found_among_those_of_a_release() {
    let sums = "aa  etcd-v3.4.13-darwin-amd64.zip\nbb  etcd-v3.4.13-linux-amd64.tar.gz\ncc *other.tar.gz\n";
    assert_eq!(of_file(sums, "etcd-v3.4.13-linux-amd64.tar.gz"), Some("bb"));
    assert_eq!(of_file(sums, "other.tar.gz"), Some("cc"));
    assert_eq!(of_file(sums, "linux-amd64.tar.gz"), None);
}

#[test]
fn a_program_that_no_source_has_names_every_source() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    let sources = [directory(&dir.path().join("nowhere")), directory(dir.path())];
    let err =
        pin_programs(&mut Lock::new("trixie", Arch::Amd64), &wanted(), VERSION, &sources, &store, &Silent)
            .unwrap_err();
    let shown = err.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!(
        shown,
        "no source contains `kubelet`: the directory `DIR/nowhere`: directory not found; the directory \
        `DIR` contains 0 of 1"
    );
}

#[test]
fn programs_for_another_architecture_are_not_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    fs::copy(std::env::current_exe().unwrap(), dir.path().join("kubelet")).unwrap();
    let own = Arch::own().unwrap();
    let sources = [directory(dir.path())];
    let pin = |arch: Arch| {
        pin_programs(&mut Lock::new("trixie", arch), &wanted(), VERSION, &sources, &store, &Silent)
    };
    pin(own).unwrap();
    for other in Arch::ALL.into_iter().filter(|arch| *arch != own) {
        let said = pin(other).unwrap_err().to_string();
        assert!(
            said.ends_with(&format!("the machines are {other}, but these are for {own}: `kubelet`")),
            "{said}"
        );
    }
}

#[test]
fn programs_of_a_release_archive_go_to_the_store_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    let archive = dir.path().join("server.tar.gz");
    let mut tar = tar::Builder::new(GzEncoder::new(fs::File::create(&archive).unwrap(), Compression::fast()));
    let of_etcd = ["etcd-v3.4.13-linux-amd64/etcd", "etcd-v3.4.13-linux-amd64/Documentation/etcd"];
    for name in ["kubernetes/server/bin/kubelet", "kubernetes/server/bin/mounter", "kubernetes/LICENSES"]
        .into_iter()
        .chain(of_etcd)
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, &b"body"[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    let wanted = BTreeSet::from(["etcd", "kubelet"].map(str::to_owned));
    let pins = keep_programs(&archive, &wanted, &store, &Silent).unwrap();
    assert_eq!(pins.iter().map(|pin| pin.name.as_str()).collect::<Vec<_>>(), ["kubelet", "etcd"]);
    assert_eq!(fs::read(store.blob(&pins[0].sha256).unwrap().unwrap()).unwrap(), b"body");
}
