//! `dir`: the parts of each role image as files of their own, for people who put disks together themselves.
//!
//! ```text
//! images/<image>/root.squashfs   the read-only root filesystem (or root.erofs)
//! images/<image>/root.verity     its dm-verity hash tree
//! images/<image>/root.hash       the root hash, as `veritysetup verify` takes it
//! images/<image>/kiln.efi        the unified kernel image that opens exactly this root
//! ```

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::digest::{Digest, Tee};
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::node_image::Node;
use crate::output::{Format, Packed};
use crate::progress::Progress;

#[derive(Debug)]
pub(super) struct Dir;

impl Format for Dir {
    fn name(&self) -> &'static str {
        "dir"
    }

    fn pack_role(&self, image: &Packed<'_>, out: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        let root = &image.role.root;
        let at = |name: &str| format!("images/{}/{name}", image.role.name);
        let data = at(&format!("root.{}", root.filesystem_name()));
        out.put(&data, Readers::All, image.key(&data), |file| copy(&root.data, file))?;
        out.put(&at("root.verity"), Readers::All, image.key("root.verity"), |file| copy(&root.hashes, file))?;
        out.put_bytes(&at("root.hash"), Readers::All, format!("{}\n", root.root_hash).as_bytes())?;
        out.put(&at("kiln.efi"), Readers::All, image.key("kiln.efi"), |mut file| {
            let bytes = image.role.boot.uki(&root.root_hash)?;
            file.write_all(&bytes).doing(Kind::Io, || "writing".into())?;
            Ok(Digest::of(&bytes))
        })
    }

    fn pack_node(&self, _: &Node<'_>, _: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        Ok(())
    }
}

/// Copies a file of the store and digests it on the way.
fn copy(from: &Path, to: &File) -> Result<Digest> {
    let mut tee = Tee::new(to);
    host::fs::copy(host::fs::open(from)?, &mut tee, || format!("copying `{}`", from.display()))?;
    Ok(tee.finish())
}
