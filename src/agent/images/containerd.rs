//! containerd images, in the namespace of its CRI plugin.

use std::path::Path;
use std::process::Command;

use super::Images;
use crate::error::Result;
use crate::host;

/// Label of images that the kubelet must not remove (containerd 1.7.3, 1.6.22).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

#[derive(Debug)]
pub(super) struct Containerd;

impl Images for Containerd {
    fn has(&self, name: &str) -> Result<bool> {
        Ok(names("k8s.io")?.iter().any(|known| known == name))
    }

    fn load(&self, archive: &Path) -> Result<()> {
        host::process::run(images("k8s.io").arg("import").arg(archive)).map(drop)
    }

    fn name(&self, saved: &str, wanted: &str) -> Result<()> {
        host::process::run(images("k8s.io").args(["tag", "--force", saved, wanted])).map(drop)
    }

    fn keep(&self, name: &str) -> Result<()> {
        host::process::run(images("k8s.io").args(["label", name, PINNED])).map(drop)
    }
}

/// Prepares a `ctr images` command for a containerd namespace.
pub(super) fn images(namespace: &str) -> Command {
    let mut command = host::process::command("ctr");
    command.args(["--namespace", namespace, "images"]);
    command
}

/// Returns the names of all images in a namespace. `ctr` prints one per line; it has no structured output.
pub(super) fn names(namespace: &str) -> Result<Vec<String>> {
    let output = host::process::run(images(namespace).args(["ls", "--quiet"]))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
