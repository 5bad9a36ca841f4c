//! `kiln order`: what only a person can decide about etcd, as seeds that machines carry out when they boot.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Ui, input};
use crate::error::Result;
use crate::pipeline::{self, Snapshot, Wanted};

/// Write seeds that answer what machines can't decide about etcd: one is missing, or only one has the data
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("what").required(true).args(["without", "recover_from", "restore", "set_aside"]))]
pub(super) struct Args {
    /// Member that the others do not wait for; it can only join them later
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    without: Vec<String>,

    /// Member whose copy of the data becomes the cluster's; the others' are moved aside, and they join it
    #[arg(long, value_name = "NODE")]
    recover_from: Option<String>,

    /// Snapshot that becomes the cluster's data: FILE travels with a seed; SHA256 alone is one that the member keeps
    #[arg(long, value_name = "FILE@SHA256")]
    restore: Option<Snapshot>,

    /// Member that restores the snapshot; the others' data are moved aside, and they join it [default: the first one]
    #[arg(long, value_name = "NODE", requires = "restore")]
    on: Option<String>,

    /// Member whose data are of a cluster that is no more: they are moved aside, and it joins the one that lives
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    set_aside: Vec<String>,

    /// Directory for the seeds; it must not exist
    #[arg(short, long, value_name = "DIR", default_value = "order")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kiln order --without m3
  kiln order --recover-from m3 --out from-m3
  kiln order --restore etcd.db@$(sha256sum etcd.db | cut -c1-64) --on m1
  kiln order --set-aside m1
  dd if=from-m3/m1.seed of=/dev/sdX    a stick for m1, to boot it with";

/// What was written.
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
    ui.message("attach each seed to its machine and boot it; afterwards give the machines their usual seeds again");
    Ok(())
}
