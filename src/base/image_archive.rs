//! Archives of container images as they are saved: an OCI image layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>), or what `docker save` wrote before it wrote those.
//!
//! One pass reads the archive: every member is digested, small ones are kept, nothing is unpacked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// Indexes, manifests and configurations are smaller; layers mostly are not.
const KEPT: u64 = 4 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An archive that was read.
#[derive(Debug)]
pub(super) struct Archive {
    file: PathBuf,
    members: BTreeMap<String, Member>,
    /// What the archive says it holds: name and how to find it.
    images: Vec<(String, Image)>,
}

/// One member of the archive.
#[derive(Debug)]
struct Member {
    sha256: Digest,
    /// Of what it holds when it is compressed.
    unpacked: Option<Digest>,
    /// Of small members only.
    bytes: Vec<u8>,
}

/// Where an image's parts are named.
#[derive(Clone, Debug)]
enum Image {
    Oci(Descriptor),
    Docker(Saved),
}

/// A reference to a blob.
#[derive(Clone, Debug, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

/// What a program runs on.
#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// An index, which holds `manifests`, or a manifest, which holds the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listing {
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
}

/// An entry of `manifest.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The part of a configuration that says what its layers are.
#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(flatten)]
    platform: Platform,
    rootfs: Layers,
}

#[derive(Debug, Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

impl Archive {
    /// Reads the archive at `file`, which may be compressed with gzip or zstd.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if it is no archive of images.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let mut archive = Self { file: file.to_owned(), members: BTreeMap::new(), images: Vec::new() };
        let step = || format!("reading `{}`", file.display());
        let mut tar = tar::Archive::new(unpacked(BufReader::new(host::fs::open(file)?)).doing(Kind::Io, step)?);
        for member in tar.entries().doing(Kind::Verify, step)? {
            let member = member.doing(Kind::Verify, step)?;
            let path = member.path().doing(Kind::Verify, step)?.to_string_lossy().trim_start_matches("./").to_owned();
            // What `docker save` wrote once links to a layer that an earlier image has.
            if let Some(target) = member.link_name().doing(Kind::Verify, step)? {
                let target = beside(&path, &target.to_string_lossy());
                archive.repeat(&path, &target);
            } else if member.header().entry_type().is_file() {
                archive.members.insert(path, Member::read(member).doing(Kind::Verify, step)?);
            }
        }
        archive.images = archive.listed()?;
        Ok(archive)
    }

    /// Whether it holds the image that people call `reference`.
    pub(super) fn has(&self, reference: &str) -> bool {
        self.find(reference).is_some()
    }

    /// Insists that every part of an image is there, is what its digest says, and is for Linux on `architecture`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if not.
    pub(super) fn verify(&self, reference: &str, architecture: &str) -> Result<()> {
        let checked = match self.find(reference) {
            None => Err("it is not in the archive".to_owned()),
            Some(Image::Oci(descriptor)) => self.verify_oci(descriptor, architecture),
            Some(Image::Docker(saved)) => self.verify_docker(saved, architecture),
        };
        checked.map_err(|why| {
            Error::new(Kind::Verify, format!("the image `{reference}` of `{}` can't be used: {why}", self.file.display()))
                .hint(format!("save it again for linux/{architecture}: `docker pull --platform linux/{architecture} {reference}`"))
        })
    }

    fn find(&self, reference: &str) -> Option<&Image> {
        let (name, digest) = reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
        let fits = |(there, image): &&(String, Image)| {
            let exact = match image {
                Image::Oci(descriptor) => digest.is_none_or(|digest| descriptor.digest == digest),
                Image::Docker(_) => digest.is_none(),
            };
            exact && there == name
        };
        self.images.iter().find(fits).map(|(_, image)| image)
    }

    /// Another name of an earlier member.
    fn repeat(&mut self, path: &str, target: &str) {
        if let Some(Member { sha256, unpacked, .. }) = self.members.get(target) {
            let again = Member { sha256: *sha256, unpacked: *unpacked, bytes: Vec::new() };
            self.members.insert(path.to_owned(), again);
        }
    }

    /// The names of the index, as containerd takes them over.
    fn listed(&self) -> Result<Vec<(String, Image)>> {
        let malformed = |why: String| Error::new(Kind::Verify, format!("`{}` is no archive of images: {why}", self.file.display()));
        if self.members.contains_key("index.json") {
            let index: Listing = self.json("index.json").map_err(malformed)?;
            let named = index.manifests.into_iter().filter_map(|one| Some((name(&one.annotations)?, Image::Oci(one))));
            return Ok(named.collect());
        }
        let saved: Vec<Saved> = self.json("manifest.json").map_err(malformed)?;
        let names = |one: &Saved| one.repo_tags.iter().flatten().map(|tag| normal(tag)).collect::<Vec<_>>();
        Ok(saved.into_iter().flat_map(|one| names(&one).into_iter().map(move |name| (name, Image::Docker(one.clone())))).collect())
    }

    fn verify_oci(&self, descriptor: &Descriptor, architecture: &str) -> Result<(), String> {
        let mut listing: Listing = self.json(&self.blob(descriptor)?)?;
        if !listing.manifests.is_empty() {
            let fits = |one: &&Descriptor| one.platform.as_ref().is_some_and(|platform| platform.is(architecture));
            let own = listing.manifests.iter().find(fits).ok_or_else(|| format!("nothing in it is for linux/{architecture}"))?;
            listing = self.json(&self.blob(own)?)?;
        }
        let config = listing.config.as_ref().ok_or("its manifest names no configuration")?;
        let configuration: Configuration = self.json(&self.blob(config)?)?;
        configuration.platform.check(architecture)?;
        listing.layers.iter().try_for_each(|layer| self.blob(layer).map(|_| ()))
    }

    fn verify_docker(&self, saved: &Saved, architecture: &str) -> Result<(), String> {
        let configuration: Configuration = self.json(&saved.config)?;
        configuration.platform.check(architecture)?;
        let config = &self.members[&saved.config];
        let stem = saved.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if config.sha256.to_string() != stem {
            return Err(format!("`{}` has the SHA-256 {}", saved.config, config.sha256));
        }
        if saved.layers.len() != configuration.rootfs.diff_ids.len() {
            return Err(format!(
                "it has {} layers, and its configuration names {}",
                saved.layers.len(),
                configuration.rootfs.diff_ids.len()
            ));
        }
        for (path, expected) in saved.layers.iter().zip(&configuration.rootfs.diff_ids) {
            let member = self.members.get(path).ok_or_else(|| format!("`{path}` is missing"))?;
            let found = member.unpacked.unwrap_or(member.sha256);
            if format!("sha256:{found}") != *expected {
                return Err(format!("`{path}` has the digest sha256:{found} and should have {expected}"));
            }
        }
        Ok(())
    }

    /// The path of a blob, which must be there and be what its digest says.
    fn blob(&self, descriptor: &Descriptor) -> Result<String, String> {
        let path = format!("blobs/{}", descriptor.digest.replacen(':', "/", 1));
        let member = self.members.get(&path).ok_or_else(|| format!("`{path}` is missing"))?;
        if format!("sha256:{}", member.sha256) != descriptor.digest {
            return Err(format!("`{path}` has the SHA-256 {}", member.sha256));
        }
        Ok(path)
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let member = self.members.get(path).ok_or_else(|| format!("`{path}` is missing"))?;
        serde_json::from_slice(&member.bytes).map_err(|err| format!("`{path}`: {err}"))
    }
}

