//! `kiln verify`: checks that artifacts are unchanged since a build published them.

use std::path::PathBuf;

use crate::cli::Ui;
use crate::error::Result;
use crate::output::verify::{self, Verified};

/// Check artifacts: digests, permissions, and the chain from boot entry to root filesystem
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Output directory, or a raw or qcow2 image
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kiln verify out/ha
  kiln verify /dev/sdb
  kiln verify out/ha/images/control-plane.raw";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let verified =
        if args.path.is_dir() { verify::directory(&args.path, ui) } else { verify::disk(&args.path) };
    ui.show(&verified?, text)
}

fn text(verified: &Verified) -> String {
    let Verified { files, bytes, disks } = verified;
    format!(
        "{files} files ({} MiB) match the build; the boot chain of {disks} disks is intact\n",
        bytes >> 20
    )
}
