//! The base system: a [`crate::tree::Tree`] built from a distribution's packages, programs and container
//! images, all of them pinned by the lock. Everything specific to Debian is in [`debian`], behind a few
//! functions.

mod debian;
mod image_archive;
mod images;
mod lock;
mod programs;
mod wanted;

pub(crate) use debian::{
    LockRequest, TOOLS_PACKAGES, TOOLS_SET, Tools, Trust, User, compose, fetch, mirror, resolve,
};
pub(crate) use images::{ImageArchive, WantedImages, images, pin_images};
pub(crate) use lock::{Archive, Lock, PackagePin};
#[cfg(test)]
pub(crate) use lock::{ArchivePin, BinaryPin};
pub(crate) use programs::{pin_programs, programs};
pub(crate) use wanted::Wanted;

/// Reads a package and its data to the end, for `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_deb(path: &std::path::Path) {
    debian::read_deb(path);
}

/// Reads an image archive, for `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_image_archive(path: &std::path::Path) {
    let _ = image_archive::Archive::open(path);
}
