//! What stands in the JSON of an archive of images: descriptors and manifests of an OCI image layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>), and the `manifest.json` of `docker save`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A reference to a blob.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) platform: Option<Platform>,
}

/// What a program runs on.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// An index, which holds `manifests`, or a manifest, which holds the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    pub(super) manifests: Vec<Descriptor>,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Vec<Descriptor>,
}

/// An entry of `manifest.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

/// The part of a configuration that says what its layers are.
#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) rootfs: Layers,
}

#[derive(Debug, Deserialize)]
pub(super) struct Layers {
    pub(super) diff_ids: Vec<String>,
}

impl Platform {
    pub(super) fn is(&self, architecture: &str) -> bool {
        self.os == "linux" && self.architecture == architecture
    }

    pub(super) fn check(&self, architecture: &str) -> Result<(), String> {
        if self.is(architecture) { Ok(()) } else { Err(format!("it is for {}/{}", self.os, self.architecture)) }
    }
}

/// The name that containerd gives an image of an index; a tag alone is no name.
pub(super) fn name(annotations: &BTreeMap<String, String>) -> Option<String> {
    let whole = annotations.get("io.containerd.image.name");
    let other = annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':', '@']));
    whole.or(other).cloned()
}

/// A name as `docker save` writes it, in full: `haproxy:3.0` is Docker Hub's `library/haproxy`.
pub(super) fn normal(tag: &str) -> String {
    match tag.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
        None => format!("docker.io/library/{tag}"),
    }
}
