//! `kiln completions`: prints shell completion scripts.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, Ui};
use crate::error::Result;

/// Print a shell completion script
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Shell to print the script for
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  kiln completions bash > ~/.local/share/bash-completion/completions/kiln
  kiln completions zsh > ~/.zfunc/_kiln
  kiln completions fish > ~/.config/fish/completions/kiln.fish";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kiln", &mut script);
    ui.print(script)
}
