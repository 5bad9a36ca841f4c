//! Build artifacts: one source file per format, a table of formats, and the output directory.
//!
//! ```text
//! images/<image>.raw, images/<image>.qcow2    shared by the machines of a role
//! nodes/<node>/<node>.seed                    identity of one machine
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
pub(crate) use manifest::{ArtifactRecord, ClusterRecord, ImageRecord, Manifest, NetworkRecord, NodeRecord};
pub(crate) use node_image::Node;
pub(crate) use role::{RoleImage, RoleInputs, role};

use std::cell::OnceCell;

use crate::digest::{Digest, Hasher};
use crate::error::Result;
use crate::progress::Progress;
use crate::words::{Needs, Output, artifacts as paths};
use disk_image::DiskImage;
use manifest::PartitionRecord;

/// One output format. Its output depends only on the inputs: equal inputs produce equal bytes.
pub(crate) trait Format: Sync + std::fmt::Debug {
    /// Returns the name of its row in `OUTPUTS`.
    fn name(&self) -> &'static str;

    /// Adds the files that the machines of a role share.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if a part can't be read or an artifact can't be written.
    fn pack_role(&self, _image: &RoleDisk<'_>, _out: &mut Artifacts, _progress: &dyn Progress) -> Result<()> {
        Ok(())
    }

    /// Adds the files of one machine, after the roles and the nodes' disks.
    ///
    /// # Errors
    ///
    /// Same as [`Format::pack_role`]; [`crate::error::Kind::Input`] if a seed is too large.
    fn pack_node(&self, _node: &Node<'_>, _out: &mut Artifacts, _progress: &dyn Progress) -> Result<()> {
        Ok(())
    }

    /// Adds the files of the whole cluster, after the nodes.
    ///
    /// # Errors
    ///
    /// Same as [`Format::pack_role`].
    fn pack_cluster(
        &self,
        _nodes: &[Node<'_>],
        _out: &mut Artifacts,
        _progress: &dyn Progress,
    ) -> Result<()> {
        Ok(())
    }
}

/// Implementation of each row of `OUTPUTS`.
pub(crate) static FORMATS: &[&dyn Format] = &[&raw::Raw, &qcow2::Qcow2, &dir::Dir, &no_cloud::NoCloud];

/// A role image during packing; its disk is laid out once, and only on demand.
#[derive(Debug)]
pub(crate) struct RoleDisk<'a> {
    pub(crate) role: &'a RoleImage,
    disk: OnceCell<DiskImage>,
    /// Digest of the disk up to the config partition, where the nodes' disks begin to differ.
    beginning: OnceCell<Hasher>,
}

impl<'a> RoleDisk<'a> {
    pub(crate) fn new(role: &'a RoleImage) -> Self {
        Self { role, disk: OnceCell::new(), beginning: OnceCell::new() }
    }

    /// Returns the digest of the image's disk with this seed; only the part after the seed is read again.
    ///
    /// # Errors
    ///
    /// Same as [`RoleDisk::disk`].
    pub(crate) fn digest_with(&self, seed: &[u8]) -> Result<Digest> {
        let at = disk_image::config_offset(&self.role.table);
        let mut disk = self.disk()?.disk.clone();
        if self.beginning.get().is_none() {
            let mut hasher = Hasher::default();
            disk.hash(0..at, &mut hasher)?;
            self.beginning.get_or_init(|| hasher);
        }
        let mut hasher = self.beginning.get().expect("the digest was just computed").clone();
        disk.put_bytes(at, seed)?;
        disk.hash(at..disk.size(), &mut hasher)?;
        Ok(hasher.finish())
    }

    /// Returns the image's disk with an empty config partition.
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

    /// Returns a digest of all inputs that determine the bytes of the disk in the form `form`.
    pub(crate) fn key(&self, form: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("role", self.role.key().as_bytes()).field("form", form.as_bytes());
        hasher.finish()
    }

    /// Returns the image's record for the manifest.
    ///
    /// # Errors
    ///
    /// Same as [`RoleDisk::disk`].
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
            kernel: self.role.boot.kernel_release().to_owned(),
            partitions: partitions.map(record).collect(),
        })
    }
}

/// Adds the nodes' seeds, then each format's files for roles, nodes and the cluster. If any format creates
/// role disks, the nodes' disks are added between roles and nodes.
///
/// # Errors
///
/// Same as [`Format::pack_role`].
pub(crate) fn pack(
    outputs: &[Output],
    images: &[RoleDisk<'_>],
    nodes: &[Node<'_>],
    out: &mut Artifacts,
    progress: &dyn Progress,
) -> Result<()> {
    for node in nodes {
        out.put_bytes(&paths::seed(node.name), Readers::Owner, node.seed)?;
    }
    let formats: Vec<&dyn Format> =
        Output::all().filter(|output| outputs.contains(output)).map(format).collect();
    for format in &formats {
        images.iter().try_for_each(|image| format.pack_role(image, out, progress))?;
    }
    if outputs.iter().any(|output| output.needs == Needs::Disk) {
        nodes.iter().try_for_each(|node| node_image::put(node, out))?;
    }
    for format in &formats {
        nodes.iter().try_for_each(|node| format.pack_node(node, out, progress))?;
    }
    formats.iter().try_for_each(|format| format.pack_cluster(nodes, out, progress))
}

/// Returns the implementation of a format.
fn format(output: Output) -> &'static dyn Format {
    *FORMATS
        .iter()
        .find(|format| format.name() == output.name)
        .expect("every row of OUTPUTS has an implementation")
}
