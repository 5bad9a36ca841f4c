//! `raw`: a disk image for each role, byte for byte what lies on a disk, and one for each node where that costs no copy.

use crate::error::Result;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::node_image::{self, Node};
use crate::output::role::RoleImage;
use crate::output::{Format, Packed};
use crate::progress::Progress;

#[derive(Debug)]
pub(super) struct Raw;

impl Format for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn pack_role(&self, image: &Packed<'_>, out: &mut Artifacts, progress: &dyn Progress) -> Result<()> {
        out.put(&path(image.role), Readers::All, image.key("raw"), |file| {
            let disk = &image.disk()?.disk;
            let step = progress.begin(&format!("writing {}.raw", image.role.name), Some(disk.data()));
            disk.write(file, &*step)
        })
    }

    fn pack_node(&self, node: &Node<'_>, out: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        node_image::put(node, out)
    }
}

/// Path of a role's raw image in an output directory.
pub(super) fn path(role: &RoleImage) -> String {
    format!("images/{}.raw", role.name)
}
