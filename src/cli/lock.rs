//! `kiln lock`: pins every package and program.

use std::path::PathBuf;

use serde_json::json;

use crate::base::{Lock, Trust};
use crate::cli::{Ui, input};
use crate::error::Result;
use crate::pipeline;
use crate::progress::Progress as _;
use crate::store::Store;

/// Pin every package and program of a cluster by version and SHA-256
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Accept a release file whose Valid-Until date has passed, as in an archive snapshot
    #[arg(long)]
    allow_expired: bool,

    /// Trust the OpenPGP keys in FILE instead of Debian's keys [default: $KILN_KEYRING]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
}

const EXAMPLES: &str = "\
The Debian mirror is taken from the cluster file, $KILN_MIRROR or this machine's APT sources.

Examples:
  kiln lock
  kiln lock --file berlin.toml
  KILN_MIRROR=https://HOST/debian kiln lock";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let site = input::site(ui)?;
    let store = Store::open(ui.global().store.as_deref())?;
    let mut trust = Trust::from_environment();
    trust.allow_expired |= args.allow_expired;
    trust.keyring = args.keyring.clone().or(trust.keyring);
    let lock = pipeline::lock(&site, trust, &store, ui)?;
    let path = &site.cluster.lock;
    let before = pipeline::lock_file(&site.cluster);
    let old = if before.exists() { Lock::load(&before).ok() } else { None };
    for suite in old.iter().flat_map(|old| lock.behind(old)) {
        ui.warn(&format!("the mirror serves an older release of `{suite}` than the previously pinned one"));
    }
    let unchanged = before == *path && old.is_some_and(|old| old == lock);
    if !unchanged {
        lock.save(path)?;
    }
    if ui.global().json {
        return ui
            .print_json(&json!({ "lock": path, "changed": !unchanged, "packages": lock.packages.len(), "programs": lock.binaries.len() }));
    }
    let verb = if unchanged { "is up to date:" } else { "pins" };
    let images = match lock.wanted.images.len() {
        0 => String::new(),
        count => format!(", plus {count} container images"),
    };
    ui.message(format!(
        "`{}` {verb} {} packages and {} programs{images}",
        path.display(),
        lock.packages.len(),
        lock.binaries.len()
    ));
    Ok(())
}
