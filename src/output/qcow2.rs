//! `qcow2`: QEMU's format for each role, and for each node an overlay that holds its seed.

use crate::disk::qcow2;
use crate::error::Result;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::node_image::{self, Node};
use crate::output::role::RoleImage;
use crate::output::{Format, Packed};
use crate::progress::Progress;

#[derive(Debug)]
pub(super) struct Qcow2;

impl Format for Qcow2 {
    fn name(&self) -> &'static str {
        "qcow2"
    }

    fn pack_role(&self, image: &Packed<'_>, out: &mut Artifacts, progress: &dyn Progress) -> Result<()> {
        out.put(&path(image.role), Readers::All, image.key("qcow2"), |file| {
            let disk = qcow2::file(&image.disk()?.disk, None)?;
            let step = progress.begin(&format!("writing {}.qcow2", image.role.name), Some(disk.data()));
            disk.write(file, &*step)
        })
    }

    fn pack_node(&self, node: &Node<'_>, out: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        node_image::put(node, out)
    }
}

/// Path of a role's qcow2 image in an output directory.
pub(super) fn path(role: &RoleImage) -> String {
    format!("images/{}.qcow2", role.name)
}
