//! `dir`: the parts of each role image as separate files, for users who assemble disks themselves.
//!
//! ```text
//! images/<image>/root.squashfs   the read-only root filesystem (or root.erofs)
//! images/<image>/root.verity     its dm-verity hash tree
//! images/<image>/root.hash       the root hash, as `veritysetup verify` expects it
//! images/<image>/kiln.efi        the unified kernel image that opens exactly this root
//! ```

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::digest::{Digest, Tee};
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::{Format, RoleDisk};
use crate::progress::Progress;
use crate::words::artifacts;

#[derive(Debug)]
pub(super) struct Dir;

impl Format for Dir {
    fn name(&self) -> &'static str {
        "dir"
    }

    fn pack_role(&self, image: &RoleDisk<'_>, out: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        let root = &image.role.root;
        let at = |name: &str| format!("{}/{name}", artifacts::image(&image.role.name));
        let data = at(&format!("root.{}", root.filesystem_name()));
        out.put(&data, Readers::All, image.key(&data), |file| copy(&root.data, file))?;
        out.put(&at("root.verity"), Readers::All, image.key("root.verity"), |file| copy(&root.hashes, file))?;
        out.put_bytes(&at("root.hash"), Readers::All, format!("{}\n", root.root_hash).as_bytes())?;
        out.put(&at("kiln.efi"), Readers::All, image.key("kiln.efi"), |mut file| {
            let bytes = image.role.boot.uki(&root.root_hash)?;
            file.write_all(&bytes).doing(Kind::Io, || "writing the unified kernel image".into())?;
            Ok(Digest::of(&bytes))
        })
    }
}

/// Copies a file from the store and returns its digest.
fn copy(from: &Path, to: &File) -> Result<Digest> {
    let mut tee = Tee::new(to);
    host::fs::copy(host::fs::open(from)?, &mut tee, || format!("copying `{}`", from.display()))?;
    Ok(tee.finish())
}
