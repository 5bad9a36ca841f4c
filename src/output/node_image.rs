//! A node's disk: the role image and the node's seed. If the filesystem can share data between files, the
//! disk is a whole raw image, otherwise a qcow2 overlay that contains only the seed. Neither copies the role
//! image.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::digest::{Digest, Hasher};
use crate::disk::qcow2::{self, Backing};
use crate::disk::segments::Disk;
use crate::disk::sparse;
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::output::RoleDisk;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::cloud_init::Documents;
use crate::output::disk_image::{check_seed, config_offset};
use crate::progress::Silent;
use crate::words::artifacts;

/// Version of the stage; changes when the same inputs produce different bytes.
const VERSION: &str = "node 1";

/// One node's part in an output directory.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    /// The packed seed. Secret.
    pub(crate) seed: &'a [u8],
    /// The role image that the node boots, unless no wanted format needs one.
    pub(crate) image: Option<&'a RoleDisk<'a>>,
    /// Documents for cloud-init, if that format is wanted. Secret.
    pub(crate) documents: Option<&'a Documents>,
}

/// Adds the node's disk, based on the role image that was added before: on the raw image if there is one,
/// otherwise on the qcow2 image.
///
/// # Errors
///
/// [`Kind::Input`] if the seed is too large, [`Kind::Io`] if the disk can't be written.
pub(crate) fn put(node: &Node<'_>, out: &mut Artifacts) -> Result<()> {
    check_seed(node.name, node.seed)?;
    let [raw_disk, overlay] = ["raw", "qcow2"].map(|format| artifacts::node_disk(node.name, format));
    let image =
        node.image.ok_or_else(|| Error::new(Kind::Internal, format!("`{}` has no role image", node.name)))?;
    let disk = NodeDisk { seed: node.seed, image };
    let backing = artifacts::disk_image(&image.role.name, "raw");
    if out.has(&backing) && out.shares_bytes(&backing)? {
        let role = host::fs::open(&out.staged(&backing))?;
        return out.put(&raw_disk, Readers::Owner, disk.key("raw"), |file| disk.write_raw(&role, file));
    }
    let (backing, format) = if out.has(&backing) {
        (backing, "raw")
    } else {
        (artifacts::disk_image(&image.role.name, "qcow2"), "qcow2")
    };
    out.put(&overlay, Readers::Owner, disk.key(&backing), |file| {
        let path = format!("../../{backing}");
        qcow2::file(&disk.seed_alone()?, Some(Backing { path: &path, format }))?.write(file, &Silent)
    })
}

/// A role image's disk with a seed in its config partition.
struct NodeDisk<'a> {
    seed: &'a [u8],
    image: &'a RoleDisk<'a>,
}

impl NodeDisk<'_> {
    fn key(&self, form: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("version", VERSION.as_bytes()).field("image", self.image.key(form).as_bytes());
        hasher.field("seed", Digest::of(self.seed).as_bytes());
        hasher.finish()
    }

    /// Returns a disk of the image's size that contains only the seed, at its offset.
    fn seed_alone(&self) -> Result<Disk> {
        let table = &self.image.role.table;
        let mut disk = Disk::new(table.size);
        disk.put_bytes(config_offset(table), self.seed)?;
        Ok(disk)
    }

    fn write_raw(&self, role: &File, file: &File) -> Result<Digest> {
        let step = || "writing the seed into the image".into();
        sparse::share(role, file).doing(Kind::Io, step)?;
        file.write_all_at(self.seed, config_offset(&self.image.role.table)).doing(Kind::Io, step)?;
        self.image.digest_with(self.seed)
    }
}
