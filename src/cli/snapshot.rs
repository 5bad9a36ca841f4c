//! `kiln snapshot`: lists and fetches the snapshots kept by etcd members, without a shell on a node.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::{Ui, input};
use crate::digest::Digest;
use crate::error::Result;
use crate::pipeline::{self, Fetched, SnapshotsOf};

/// List and fetch the snapshots kept by etcd members; requires the vault
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  kiln snapshot list
  kiln snapshot fetch --out etcd.db
  kiln snapshot fetch --from m2 --out etcd.db
  kiln order --restore etcd.db@$(sha256sum etcd.db | cut -c1-64)";

#[derive(Debug, Subcommand)]
enum Action {
    /// List each member's snapshots, newest first
    List,
    /// Fetch a snapshot, by default the newest one from any member
    Fetch(Fetch),
}

#[derive(Debug, clap::Args)]
struct Fetch {
    /// Member to fetch the snapshot from
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// SHA-256 digest of the snapshot to fetch
    #[arg(long, value_name = "SHA256")]
    sha256: Option<Digest>,
    /// File for the snapshot, readable only by its owner: it contains every secret in the cluster
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let sources = input::sources(ui);
    match &args.action {
        Action::List => {
            ui.show(&pipeline::snapshots(&sources)?, |members| members.iter().map(lines).collect())
        }
        Action::Fetch(fetch) => {
            let fetched =
                pipeline::fetch_snapshot(&sources, fetch.from.as_deref(), fetch.sha256, &fetch.out)?;
            ui.show(&fetched, |fetched| {
                let Fetched { member, snapshot } = fetched;
                format!(
                    "{}  revision {} from {member}, saved {}\n",
                    snapshot.sha256, snapshot.revision, snapshot.saved
                )
            })
        }
    }
}

fn lines(member: &SnapshotsOf) -> String {
    let name = &member.name;
    let line = |(size, text): (u64, String)| format!("{name:<12} {text} {:>8} KiB\n", size.div_ceil(1024));
    let snapshots = member
        .snapshots
        .iter()
        .map(|kept| (kept.size, format!("{}  {}  revision {:<12}", kept.sha256, kept.saved, kept.revision)));
    let mut lines: String = snapshots.map(line).collect();
    if lines.is_empty() {
        lines = format!("{name:<12} {}\n", member.error.as_deref().unwrap_or("no snapshots yet"));
    }
    lines
}
