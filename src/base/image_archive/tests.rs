use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::Archive;
use super::format::normal;
use super::member::beside;
use crate::digest::Digest;

const NAME: &str = "k8s.gcr.io/pause:3.2";

/// An image to create.
pub(in super::super) struct Sample<'a> {
    pub(in super::super) names: &'a [&'a str],
    pub(in super::super) architecture: &'a str,
    pub(in super::super) annotation: &'a str,
    /// Actual and expected content of the layer.
    pub(in super::super) layer: (&'a [u8], &'a [u8]),
}

impl Default for Sample<'_> {
    fn default() -> Self {
        Self {
            names: &[NAME],
            architecture: "amd64",
            annotation: "io.containerd.image.name",
            layer: (b"layer", b"layer"),
        }
    }
}

fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn configuration(sample: &Sample<'_>) -> Vec<u8> {
    let layers = [format!("sha256:{}", Digest::of(sample.layer.1))];
    json!({ "architecture": sample.architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": layers } }).to_string().into()
}

fn blob(bytes: &[u8]) -> (Value, String) {
    let digest = Digest::of(bytes);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    (
        json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() }),
        format!("blobs/sha256/{digest}"),
    )
}

/// An archive with an OCI layout.
pub(in super::super) fn oci(sample: &Sample<'_>) -> Vec<u8> {
    let config = configuration(sample);
    let ((config_at, config_path), (layer_at, layer_path)) = (blob(&config), blob(sample.layer.1));
    let manifest: Vec<u8> =
        json!({ "schemaVersion": 2, "config": config_at, "layers": [layer_at] }).to_string().into();
    let (mut manifest_at, manifest_path) = blob(&manifest);
    let named = sample.names.iter().map(|name| {
        manifest_at["annotations"] = json!({ sample.annotation: name });
        manifest_at.clone()
    });
    let index: Vec<u8> =
        json!({ "schemaVersion": 2, "manifests": named.collect::<Vec<_>>() }).to_string().into();
    tar(&[
        (config_path, config),
        (layer_path, sample.layer.0.to_vec()),
        (manifest_path, manifest),
        ("./index.json".into(), index),
    ])
}

/// An archive as `docker save` wrote it.
fn docker(sample: &Sample<'_>) -> Vec<u8> {
    let config = configuration(sample);
    let name = format!("{}.json", Digest::of(&config));
    let manifest = json!([{ "Config": name, "RepoTags": sample.names, "Layers": ["abc/layer.tar"] }]);
    tar(&[
        (name, config),
        ("abc/layer.tar".into(), sample.layer.0.to_vec()),
        ("manifest.json".into(), manifest.to_string().into()),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn opened(bytes: &[u8]) -> Result<Archive, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("images.tar");
    fs::write(&file, bytes).unwrap();
    Archive::open(&file).map_err(|err| err.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

/// Returns why an image in an archive can't be used, without its path.
fn verdict(bytes: &[u8], reference: &str) -> String {
    let checked = opened(bytes).unwrap().verify(reference, "amd64");
    checked
        .map_or_else(|err| err.to_string().split_once("used: ").unwrap().1.to_owned(), |()| "good".to_owned())
}

#[test]
fn archives_of_both_kinds_are_read_packed_or_not() {
    let sample = Sample::default();
    let (new, old) = (oci(&sample), docker(&sample));
    for bytes in [new.clone(), gzip(&new), zstd::encode_all(&new[..], 1).unwrap(), old.clone(), gzip(&old)] {
        let archive = opened(&bytes).unwrap();
        assert!(archive.has(NAME) && !archive.has("k8s.gcr.io/pause:3.1"));
        archive.verify(NAME, "amd64").unwrap();
    }
}

#[test]
fn layers_are_what_their_digests_say() {
    let other = Sample { layer: (b"other", b"layer"), ..Sample::default() };
    let (has, should) = (Digest::of(b"other"), Digest::of(b"layer"));
    assert_eq!(verdict(&oci(&other), NAME), format!("`blobs/sha256/{should}` has the SHA-256 {has}"));
    assert_eq!(
        verdict(&docker(&other), NAME),
        format!("`abc/layer.tar` has the digest sha256:{has}, expected sha256:{should}")
    );
    let packed = gzip(b"layer");
    assert_eq!(verdict(&docker(&Sample { layer: (&packed, b"layer"), ..Sample::default() }), NAME), "good");
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let arm = Sample { architecture: "arm64", ..Sample::default() };
    assert_eq!(
        [verdict(&oci(&arm), NAME), verdict(&docker(&arm), NAME)],
        ["it is for linux/arm64", "it is for linux/arm64"]
    );
}

#[test]
fn a_digest_in_a_reference_is_the_manifests_own() {
    let archive = oci(&Sample::default());
    let digest = opened(&archive).unwrap().images.iter().find_map(|(_, image)| match image {
        super::Image::Oci(descriptor) => Some(descriptor.digest().clone()),
        super::Image::Docker(_) => None,
    });
    assert_eq!(verdict(&archive, &format!("{NAME}@{}", digest.unwrap())), "good");
    assert_eq!(verdict(&archive, &format!("{NAME}@sha256:{}", Digest::of(b""))), "it is not in the archive");
}

#[test]
fn names_are_those_that_containerd_gives() {
    for (annotation, name, known) in [
        ("org.opencontainers.image.ref.name", NAME, true),
        ("org.opencontainers.image.ref.name", "3.2", false),
        ("org.example", NAME, false),
    ] {
        let archive = opened(&oci(&Sample { names: &[name], annotation, ..Sample::default() })).unwrap();
        assert_eq!(archive.has(name), known, "{annotation} {name}");
    }
    let names =
        ["haproxy:3.0", "osixia/keepalived:2.0.20", "localhost/a:1", "k8s.gcr.io/pause:3.2"].map(normal);
    let full = [
        "docker.io/library/haproxy:3.0",
        "docker.io/osixia/keepalived:2.0.20",
        "localhost/a:1",
        "k8s.gcr.io/pause:3.2",
    ];
    assert_eq!(names, full);
}

#[test]
fn what_is_no_archive_of_images_is_told() {
    let other = tar(&[("etc/passwd".into(), Vec::new())]);
    assert_eq!(
        opened(&other).unwrap_err(),
        "`DIR/images.tar` is not an image archive: `manifest.json` is missing"
    );
}

#[test]
fn a_link_leads_to_the_layer_of_another_image() {
    assert_eq!(beside("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
}
