//! Programs that kiln runs: from locked packages, unpacked into the store, sandboxed, never from the host.

use std::path::{Path, PathBuf};

use crate::base::Lock;
use crate::base::debian::deb::Deb;
use crate::base::debian::{compose, unpack};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result};
use crate::host::sandbox::{Access, Sandbox};
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::ImagePath;
use crate::words::Arch;

/// Packages requested for the lock's set `tools`; dependencies are added.
pub(crate) const TOOLS_PACKAGES: &[&str] = &["coreutils", "e2fsprogs", "erofs-utils", "fakeroot", "tar"];

/// Name of the set in the lock.
pub(crate) const TOOLS_SET: &str = "tools";

/// Recipe version, increased when the unpacked files change for the same packages.
const RECIPE: &[u8] = b"1";

/// Directory of the registered emulators (Linux, Documentation/admin-guide/binfmt-misc.rst).
const EMULATORS: &str = "/proc/sys/fs/binfmt_misc";

/// Tree of the unpacked tools.
#[derive(Debug)]
pub(crate) struct Tools {
    root: PathBuf,
    key: Digest,
    arch: Arch,
}

impl Tools {
    /// Unpacks the tools of `lock`, whose packages are in the store, or reuses an earlier result.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the lock contains no tools, or the store lacks one of their packages.
    pub(crate) fn open(lock: &Lock, store: &Store, progress: &dyn Progress) -> Result<Self> {
        let mut key = Hasher::default();
        key.field("recipe", RECIPE);
        compose::add_packages(&mut key, lock, TOOLS_SET)?;
        let key = key.finish();
        let root = store.stage(TOOLS_SET, &key, |out| {
            let debs = compose::open_packages(lock, TOOLS_SET, store, progress)?;
            let step = progress.begin("unpacking tools", Some(debs.iter().map(Deb::size).sum()));
            unpack::unpack(debs, out, keep, &*step)?;
            // The sandbox assembles the root of a tool here.
            crate::host::fs::create_directories(&out.join("run"))
        })?;
        Ok(Self { root, key, arch: lock.architecture })
    }

    /// Checks that this machine runs programs of an architecture, by itself or through an emulator that is
    /// registered under its usual name (binfmt_misc).
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if it can't run them.
    pub(crate) fn require_runnable(arch: Arch) -> Result<()> {
        let emulator = arch.qemu.trim_start_matches("qemu-system-");
        if Arch::own() == Some(arch) || Path::new(EMULATORS).join(format!("qemu-{emulator}")).exists() {
            return Ok(());
        }
        let own = std::env::consts::ARCH;
        Err(Error::new(
            Kind::Input,
            format!(
                "images for {arch} are built with programs for {arch}, which this machine ({own}) can't run"
            ),
        )
        .hint(format!("run `kiln build` on an {arch} machine")))
    }

    /// Returns a key that identifies the programs: different versions may write different bytes.
    pub(crate) fn key(&self) -> Digest {
        self.key
    }

    /// Prepares to run a tool, which sees the tools tree read-only, and the bound files.
    pub(crate) fn command(&self, program: &str) -> Sandbox {
        Sandbox::new(&self.root, Access::Read, program)
    }

    /// Returns the host path of a library in the tools tree.
    pub(super) fn library(&self, relative: &str) -> PathBuf {
        self.path(&format!("usr/lib/{}/{relative}", self.arch.triplet))
    }

    /// Returns the host path of a file in the tools tree.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        Path::new(&self.root).join(relative)
    }
}

/// Checks whether a file is needed, as programs, libraries and their settings are.
fn keep(path: &ImagePath) -> bool {
    let wanted = path.is_under("/usr") || path.is_under("/etc");
    let is_dropped = ["/usr/share", "/usr/include"].iter().any(|dropped| path.is_under(dropped));
    let converts = Arch::ALL.iter().any(|arch| path.is_under(&format!("/usr/lib/{}/gconv", arch.triplet)));
    wanted && !is_dropped && !converts
}
