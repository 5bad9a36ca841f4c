//! The base system: Debian packages pinned by the lock become a [`crate::tree::Tree`].

mod choice;
mod compose;
mod configure;
mod control;
mod database;
mod deb;
mod image_archive;
mod images;
mod index;
#[cfg(test)]
mod judged_by_apt;
#[cfg(test)]
mod judged_by_mmdebstrap;
mod lock;
mod mirror;
mod ownership;
mod pack;
mod programs;
mod relation;
mod release;
mod repository;
mod resolve;
mod scan;
mod scratch;
mod scrub;
mod signature;
mod solver;
mod tools;
mod universe;
mod unpack;
mod users;
mod wanted;

pub(crate) use compose::compose;
pub(crate) use images::{ImageArchive, WantedImages, images, pin_images};
pub(crate) use lock::{Archive, Lock, PackagePin};
#[cfg(test)]
pub(crate) use lock::{ArchivePin, BinaryPin};
pub(crate) use mirror::mirror;
pub(crate) use programs::{pin_programs, programs};
pub(crate) use resolve::{LockRequest, Trust, fetch, packages, resolve};
use scratch::Scratch;
pub(crate) use tools::{TOOLS_PACKAGES, TOOLS_SET, Tools};
pub(crate) use users::User;
pub(crate) use wanted::Wanted;

/// The one architecture that images are built for, in Debian's spelling.
pub(crate) const ARCHITECTURE: &str = "amd64";