impl Member {
    fn read(member: impl Read) -> std::io::Result<Self> {
        let mut raw = Tee { inner: member, hasher: Hasher::default(), size: 0, kept: Vec::new() };
        let mut buffered = BufReader::new(&mut raw);
        let unpacked = if buffered.fill_buf()?.starts_with(&GZIP) {
            Some(Digest::of_reader(MultiGzDecoder::new(&mut buffered)).map(|(digest, _)| digest)?)
        } else {
            None
        };
        std::io::copy(&mut buffered, &mut std::io::sink())?;
        let kept = if raw.size <= KEPT { raw.kept } else { Vec::new() };
        Ok(Self { sha256: raw.hasher.finish(), unpacked, bytes: kept })
    }
}

/// Digests what is read through it, and keeps its beginning.
struct Tee<R> {
    inner: R,
    hasher: Hasher,
    size: u64,
    kept: Vec<u8>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        if self.size <= KEPT {
            self.kept.extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}

impl Platform {
    fn is(&self, architecture: &str) -> bool {
        self.os == "linux" && self.architecture == architecture
    }

    fn check(&self, architecture: &str) -> Result<(), String> {
        if self.is(architecture) { Ok(()) } else { Err(format!("it is for {}/{}", self.os, self.architecture)) }
    }
}

/// What a person would call the file of an image.
pub(super) fn short(reference: &str) -> &str {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    last.split([':', '@']).next().unwrap_or(last)
}

fn unpacked(mut file: BufReader<std::fs::File>) -> std::io::Result<Box<dyn Read>> {
    let magic = file.fill_buf()?;
    if magic.starts_with(&ZSTD) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?));
    }
    Ok(if magic.starts_with(&GZIP) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// The name that containerd gives an image of an index; a tag alone is no name.
fn name(annotations: &BTreeMap<String, String>) -> Option<String> {
    let whole = annotations.get("io.containerd.image.name");
    let other = annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':', '@']));
    whole.or(other).cloned()
}

