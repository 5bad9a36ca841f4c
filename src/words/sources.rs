//! Sources of programs and images, and filesystem types of the root.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Source of Kubernetes programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum BinarySource {
    /// An upstream release archive (`kubernetes-server-linux-amd64.tar.gz`), pinned by the lock; without a
    /// digest here, the lock uses the one published next to the archive.
    Archive { url: String, sha256: Option<Digest> },
    /// A directory on this machine that contains the programs.
    Directory { path: PathBuf },
}

/// Source of container image archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum ImageSource {
    /// A downloadable archive whose digest is published next to it; pinned by the lock.
    Url { url: String },
    /// An archive on this machine.
    File { path: PathBuf },
    /// A directory of archives on this machine.
    Directory { path: PathBuf },
}

/// Filesystem of the read-only root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RootFilesystem {
    Squashfs,
    Erofs,
}
