//! `raw`: a raw disk image for each role, and one for each node where the filesystem can share the data.

use crate::error::Result;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::{Format, RoleDisk};
use crate::progress::Progress;
use crate::words::artifacts;

#[derive(Debug)]
pub(super) struct Raw;

impl Format for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn pack_role(&self, image: &RoleDisk<'_>, out: &mut Artifacts, progress: &dyn Progress) -> Result<()> {
        out.put(
            &artifacts::disk_image(&image.role.name, self.name()),
            Readers::All,
            image.key("raw"),
            |file| {
                let disk = &image.disk()?.disk;
                let step = progress.begin(&format!("writing {}.raw", image.role.name), Some(disk.data()));
                disk.write(file, &*step)
            },
        )
    }
}
