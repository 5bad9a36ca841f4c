//! The read-only root of a role: its tree as squashfs or erofs, and the dm-verity hash tree over it.

use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::disk::guid::Guid;
use crate::disk::squashfs::{self, Chunks};
use crate::disk::{tar, verity};
use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::output::toolbox::Toolbox;
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::{Tree, audit};
use crate::words::RootFilesystem;

/// Version of the stage; changes when the same inputs produce different bytes, so that stages of older
/// versions are not used.
const VERSION: &str = "root 2";

/// Name of the stage.
const STAGE: &str = "root";
/// File of a stage with the data of [`squashfs::Chunks`].
const CHUNKS: &str = "root.chunks";

/// A root with its hash tree, in the store.
#[derive(Clone, Debug)]
pub(crate) struct RootImage {
    pub(crate) data: PathBuf,
    pub(crate) hashes: PathBuf,
    pub(crate) root_hash: Digest,
    pub(crate) filesystem: RootFilesystem,
}

/// Builds the root from `tree`, or finds it in the store.
///
/// # Errors
///
/// [`Kind::Input`], naming every entry that must not be in a role image; [`Kind::Tool`] if a program fails.
pub(crate) fn make(
    tree: &Tree,
    epoch: u64,
    filesystem: RootFilesystem,
    tools: &dyn Toolbox,
    store: &Store,
    progress: &dyn Progress,
) -> Result<RootImage> {
    let maker = Maker { tree, epoch, filesystem };
    let directory =
        store.stage(STAGE, &maker.key(tools), |directory| maker.fill(directory, tools, store, progress))?;
    maker.open(&directory)
}

impl RootImage {
    /// Returns the filesystem's name in cluster files.
    pub(crate) fn filesystem_name(&self) -> &'static str {
        match self.filesystem {
            RootFilesystem::Squashfs => "squashfs",
            RootFilesystem::Erofs => "erofs",
        }
    }
}

struct Maker<'a> {
    tree: &'a Tree,
    epoch: u64,
    filesystem: RootFilesystem,
}

impl Maker<'_> {
    fn key(&self, tools: &dyn Toolbox) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("version", VERSION.as_bytes()).field("audit", audit::VERSION.as_bytes());
        hasher.field("tree", self.tree.digest().as_bytes()).field("epoch", &self.epoch.to_le_bytes());
        match self.filesystem {
            RootFilesystem::Squashfs => hasher.field("squashfs", squashfs::compressor().as_bytes()),
            RootFilesystem::Erofs => hasher
                .field("tools", tools.digest().as_bytes())
                .field("command", self.mkfs_erofs("").join("\n").as_bytes()),
        };
        hasher.finish()
    }

    fn fill(
        &self,
        directory: &Path,
        tools: &dyn Toolbox,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<()> {
        audit::role(self.tree)?;
        match self.filesystem {
            RootFilesystem::Squashfs => self.make_squashfs(directory, store, progress),
            RootFilesystem::Erofs => self.make_erofs(directory, tools, progress),
        }
        .within(|| "building the root image".into())?;
        let data = directory.join(self.name());
        host::fs::set_mode(&data, host::fs::PUBLIC)?;
        let _step = progress.begin("hashing the root image", None);
        let root_hash = write_hashes(&data, &directory.join("root.verity"), &self.tree.digest())?;
        host::fs::write_atomic(
            &directory.join("root.roothash"),
            root_hash.to_string().as_bytes(),
            host::fs::PUBLIC,
        )
    }

    /// Builds the squashfs image. Data that is already in the previous image is not compressed again.
    fn make_squashfs(&self, directory: &Path, store: &Store, progress: &dyn Progress) -> Result<()> {
        let step = progress.begin("compressing the root image", Some(self.tree.size()));
        let last = store.newest_unchecked(STAGE);
        let known = last
            .map_or_else(Chunks::default, |last| Chunks::load(&last.join(CHUNKS), &last.join(self.name())));
        let file = host::fs::create(&directory.join(self.name()), host::fs::PUBLIC)?;
        let chunks = squashfs::write(self.tree, self.epoch, &file, &known, &*step)?;
        host::fs::write_atomic(&directory.join(CHUNKS), &chunks.to_bytes()?, host::fs::PUBLIC)
    }

    fn make_erofs(&self, directory: &Path, tools: &dyn Toolbox, progress: &dyn Progress) -> Result<()> {
        self.check_space(directory)?;
        let step = progress.begin("compressing the root image with mkfs.erofs", Some(self.tree.size()));
        tools.run("mkfs.erofs", directory, &|inside| self.mkfs_erofs(inside), &|out| {
            tar::write(self.tree, self.epoch, &mut Counted { out, step: &*step })
        })
    }

    /// Checks the free space: mkfs.erofs hangs on a full disk, so it is not started if the disk might fill
    /// up.
    fn check_space(&self, directory: &Path) -> Result<()> {
        let (free, wanted) = (host::fs::free_space(directory)?, self.tree.size() + (64 << 20));
        if free > wanted {
            return Ok(());
        }
        let (free, wanted) = (free >> 20, wanted >> 20);
        Err(Error::new(
            Kind::Io,
            format!(
                "building the root image needs {wanted} MiB in `{}`, but only {free} MiB is free",
                directory.display()
            ),
        )
        .hint("free up space, or move the store with KILN_STORE"))
    }

    fn open(&self, directory: &Path) -> Result<RootImage> {
        let root_hash = host::fs::read_to_string(&directory.join("root.roothash"))?.trim().parse()?;
        let (data, hashes) = (directory.join(self.name()), directory.join("root.verity"));
        Ok(RootImage { data, hashes, root_hash, filesystem: self.filesystem })
    }

    fn name(&self) -> &'static str {
        match self.filesystem {
            RootFilesystem::Squashfs => "root.squashfs",
            RootFilesystem::Erofs => "root.erofs",
        }
    }

    fn mkfs_erofs(&self, directory: &str) -> Vec<String> {
        let (epoch, out) = (self.epoch.to_string(), format!("{directory}/{}", self.name()));
        // No `-Efragments`: from a tar of several hundred MiB, mkfs.erofs 1.8.6 fills many of the small files
        // with zeros.
        let fixed = "--tar=f --quiet -zzstd,3 -C131072";
        let stamped = ["-T", &epoch, "-U", "6b696c6e-0000-4000-8000-000000000000", &out];
        fixed.split_ascii_whitespace().chain(stamped).map(str::to_owned).collect()
    }
}

/// Writes the hash tree. Salt and identifier are derived from the tree, so that they differ between images
/// but not between builds.
fn write_hashes(data: &Path, hashes: &Path, tree: &Digest) -> Result<Digest> {
    let mut salt = Hasher::default();
    salt.field("verity salt", tree.as_bytes());
    let salt = salt.finish().as_bytes().to_vec();
    let parameters = verity::Parameters { salt, uuid: *Guid::derived(tree, "verity").as_bytes() };
    let mut root_hash = Ok(None);
    host::fs::write_atomic_with(hashes, host::fs::PUBLIC, |out| {
        root_hash =
            host::fs::open(data).and_then(|mut data| verity::format(&mut data, &parameters, out)).map(Some);
        Ok(())
    })?;
    root_hash.map(|hash| hash.expect("the closure ran"))
}

/// A writer that reports progress.
struct Counted<'a> {
    out: &'a mut dyn std::io::Write,
    step: &'a dyn crate::progress::Step,
}

impl std::io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.step.advance(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
