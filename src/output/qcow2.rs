//! `qcow2`: a qcow2 image for each role, and for each node an overlay that contains its seed.

use crate::disk::qcow2;
use crate::error::Result;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::{Format, RoleDisk};
use crate::progress::Progress;
use crate::words::artifacts;

#[derive(Debug)]
pub(super) struct Qcow2;

impl Format for Qcow2 {
    fn name(&self) -> &'static str {
        "qcow2"
    }

    fn pack_role(&self, image: &RoleDisk<'_>, out: &mut Artifacts, progress: &dyn Progress) -> Result<()> {
        out.put(
            &artifacts::disk_image(&image.role.name, self.name()),
            Readers::All,
            image.key("qcow2"),
            |file| {
                let disk = qcow2::file(&image.disk()?.disk, None)?;
                let step = progress.begin(&format!("writing {}.qcow2", image.role.name), Some(disk.data()));
                disk.write(file, &*step)
            },
        )
    }
}
