//! `kiln lock`: pin every package and program.

use serde_json::json;

use crate::base::{Lock, Trust};
use crate::cli::{Ui, input};
use crate::error::Result;
use crate::pipeline;
use crate::store::Store;

/// Pin every package and program of a cluster by version and SHA-256
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Accept a release file whose Valid-Until has passed, as of an archive snapshot
    #[arg(long)]
    allow_expired: bool,
}

const EXAMPLES: &str = "\
The Debian mirror comes from the cluster file, from $KILN_MIRROR, or from this machine's APT sources.

Examples:
  kiln lock
  kiln lock --file berlin.toml
  KILN_MIRROR=https://HOST/debian kiln lock";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let site = input::site(ui)?;
    let store = Store::open(ui.global().store.as_deref())?;
    let mut trust = Trust::from_environment();
    trust.allow_expired |= args.allow_expired;
    let lock = pipeline::lock(&site, trust, &store, ui)?;
    let path = &site.cluster.lock;
    let unchanged = path.exists() && Lock::load(path).is_ok_and(|old| old == lock);
    if !unchanged {
        lock.save(path)?;
    }
    if ui.global().json {
        return ui
            .print_json(&json!({ "lock": path, "changed": !unchanged, "packages": lock.packages.len(), "programs": lock.binaries.len() }));
    }
    let verb = if unchanged { "is up to date with" } else { "pins" };
    ui.message(format!("`{}` {verb} {} packages and {} programs", path.display(), lock.packages.len(), lock.binaries.len()));
    Ok(())
}
