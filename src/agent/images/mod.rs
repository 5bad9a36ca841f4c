//! Imports the container images in the machine image into the container runtime. Each archive is imported
//! once per machine, and again if the runtime has lost an image. A new archive has a new name, since the name
//! contains its digest.

mod containerd;
mod docker;

use std::fmt::Debug;
use std::path::Path;

use crate::error::{Result, Within};
use crate::host;
use crate::words::Runtime;

/// Directory with the archives and their index, in the machine image.
const ARCHIVES: &str = "/usr/share/kiln/images";
/// Directory of markers: one empty file for each imported archive.
const IMPORTED: &str = "/var/lib/kiln/images";

/// Image store of a container runtime.
trait Images: Debug {
    /// Checks whether the runtime has an image with this name.
    fn has(&self, name: &str) -> Result<bool>;

    /// Imports all images in an archive.
    fn load(&self, archive: &Path) -> Result<()>;

    /// Adds another name to an image.
    fn name(&self, saved: &str, wanted: &str) -> Result<()>;

    /// Prevents the kubelet from removing an image, because it can't be pulled again.
    fn keep(&self, name: &str) -> Result<()>;
}

/// An image: its name in the archive, the name that the kubelet requests, and the archive.
#[derive(Debug, PartialEq, Eq)]
struct Listed<'a> {
    saved: &'a str,
    wanted: String,
    archive: &'a str,
}

/// Imports the images that are missing from the runtime.
///
/// # Errors
///
/// [`crate::error::Kind::Tool`] if the runtime rejects an image; [`crate::error::Kind::Io`] if a file can't
/// be read.
pub(crate) fn preload(runtime: Runtime, journal: &dyn Fn(&str)) -> Result<()> {
    let images: &dyn Images = match runtime {
        Runtime::Containerd => &containerd::Containerd,
        Runtime::Docker => &docker::Docker,
    };
    let (archives, imported) = (Path::new(ARCHIVES), Path::new(IMPORTED));
    host::fs::create_directories(imported)?;
    for image in listed(&host::fs::read_to_string(&archives.join("index"))?) {
        let mark = imported.join(image.archive);
        if !mark.exists() || !images.has(image.saved)? {
            journal(&format!("importing {}", image.archive));
            images.load(&archives.join(image.archive)).within(|| format!("importing `{}`", image.archive))?;
            host::fs::write_atomic(&mark, b"", host::fs::PUBLIC)?;
        }
        if image.wanted != image.saved {
            images.name(image.saved, &image.wanted)?;
        }
        images.keep(&image.wanted)?;
    }
    Ok(())
}

/// Reads the index: one image and its archive per line. `repository:tag@digest` is saved under its tag, but
/// the kubelet requests it by digest only.
fn listed(index: &str) -> Vec<Listed<'_>> {
    let lines = index.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, archive)| match name.split_once('@') {
            None => Listed { saved: name, wanted: name.to_owned(), archive },
            Some((saved, digest)) => {
                let has_tag = saved.rsplit('/').next().is_some_and(|last| last.contains(':'));
                let repository = saved
                    .rsplit_once(':')
                    .map_or(saved, |(repository, _)| if has_tag { repository } else { saved });
                Listed { saved, wanted: format!("{repository}@{digest}"), archive }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn an_image_with_a_digest_is_saved_by_its_tag_and_asked_for_by_its_digest() {
        let names = |index: &str| {
            listed(index).iter().map(|image| format!("{} {}", image.saved, image.wanted)).collect::<Vec<_>>()
        };
        let index =
            "k8s.gcr.io/pause:3.2 a.tar\nr:5000/x/haproxy:3.0@sha256:00 b.tar\nr:5000/y@sha256:11 b.tar\n";
        let expected = [
            "k8s.gcr.io/pause:3.2 k8s.gcr.io/pause:3.2",
            "r:5000/x/haproxy:3.0 r:5000/x/haproxy@sha256:00",
            "r:5000/y r:5000/y@sha256:11",
        ];
        assert_eq!(names(index), expected);
    }
}
