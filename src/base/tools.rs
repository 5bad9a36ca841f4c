//! The programs that kiln runs: from locked packages, unpacked into the store, confined, never from the host.

use std::path::{Path, PathBuf};

use crate::base::deb::Deb;
use crate::base::{Lock, compose, unpack};
use crate::digest::{Digest, Hasher};
use crate::error::Result;
use crate::host::sandbox::{Access, Sandbox};
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::ImagePath;

/// Packages of the lock's set `tools`; their dependencies come with them.
pub(crate) const TOOLS_PACKAGES: &[&str] = &["coreutils", "e2fsprogs", "erofs-utils", "fakeroot", "tar"];

/// Name of the lock's set.
pub(crate) const TOOLS_SET: &str = "tools";

/// Raised when what is unpacked changes for the same packages.
const RECIPE: &[u8] = b"1";

/// The tools tree.
#[derive(Debug)]
pub(crate) struct Tools {
    root: PathBuf,
    key: Digest,
}

impl Tools {
    /// Unpacks the tools of `lock`, whose packages are in the store, or finds them unpacked.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`] if the lock has no tools or the store lacks a package of them.
    pub(crate) fn open(lock: &Lock, store: &Store, progress: &dyn Progress) -> Result<Self> {
        let mut key = Hasher::default();
        key.field("recipe", RECIPE);
        compose::add_packages(&mut key, lock, TOOLS_SET)?;
        let key = key.finish();
        let root = store.stage(TOOLS_SET, &key, |out| {
            let debs = compose::open_packages(lock, TOOLS_SET, store, progress)?;
            let step = progress.begin("unpacking tools", Some(debs.iter().map(Deb::size).sum()));
            unpack::unpack(debs, out, keep, &*step)?;
            // The sandbox assembles the root that a tool sees here.
            crate::host::fs::create_directories(&out.join("run"))
        })?;
        Ok(Self { root, key })
    }

    /// Identifies the programs: other versions may write other bytes.
    pub(crate) fn key(&self) -> Digest {
        self.key
    }

    /// Prepares to run a tool. It sees the tools tree read-only, and what is bound.
    pub(crate) fn command(&self, program: &str) -> Sandbox {
        Sandbox::new(&self.root, Access::Read, program)
    }

    /// Path on the host of a file of the tools tree.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        Path::new(&self.root).join(relative)
    }
}

/// Programs, libraries and their settings: nothing that a tool doesn't read.
fn keep(path: &ImagePath) -> bool {
    let wanted = path.is_under("/usr") || path.is_under("/etc");
    wanted && !["/usr/share", "/usr/include", "/usr/lib/x86_64-linux-gnu/gconv"].iter().any(|dropped| path.is_under(dropped))
}
