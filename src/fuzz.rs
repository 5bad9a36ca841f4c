//! Fuzz targets: every reader of untrusted data, as a function of bytes. The programs in `fuzz/` call the
//! readers with mutated input; a test calls them with the corpus in `fuzz/corpus`. No reader is allowed to
//! panic, hang, or allocate memory out of proportion to its input; return values do not matter.

use std::io::Cursor;
use std::path::Path;

use crate::base;
use crate::cluster;
use crate::config::{File, Machine, Target};
use crate::disk::gpt::Table;
use crate::disk::pe::Image;
use crate::disk::{etcd, fat, virtual_disk};
use crate::error::Source;
use crate::lint;
use crate::overlay::Manifest;
use crate::profile::{self, Catalog};
use crate::seed::{self, Seed};

/// A fuzz target: its name, which is also the name of its program and of its corpus directory, and the
/// function that reads the bytes.
type Reader = (&'static str, fn(&[u8]));

/// Every fuzz target.
pub static READERS: &[Reader] = &[
    ("cluster-file", cluster_file),
    ("deb", |bytes| in_file(bytes, base::read_deb)),
    ("etcd-snapshot", |bytes| in_file(bytes, snapshot)),
    ("fat", |bytes| drop(fat::read(bytes.to_vec()))),
    ("gpt", |bytes| drop(Table::read(&mut Cursor::new(bytes)))),
    ("haproxy", |bytes| configuration("/etc/haproxy/haproxy.cfg", bytes)),
    ("image-archive", |bytes| in_file(bytes, base::read_image_archive)),
    ("keepalived", |bytes| configuration("/etc/keepalived/keepalived.conf", bytes)),
    ("nginx", |bytes| configuration("/etc/nginx/nginx.conf", bytes)),
    ("overlay", overlay),
    ("pe", |bytes| drop(Image::parse(bytes.to_vec()))),
    ("qcow2", |bytes| in_file(bytes, |path| drop(virtual_disk::open(path)))),
    ("seed", seed),
    ("shell", |bytes| configuration("/root/install.sh", bytes)),
    ("unit", |bytes| configuration("/etc/systemd/system/kube-apiserver.service", bytes)),
    ("yaml", |bytes| configuration("/etc/kubernetes/manifests/kube-apiserver.yaml", bytes)),
];

/// Calls the fuzz target with this name.
///
/// # Panics
///
/// If there is no fuzz target with this name.
pub fn read(name: &str, bytes: &[u8]) {
    let (_, read) = READERS.iter().find(|(known, _)| *known == name).expect("the reader is in the table");
    read(bytes);
}

fn cluster_file(bytes: &[u8]) {
    let catalog = Catalog::load(&[]).expect("the built-in profiles can be read");
    if let Ok(profile) = profile::parse(source(bytes), &catalog) {
        let _ = cluster::resolve(&profile);
    }
}

fn overlay(bytes: &[u8]) {
    let _ = Manifest::parse(source(bytes));
}

fn seed(bytes: &[u8]) {
    let _ = Seed::unpack(bytes);
    let _ = seed::attached(&mut Cursor::new(bytes), 0);
}

fn snapshot(path: &Path) {
    if let Ok(file) = crate::host::fs::open(path) {
        let _ = etcd::verify(&file, None);
    }
}

/// Reads and lints one file of a machine.
fn configuration(path: &str, bytes: &[u8]) {
    let Source { text, .. } = source(bytes);
    let file = File {
        path: path.to_owned(),
        text: text.clone(),
        mode: None,
        source: Source { path: path.into(), text },
    };
    let machine = Machine { name: "m1".to_owned(), files: vec![file], images: Vec::new() };
    let _ = lint::check_files(&[machine], Target { kubernetes: 30, etcd: 5, now: 1_790_000_000 });
}

fn source(bytes: &[u8]) -> Source {
    Source { path: "input".into(), text: String::from_utf8_lossy(bytes).into() }
}

/// Calls a reader that takes a path.
fn in_file(bytes: &[u8], read: impl FnOnce(&Path)) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be created");
    crate::host::fs::write_scratch(file.path(), bytes).expect("the file can be written");
    read(file.path());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{READERS, read};
    use crate::host;

    #[test]
    fn no_reader_panics_on_the_corpus() {
        let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"));
        for (name, _) in READERS {
            let files = host::fs::list(&corpus.join(name)).unwrap();
            assert!(!files.is_empty(), "{name} has no corpus");
            for file in files {
                let bytes = host::fs::read(&file).unwrap();
                read(name, &bytes);
                // Truncation is the simplest mutation.
                read(name, &bytes[..bytes.len() / 2]);
            }
        }
    }

    #[test]
    fn every_reader_has_its_program() {
        for (name, _) in READERS {
            let program = format!("{}/fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = host::fs::read_to_string(Path::new(&program)).unwrap();
            assert!(text.contains(&format!("kiln::fuzz::read(\"{name}\", bytes)")), "{program}");
        }
    }
}