/// A name as `docker save` writes it, in full: `haproxy:3.0` is Docker Hub's `library/haproxy`.
fn normal(tag: &str) -> String {
    match tag.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
        None => format!("docker.io/library/{tag}"),
    }
}

/// The target of a link of an archive, which is relative to the link.
fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]
pub(super) mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::{Value, json};

    use super::{Archive, beside, normal};
    use crate::digest::Digest;

    const NAME: &str = "k8s.gcr.io/pause:3.2";

    /// An image to be made.
    pub(in super::super) struct Sample<'a> {
        pub(in super::super) names: &'a [&'a str],
        pub(in super::super) architecture: &'a str,
        pub(in super::super) annotation: &'a str,
        /// What the layer holds, and what it should hold.
        pub(in super::super) layer: (&'a [u8], &'a [u8]),
    }

    impl Default for Sample<'_> {
        fn default() -> Self {
            Self { names: &[NAME], architecture: "amd64", annotation: "io.containerd.image.name", layer: (b"layer", b"layer") }
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
        (json!({ "digest": format!("sha256:{digest}"), "size": bytes.len() }), format!("blobs/sha256/{digest}"))
    }

    /// An archive with an OCI layout.
    pub(in super::super) fn oci(sample: &Sample<'_>) -> Vec<u8> {
        let config = configuration(sample);
        let ((config_at, config_path), (layer_at, layer_path)) = (blob(&config), blob(sample.layer.1));
        let manifest: Vec<u8> = json!({ "config": config_at, "layers": [layer_at] }).to_string().into();
        let (mut manifest_at, manifest_path) = blob(&manifest);
        let named = sample.names.iter().map(|name| {
            manifest_at["annotations"] = json!({ sample.annotation: name });
            manifest_at.clone()
        });
        let index: Vec<u8> = json!({ "manifests": named.collect::<Vec<_>>() }).to_string().into();
        tar(&[(config_path, config), (layer_path, sample.layer.0.to_vec()), (manifest_path, manifest), ("./index.json".into(), index)])
    }

    /// An archive as `docker save` wrote it.
    fn docker(sample: &Sample<'_>) -> Vec<u8> {
        let config = configuration(sample);
        let name = format!("{}.json", Digest::of(&config));
        let manifest = json!([{ "Config": name, "RepoTags": sample.names, "Layers": ["abc/layer.tar"] }]);
        tar(&[(name, config), ("abc/layer.tar".into(), sample.layer.0.to_vec()), ("manifest.json".into(), manifest.to_string().into())])
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

    /// What is wrong with the image of an archive, without its path.
    fn verdict(bytes: &[u8], reference: &str) -> String {
        let checked = opened(bytes).unwrap().verify(reference, "amd64");
        checked.map_or_else(|err| err.to_string().split_once("used: ").unwrap().1.to_owned(), |()| "good".to_owned())
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
        assert_eq!(verdict(&docker(&other), NAME), format!("`abc/layer.tar` has the digest sha256:{has} and should have sha256:{should}"));
        let packed = gzip(b"layer");
        assert_eq!(verdict(&docker(&Sample { layer: (&packed, b"layer"), ..Sample::default() }), NAME), "good");
    }

    #[test]
    fn an_image_for_another_machine_is_refused() {
        let arm = Sample { architecture: "arm64", ..Sample::default() };
        assert_eq!([verdict(&oci(&arm), NAME), verdict(&docker(&arm), NAME)], ["it is for linux/arm64", "it is for linux/arm64"]);
    }

    #[test]
    fn a_digest_in_a_reference_is_the_manifests_own() {
        let archive = oci(&Sample::default());
        let digest = opened(&archive).unwrap().images.iter().find_map(|(_, image)| match image {
            super::Image::Oci(descriptor) => Some(descriptor.digest.clone()),
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
        let names = ["haproxy:3.0", "osixia/keepalived:2.0.20", "localhost/a:1", "k8s.gcr.io/pause:3.2"].map(normal);
        let full = ["docker.io/library/haproxy:3.0", "docker.io/osixia/keepalived:2.0.20", "localhost/a:1", "k8s.gcr.io/pause:3.2"];
        assert_eq!(names, full);
    }

    #[test]
    fn what_is_no_archive_of_images_is_told() {
        let other = tar(&[("etc/passwd".into(), Vec::new())]);
        assert_eq!(opened(&other).unwrap_err(), "`DIR/images.tar` is no archive of images: `manifest.json` is missing");
    }

    #[test]
    fn a_link_leads_to_the_layer_of_another_image() {
        assert_eq!(beside("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
    }
}
