//! `manifest.json`: outputs, inputs and duration of a build. `SHA256SUMS`: the same digests for `sha256sum
//! --check`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cluster::MatchRule;
use crate::digest::Digest;
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::words::artifacts::MANIFEST;
use crate::words::{Arch, Balancer, Role};

/// Version of the manifest's format; increases with every change that matters to readers.
const FORMAT: u32 = 1;

/// Manifest of an output directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Version of kiln that built the artifacts.
    pub(crate) kiln: String,
    /// Latest time in any artifact, in seconds since 1970.
    pub(crate) epoch: u64,
    /// The resolved cluster. Contains no secrets.
    pub(crate) cluster: ClusterRecord,
    /// Digest of every input, keyed by name: `lock`, `vault`, `tools`, ….
    pub(crate) inputs: BTreeMap<String, String>,
    /// Disk contents of each role image.
    pub(crate) images: BTreeMap<String, ImageRecord>,
    /// Every file, keyed by its path relative to the output directory.
    pub(crate) artifacts: BTreeMap<String, ArtifactRecord>,
    /// Seconds that each stage of the build took; the only part that differs between equal builds.
    pub(crate) times: BTreeMap<String, f64>,
}

/// The settings of a cluster that other programs need to run the artifacts; all others are kept unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClusterRecord {
    pub(crate) name: String,
    pub(crate) network: NetworkRecord,
    pub(crate) endpoint: EndpointRecord,
    pub(crate) nodes: Vec<NodeRecord>,
    /// Architecture of the machines.
    #[serde(default)]
    pub(crate) architecture: Arch,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Network of a cluster's machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) nodes: IpNet,
    pub(crate) gateway: Option<IpAddr>,
    /// Name of the machines' interface.
    pub(crate) interface: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Endpoint of a cluster's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointRecord {
    pub(crate) vip: Option<IpAddr>,
    pub(crate) balancer: Balancer,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub(crate) name: String,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) address: IpAddr,
    #[serde(default)]
    pub(crate) matches: Vec<MatchRule>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One role image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageRecord {
    pub(crate) root_hash: Digest,
    /// Filesystem, as named in cluster files.
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
    /// True if only its owner may read it.
    pub(crate) secret: bool,
    /// Digest of all inputs: the next build with the same digest keeps the file.
    pub(crate) made_of: Digest,
}

impl Manifest {
    pub(crate) fn new(epoch: u64, cluster: ClusterRecord) -> Self {
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
        serde_json::from_slice(&host::fs::read(&path)?)
            .doing(Kind::Verify, || format!("reading `{}`", path.display()))
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let mut json =
            serde_json::to_vec_pretty(self).doing(Kind::Internal, || "writing the manifest".into())?;
        json.push(b'\n');
        Ok(json)
    }

    /// Checks whether both describe the same build, regardless of how long it took.
    pub(crate) fn is_same_build(&self, other: &Self) -> bool {
        Self { times: BTreeMap::new(), ..self.clone() } == Self { times: BTreeMap::new(), ..other.clone() }
    }

    /// Returns the text of `SHA256SUMS`: every artifact, and the manifest.
    pub(crate) fn sums(&self, manifest: &Digest) -> String {
        let artifacts = self.artifacts.iter().map(|(path, record)| (path.as_str(), &record.sha256));
        artifacts.chain([(MANIFEST, manifest)]).map(|(path, digest)| format!("{digest}  {path}\n")).collect()
    }
}
