//! `kiln schema`: prints the JSON Schema for cluster files, for use in editors.

use crate::cli::Ui;
use crate::error::Result;
use crate::profile;

/// Print the JSON Schema for cluster files, for completion and validation in editors
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

const EXAMPLES: &str = "\
Examples:
  kiln schema > cluster.schema.json

Editors that support TOML (Even Better TOML, taplo, tombi) use it when the cluster file begins with:
  #:schema ./cluster.schema.json";

pub(super) fn run(_: &Args, ui: &Ui) -> Result<()> {
    ui.print_json(&profile::schema())
}
