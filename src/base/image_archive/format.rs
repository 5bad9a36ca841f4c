//! JSON in image archives that oci-spec does not cover: the `manifest.json` of `docker save`, and the part of
//! an image's configuration that kiln reads, which older Docker images also contain.

use oci_spec::image::Descriptor;
use serde::Deserialize;

/// Operating system and architecture of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// An entry of `manifest.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

/// The part of a configuration that lists its layers.
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
    pub(super) fn check(&self, architecture: &str) -> Result<(), String> {
        if self.os == "linux" && self.architecture == architecture {
            Ok(())
        } else {
            Err(format!("it is for {}/{}", self.os, self.architecture))
        }
    }
}

/// Returns the name that containerd gives to an image in an index; a tag alone is not a name.
pub(super) fn name(descriptor: &Descriptor) -> Option<String> {
    let annotations = descriptor.annotations().as_ref()?;
    let whole = annotations.get("io.containerd.image.name");
    let other =
        annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':', '@']));
    whole.or(other).cloned()
}

/// Returns the full form of a name that `docker save` writes: `haproxy:3.0` is Docker Hub's
/// `library/haproxy`.
pub(super) fn normal(tag: &str) -> String {
    match tag.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
        None => format!("docker.io/library/{tag}"),
    }
}
