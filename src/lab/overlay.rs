//! Files that the lab adds to an image that runs as a container. They are not part of the shipped image,
//! because real machines never need them.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::host;

/// Files: path in the container, content and mode. The paths are below `/run`, which is empty and writable in
/// every container.
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

/// Writes the files below `directory`, except those that are up to date: running containers have them
/// mounted, and the kernel does not allow a replaced file to be mounted again (`move_mount` returns
/// `ENOENT`).
///
/// # Errors
///
/// [`crate::error::Kind::Io`] if a file can't be written.
pub(super) fn write(directory: &Path) -> Result<()> {
    host::fs::create_directories(directory)?;
    FILES.iter().try_for_each(|(path, text, mode)| {
        let file = source(directory, path);
        if host::fs::read_if_exists(&file)?.is_some_and(|written| written == text.as_bytes()) {
            return Ok(());
        }
        host::fs::write_atomic(&file, text.as_bytes(), *mode)
    })
}

/// Returns each file's path on this machine and in the container.
pub(super) fn mounts(directory: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    FILES.iter().map(move |(path, ..)| (source(directory, path), *path))
}

fn source(directory: &Path, path: &str) -> PathBuf {
    directory.join(path.rsplit('/').next().expect("the path has a file name"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::{FILES, mounts, write};
    use crate::host;

    #[test]
    fn files_that_running_containers_have_mounted_are_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let inodes = || mounts(directory.path()).map(|(file, _)| file.metadata().unwrap().ino()).collect();
        let before: Vec<u64> = inodes();
        let (outdated, _) = mounts(directory.path()).next().unwrap();
        host::fs::write_atomic(&outdated, b"outdated", 0o644).unwrap();
        write(directory.path()).unwrap();
        let after: Vec<u64> = inodes();
        assert_eq!(host::fs::read(&outdated).unwrap(), FILES[0].1.as_bytes());
        assert_eq!(after[1..], before[1..]);
    }
}
