//! The base system: Debian packages pinned by the lock become a [`crate::tree::Tree`].

mod choice;
mod index;
mod lock;
mod mirror;
mod relation;
mod release;
mod repository;
mod resolve;
mod signature;
mod solver;
mod universe;

pub(crate) use lock::{Archive, ArchivePin, BinaryPin, Lock, PackagePin, ReleasePin};
pub(crate) use mirror::{Mirrors, mirror};
pub(crate) use resolve::{LockRequest, Trust, fetch, packages, resolve};

/// The one architecture that images are built for, in Debian's spelling.
pub(crate) const ARCHITECTURE: &str = "amd64";
