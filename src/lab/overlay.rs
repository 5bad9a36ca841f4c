//! Files that the lab adds to an image that runs as a container. They are not part of the shipped image: real
//! machines never need them.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::host;

/// Files by path in the container, below `/run`, which is empty and writable in every container.
const FILES: [(&str, &str, u32); 4] = [
    (
        "/run/systemd/system/kubelet-in-container.service",
        include_str!("overlay/kubelet-in-container.service"),
        0o644,
    ),
    ("/run/systemd/system/kubelet.service.d/lab.conf", include_str!("overlay/kubelet.conf"), 0o644),
    ("/run/kiln-lab/kubelet-in-container", include_str!("overlay/kubelet-in-container"), 0o755),
    ("/run/kiln-lab/runc-in-container", include_str!("overlay/runc-in-container"), 0o755),
];

/// Writes the files below `directory`.
///
/// # Errors
///
/// [`crate::error::Kind::Io`].
pub(super) fn write(directory: &Path) -> Result<()> {
    host::fs::create_directories(directory)?;
    FILES.iter().try_for_each(|(path, text, mode)| {
        host::fs::write_atomic(&source(directory, path), text.as_bytes(), *mode)
    })
}

/// Returns each file's path on this machine and in the container.
pub(super) fn mounts(directory: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    FILES.iter().map(move |(path, ..)| (source(directory, path), *path))
}

fn source(directory: &Path, path: &str) -> PathBuf {
    directory.join(path.rsplit('/').next().expect("the path has a file name"))
}
