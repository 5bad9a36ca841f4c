//! The artifacts of a build: one file per kind, one table of them, and the directory that holds them.
//!
//! ```text
//! images/<image>.raw, images/<image>.qcow2    what the machines of a role share
//! nodes/<node>/<node>.seed                    what one machine is
//! nodes/<node>/<node>.raw or .qcow2           both on one disk
//! manifest.json, SHA256SUMS
//! ```

mod artifacts;
mod boot;
pub(crate) mod cloud_init;
mod dir;
mod disk_image;
pub(crate) mod initrd;
pub(crate) mod inspect;
mod manifest;
mod no_cloud;
mod node_image;
mod qcow2;
mod raw;
mod role;
mod root_image;
mod state;
#[cfg(test)]
mod tests;
mod toolbox;
pub(crate) mod verify;

pub(crate) use artifacts::{Artifacts, Published, Readers};
pub(crate) use manifest::{ArtifactRecord, ImageRecord, Manifest};
pub(crate) use node_image::Node;
pub(crate) use role::{RoleImage, RoleInputs, role};

use std::cell::OnceCell;

use crate::digest::{Digest, Hasher};
use crate::error::Result;
use crate::progress::Progress;
use disk_image::DiskImage;
use manifest::PartitionRecord;

/// One output format. What it packs depends on the values it is given and on nothing else: equal ones give equal bytes.
pub(crate) trait Format: Sync + std::fmt::Debug {
    /// The word in cluster files; kebab-case, never renamed.
    fn name(&self) -> &'static str;

    /// Whether it packs anything of role images; if no wanted format does, none is made.
    fn needs_images(&self) -> bool {
        true
    }

    /// Puts what the machines of a role share.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if a part can't be read or an artifact can't be written.
    fn pack_role(&self, image: &Packed<'_>, out: &mut Artifacts, progress: &dyn Progress) -> Result<()>;

    /// Puts what one machine gets, after the roles.
    ///
    /// # Errors
    ///
    /// As [`Format::pack_role`]; [`crate::error::Kind::Input`] if a seed is too large.
    fn pack_node(&self, node: &Node<'_>, out: &mut Artifacts, progress: &dyn Progress) -> Result<()>;
}

/// Every format, in the order in which they are packed and listed. Adding one means adding a line here.
pub(crate) static FORMATS: &[&dyn Format] = &[&raw::Raw, &qcow2::Qcow2, &dir::Dir, &no_cloud::NoCloud];

/// A role image while it is packed: its disk is laid out once, and only if somebody asks.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    pub(crate) role: &'a RoleImage,
    disk: OnceCell<DiskImage>,
    /// Digest of the disk up to the config partition, where nodes begin to differ.
    beginning: OnceCell<Hasher>,
}

impl<'a> Packed<'a> {
    pub(crate) fn new(role: &'a RoleImage) -> Self {
        Self { role, disk: OnceCell::new(), beginning: OnceCell::new() }
    }

    /// Digest of the image's disk with this seed, of which only what lies behind the seed is read again.
    ///
    /// # Errors
    ///
    /// As [`Packed::disk`].
    pub(crate) fn digest_with(&self, seed: &[u8]) -> Result<Digest> {
        let at = disk_image::config_offset(&self.role.table);
        let mut disk = self.disk()?.disk.clone();
        if self.beginning.get().is_none() {
            let mut hasher = Hasher::default();
            disk.hash(0..at, &mut hasher)?;
            self.beginning.get_or_init(|| hasher);
        }
        let mut hasher = self.beginning.get().expect("it was just set").clone();
        disk.put_bytes(at, seed)?;
        disk.hash(at..disk.size(), &mut hasher)?;
        Ok(hasher.finish())
    }

    /// The image's disk with an empty config partition.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if a part can't be read.
    pub(crate) fn disk(&self) -> Result<&DiskImage> {
        if let Some(disk) = self.disk.get() {
            return Ok(disk);
        }
        let disk = disk_image::compose(self.role)?;
        Ok(self.disk.get_or_init(|| disk))
    }

    /// Digest over all that decides the bytes of the disk in the form `form`.
    pub(crate) fn key(&self, form: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("role", self.role.key().as_bytes()).field("form", form.as_bytes());
        hasher.finish()
    }

    /// What the manifest tells of the image.
    ///
    /// # Errors
    ///
    /// As [`Packed::disk`].
    pub(crate) fn record(&self) -> Result<ImageRecord> {
        let partitions = self.role.table.partitions.iter();
        let record = |partition: &crate::disk::gpt::Partition| PartitionRecord {
            label: partition.label.clone(),
            start: partition.start,
            size: partition.size,
        };
        Ok(ImageRecord {
            root_hash: self.role.root.root_hash,
            filesystem: self.role.root.filesystem_name().to_owned(),
            kernel: self.role.boot.kernel_release()?,
            partitions: partitions.map(record).collect(),
        })
    }
}

/// Puts a node's seed and, in every format of `formats`, its role images and nodes.
///
/// # Errors
///
/// As [`Format::pack_role`].
pub(crate) fn pack(
    formats: &[&dyn Format],
    images: &[Packed<'_>],
    nodes: &[Node<'_>],
    out: &mut Artifacts,
    progress: &dyn Progress,
) -> Result<()> {
    for node in nodes {
        out.put_bytes(&format!("nodes/{0}/{0}.seed", node.name), Readers::Owner, node.seed)?;
    }
    for format in formats {
        images.iter().try_for_each(|image| format.pack_role(image, out, progress))?;
    }
    for format in formats {
        nodes.iter().try_for_each(|node| format.pack_node(node, out, progress))?;
    }
    Ok(())
}

/// The formats of these names, in the table's order.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] naming the formats there are.
pub(crate) fn formats(names: &[String]) -> Result<Vec<&'static dyn Format>> {
    let known = || FORMATS.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    if let Some(name) = names.iter().find(|name| !FORMATS.iter().any(|format| format.name() == **name)) {
        let error = crate::error::Error::new(crate::error::Kind::Input, format!("no output format is named `{name}`"));
        return Err(error.hint(format!("the formats are {}", known())));
    }
    Ok(FORMATS.iter().copied().filter(|format| names.iter().any(|name| name == format.name())).collect())
}
