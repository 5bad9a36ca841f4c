//! `kiln schema`: the JSON Schema of cluster files, for editors.

use crate::cli::Ui;
use crate::error::Result;
use crate::profile;

/// Print the JSON Schema of cluster files, for completion and checks in editors
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

const EXAMPLES: &str = "\
Examples:
  kiln schema > cluster.schema.json

Editors that know TOML (Even Better TOML, taplo, tombi) use it when the cluster file begins with:
  #:schema ./cluster.schema.json";

pub(super) fn run(_: &Args, ui: &Ui) -> Result<()> {
    ui.print_json(&profile::schema())
}
