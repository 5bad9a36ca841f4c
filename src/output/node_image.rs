//! A node's disk: its role's image and its seed. Where the filesystem shares bytes it is a whole raw image, else a qcow2 overlay that
//! holds the seed and nothing more. Neither copies the role's image.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::digest::{Digest, Hasher};
use crate::disk::qcow2::{self, Backing};
use crate::disk::segments::Disk;
use crate::disk::sparse;
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::cloud_init::Documents;
use crate::output::disk_image::{check_seed, config_offset};
use crate::output::{Packed, raw};
use crate::progress::Silent;

/// Changes when the same inputs make other bytes.
const VERSION: &str = "node 1";

/// One node's part in an output directory.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    /// The packed seed. Secret.
    pub(crate) seed: &'a [u8],
    /// The role image that it boots, unless every wanted format does without.
    pub(crate) image: Option<&'a Packed<'a>>,
    /// What cloud-init reads, when that format is wanted. Secret.
    pub(crate) documents: Option<&'a Documents>,
}

/// Puts the node's disk over the role image that was put before: raw if there is one, else qcow2.
///
/// # Errors
///
/// [`Kind::Input`] if the seed is too large, [`Kind::Io`].
pub(crate) fn put(node: &Node<'_>, out: &mut Artifacts) -> Result<()> {
    check_seed(node.name, node.seed)?;
    let [raw_disk, overlay] = ["raw", "qcow2"].map(|suffix| format!("nodes/{0}/{0}.{suffix}", node.name));
    if out.has(&raw_disk) || out.has(&overlay) {
        return Ok(());
    }
    let image = node.image.ok_or_else(|| Error::new(Kind::Internal, format!("`{}` has no role image", node.name)))?;
    let disk = NodeDisk { seed: node.seed, image };
    let backing = raw::path(image.role);
    if out.has(&backing) && out.shares_bytes(&backing)? {
        let role = host::fs::open(&out.staged(&backing))?;
        return out.put(&raw_disk, Readers::Owner, disk.key("raw"), |file| disk.write_raw(&role, file));
    }
    let (backing, format) = if out.has(&backing) { (backing, "raw") } else { (super::qcow2::path(image.role), "qcow2") };
    out.put(&overlay, Readers::Owner, disk.key(&backing), |file| {
        let path = format!("../../{backing}");
        qcow2::file(&disk.seed_alone()?, Some(Backing { path: &path, format }))?.write(file, &Silent)
    })
}

/// A role image's disk with a seed in its config partition.
struct NodeDisk<'a> {
    seed: &'a [u8],
    image: &'a Packed<'a>,
}

impl NodeDisk<'_> {
    fn key(&self, form: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("version", VERSION.as_bytes()).field("image", self.image.key(form).as_bytes());
        hasher.field("seed", Digest::of(self.seed).as_bytes());
        hasher.finish()
    }

    /// A disk of the image's size that holds the seed at its place.
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
