//! `kiln fetch`: downloads every locked input into the store.

use crate::cli::{Ui, input};
use crate::error::Result;
use crate::pipeline;
use crate::store::Store;

/// Download every locked package and program into the store, so that `kiln build --offline` works without
/// network access
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

const EXAMPLES: &str = "\
Examples:
  kiln fetch
  kiln fetch --store /media/stick/kiln";

pub(super) fn run(_: &Args, ui: &Ui) -> Result<()> {
    let site = input::site(ui)?;
    let lock = pipeline::load_lock(&site)?;
    let store = Store::open(ui.global().store.as_deref())?;
    pipeline::fetch(&site, &lock, false, &store, ui)?;
    ui.message(format!("`{}` contains all {} packages", store.root().display(), lock.packages.len()));
    Ok(())
}
