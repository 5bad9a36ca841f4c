//! `kiln order`: writes decisions about etcd that only an administrator can make to seeds, which machines
//! apply at boot.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Ui, input};
use crate::error::Result;
use crate::pipeline::{self, Snapshot, Wanted};

/// Write seeds with etcd decisions that machines can't make: a member is missing, or only one has the data
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("what").required(true).args(["without", "recover_from", "restore", "set_aside"]))]
pub(super) struct Args {
    /// Member that the others do not wait for; it can only join later
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    without: Vec<String>,

    /// Member whose data becomes the cluster's data; the others move their data aside and join it
    #[arg(long, value_name = "NODE")]
    recover_from: Option<String>,

    /// Snapshot that becomes the cluster's data: FILE is appended to a seed; SHA256 alone selects a snapshot
    /// that the member has kept
    #[arg(long, value_name = "FILE@SHA256")]
    restore: Option<Snapshot>,

    /// Member that restores the snapshot; the others move their data aside and join it [default: the first
    /// member]
    #[arg(long, value_name = "NODE", requires = "restore")]
    on: Option<String>,

    /// Member whose data belongs to a cluster that no longer exists; it moves the data aside and joins the
    /// running cluster
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    set_aside: Vec<String>,

    /// Directory for the seeds; it must not exist yet
    #[arg(short, long, value_name = "DIR", default_value = "order")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kiln order --without m3
  kiln order --recover-from m3 --out from-m3
  kiln order --restore etcd.db@$(sha256sum etcd.db | cut -c1-64) --on m1
  kiln order --set-aside m1
  dd if=from-m3/m1.seed of=/dev/sdX    write a USB stick to boot m1 with";

/// Files that were written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    seeds: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let wanted = Wanted {
        sources: input::sources(ui),
        without: &args.without,
        recover_from: args.recover_from.as_deref(),
        restore: args.restore.as_ref(),
        on: args.on.as_deref(),
        set_aside: &args.set_aside,
        out: &args.out,
    };
    let written = Written { seeds: pipeline::order(&wanted)? };
    ui.show(&written, |written| written.seeds.iter().map(|seed| format!("{}\n", seed.display())).collect())?;
    ui.message("attach each seed to its machine and boot the machine; then reattach the usual seeds");
    Ok(())
}
