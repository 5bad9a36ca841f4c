//! A role image: everything that the machines of one role share, built from stages in the store.

use crate::digest::{Digest, Hasher};
use crate::disk::gpt::Table;
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::output::boot::Boot;
use crate::output::disk_image;
use crate::output::root_image::{self, RootImage};
use crate::output::state::{self, State};
use crate::output::toolbox::Toolbox;
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::Tree;
use crate::words::{Arch, RootFilesystem};

/// Version of the stage; changes when the same parts produce a different disk.
const VERSION: &str = "disk 1";

/// Inputs of a role image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoleInputs<'a> {
    /// Name of the image: its roles joined with `+`.
    pub(crate) name: &'a str,
    pub(crate) arch: Arch,
    /// The whole read-only root.
    pub(crate) tree: &'a Tree,
    /// The installed packages, which include the kernel, os-release and systemd's UEFI programs.
    pub(crate) base: &'a Tree,
    /// Result of [`super::initrd::compose`] for the base.
    pub(crate) initrd: &'a Tree,
    /// Latest time in the image, in seconds since 1970.
    pub(crate) epoch: u64,
    pub(crate) filesystem: RootFilesystem,
}

/// A role image, with its parts in the store.
#[derive(Clone, Debug)]
pub(crate) struct RoleImage {
    pub(crate) name: String,
    pub(crate) arch: Arch,
    pub(crate) epoch: u64,
    pub(crate) root: RootImage,
    pub(crate) boot: Boot,
    pub(crate) state: State,
    /// Position of each part on the disk.
    pub(crate) table: Table,
}

/// Builds the missing parts of a role image.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the tree has entries that a role image must not contain, or a part is
/// missing; [`crate::error::Kind::Tool`] if a program fails.
pub(crate) fn role(
    inputs: &RoleInputs<'_>,
    tools: &dyn Toolbox,
    store: &Store,
    progress: &dyn Progress,
) -> Result<RoleImage> {
    let RoleInputs { name, arch, tree, epoch, filesystem, .. } = *inputs;
    let mut image = RoleImage {
        root: root_image::make(tree, epoch, filesystem, tools, store, progress)?,
        boot: Boot::prepare(inputs, store, progress)?,
        state: state::make(epoch, tools, store, progress)?,
        name: name.to_owned(),
        arch,
        table: Table::default(),
        epoch,
    };
    image.table = table(&image, store)?;
    Ok(image)
}

/// Lays out the disk, or finds the layout in the store, because most builds need only the layout.
fn table(image: &RoleImage, store: &Store) -> Result<Table> {
    let directory = store.stage("layout", &image.key(), |directory| {
        let table = disk_image::compose(image)?.table;
        let json =
            serde_json::to_vec_pretty(&table).doing(Kind::Internal, || "writing the disk layout".into())?;
        host::fs::write_atomic(&directory.join("table.json"), &json, host::fs::PUBLIC)
    })?;
    serde_json::from_slice(&host::fs::read(&directory.join("table.json"))?)
        .doing(Kind::Verify, || "reading the disk layout".into())
}

impl RoleImage {
    /// Returns a digest of everything that is written to a disk.
    pub(crate) fn key(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher
            .field("version", VERSION.as_bytes())
            .field("boot", self.boot.key(&self.root.root_hash).as_bytes());
        hasher.field("state", self.state.key.as_bytes()).field("epoch", &self.epoch.to_le_bytes());
        hasher.finish()
    }
}
