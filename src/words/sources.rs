//! Where programs and images come from, and what a root is packed as.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One place where Kubernetes programs may be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum BinarySource {
    /// An upstream release archive (`kubernetes-server-linux-amd64.tar.gz`), pinned by the lock; without a digest, by what is
    /// published beside it.
    Archive { url: String, sha256: Option<Digest> },
    /// A directory on this machine that holds the programs.
    Directory { path: PathBuf },
}

/// One place where archives of container images may be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum ImageSource {
    /// An archive that somebody serves, with its digest beside it; pinned by the lock.
    Url { url: String },
    /// An archive on this machine.
    File { path: PathBuf },
    /// A directory of archives on this machine.
    Directory { path: PathBuf },
}

/// Format of the read-only root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RootFilesystem {
    Squashfs,
    Erofs,
}
