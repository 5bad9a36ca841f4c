//! `manifest.json`: what was built, of what, and how long it took. `SHA256SUMS`: the same digests for `sha256sum --check`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Doing, Kind, Result};
use crate::host;

/// File names in an output directory.
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const SUMS: &str = "SHA256SUMS";

/// Version of the manifest's format: it grows with changes that readers must know.
const FORMAT: u32 = 1;

/// One output directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Version of the kiln that built it.
    pub(crate) kiln: String,
    /// Seconds since 1970; no time in an artifact is later.
    pub(crate) epoch: u64,
    /// The cluster as it was resolved. Holds no secret.
    pub(crate) cluster: Value,
    /// Digest of every input by name: `lock`, `vault`, `tools`, ….
    pub(crate) inputs: BTreeMap<String, String>,
    /// What is on the disks of each role image.
    pub(crate) images: BTreeMap<String, ImageRecord>,
    /// Every file by its path, relative to the directory.
    pub(crate) artifacts: BTreeMap<String, ArtifactRecord>,
    /// Seconds that each stage of the build took; the one part that differs between equal builds.
    pub(crate) times: BTreeMap<String, f64>,
}

/// One role image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageRecord {
    pub(crate) root_hash: Digest,
    /// The word in cluster files.
    pub(crate) filesystem: String,
    /// Release of the kernel.
    pub(crate) kernel: String,
    pub(crate) partitions: Vec<PartitionRecord>,
}

/// One partition; start and size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PartitionRecord {
    pub(crate) label: String,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ArtifactRecord {
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    /// Whether only its owner may read it.
    pub(crate) secret: bool,
    /// Digest over everything that it was made of: the next build with the same one keeps the file.
    pub(crate) made_of: Digest,
}

impl Manifest {
    pub(crate) fn new(epoch: u64, cluster: Value) -> Self {
        Self {
            format: FORMAT,
            kiln: env!("CARGO_PKG_VERSION").to_owned(),
            epoch,
            cluster,
            inputs: BTreeMap::new(),
            images: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    /// Reads the manifest of an output directory.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if there is none, [`Kind::Verify`] if it is damaged.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST);
        serde_json::from_slice(&host::fs::read(&path)?).doing(Kind::Verify, || format!("reading `{}`", path.display()))
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).doing(Kind::Internal, || "writing the manifest".into())?;
        json.push(b'\n');
        Ok(json)
    }

    /// Whether both tell of the same build, however long it took.
    pub(crate) fn is_same_build(&self, other: &Self) -> bool {
        Self { times: BTreeMap::new(), ..self.clone() } == Self { times: BTreeMap::new(), ..other.clone() }
    }

    /// The text of `SHA256SUMS`: every artifact, and the manifest.
    pub(crate) fn sums(&self, manifest: &Digest) -> String {
        let artifacts = self.artifacts.iter().map(|(path, record)| (path.as_str(), &record.sha256));
        artifacts.chain([(MANIFEST, manifest)]).map(|(path, digest)| format!("{digest}  {path}\n")).collect()
    }
}
