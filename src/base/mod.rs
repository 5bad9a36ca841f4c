//! The base system: Debian packages pinned by the lock become a [`crate::tree::Tree`].

mod lock;

pub(crate) use lock::{Archive, ArchivePin, BinaryPin, Lock, PackagePin, ReleasePin};

/// The one architecture that images are built for, in Debian's spelling.
pub(crate) const ARCHITECTURE: &str = "amd64";
