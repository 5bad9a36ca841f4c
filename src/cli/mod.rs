//! The command line: one file per verb. Only this module uses stdout, stderr and progress bars.
//!
//! A new verb needs a file with `Args` and `run`, plus three lines here. Data goes to stdout; messages and
//! progress go to stderr.

mod agent;
mod build;
mod check;
mod completions;
mod diagnostic;
mod doctor;
mod fetch;
mod global;
mod init;
mod input;
mod inspect;
mod lab;
mod list;
mod lock;
mod masked;
mod order;
mod picture;
mod pki;
mod plan;
mod rehearse;
mod render;
mod sarif;
mod schema;
mod segment;
mod snapshot;
mod store;
mod table;
mod ui;
mod verify;
mod versions;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Kind, Result};
use crate::host;

pub(crate) use global::Global;
pub(crate) use ui::Ui;

const AFTER_HELP: &str = "\
First steps:
  kiln init                 create cluster.toml, then edit it
  kiln check && kiln plan   report every problem; show what each machine receives
  kiln pki init             create the keys (only once)
  kiln lock && kiln build   pin the inputs; build images and seeds into out/
  kiln lab up               boot the cluster on this machine

Exit codes:
    0  success
    1  a prediction failed: `kiln lab rehearse` measured longer outages than the plan predicts
    2  invalid input: a file, a flag, a missing setting
    3  I/O error: read, write, disk space, permissions
    4  a server was unreachable or returned an invalid response
    5  a digest, signature or certificate does not match
    6  a program that kiln runs failed or is missing
   70  a bug in kiln
  130  interrupted by a signal";

/// Turn one cluster file into highly available Kubernetes appliances
#[derive(Debug, Parser)]
#[command(name = "kiln", version, after_help = AFTER_HELP, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Verbs, in the order in which `--help` lists them.
#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Args),
    Check(check::Args),
    Plan(plan::Args),
    Render(render::Args),
    List(list::Args),
    Doctor(doctor::Args),
    Pki(pki::Args),
    Lock(lock::Args),
    Fetch(fetch::Args),
    Build(build::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Lab(lab::Args),
    Order(order::Args),
    Snapshot(snapshot::Args),
    Store(store::Args),
    Agent(agent::Args),
    Schema(schema::Args),
    Completions(completions::Args),
}

impl Verb {
    /// Watches for signals, except in daemons, which exit on the first signal, as systemd expects. Their
    /// files are complete at all times, so there is nothing to clean up.
    fn prepare(&self) -> Result<()> {
        if matches!(self, Self::Agent(args) if args.is_daemon()) { Ok(()) } else { host::signal::watch() }
    }

    fn run(&self, ui: &Ui) -> Result<()> {
        match self {
            Self::Init(args) => init::run(args, ui),
            Self::Check(args) => check::run(args, ui),
            Self::Plan(args) => plan::run(args, ui),
            Self::Render(args) => render::run(args, ui),
            Self::Doctor(args) => doctor::run(args, ui),
            Self::List(args) => list::run(args, ui),
            Self::Pki(args) => pki::run(args, ui),
            Self::Lock(args) => lock::run(args, ui),
            Self::Fetch(args) => fetch::run(args, ui),
            Self::Build(args) => build::run(args, ui),
            Self::Inspect(args) => inspect::run(args, ui),
            Self::Verify(args) => verify::run(args, ui),
            Self::Lab(args) => lab::run(args, ui),
            Self::Order(args) => order::run(args, ui),
            Self::Snapshot(args) => snapshot::run(args, ui),
            Self::Store(args) => store::run(args, ui),
            Self::Agent(args) => agent::run(args, ui),
            Self::Schema(args) => schema::run(args, ui),
            Self::Completions(args) => completions::run(args, ui),
        }
    }
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            // A closed pipe is not an error: the reader has seen enough of the help text.
            let _ = err.print();
            return u8::try_from(err.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let ui = Ui::new(cli.global);
    let result = cli.verb.prepare().and_then(|()| cli.verb.run(&ui));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A signal also ends the programs that kiln runs; their failure is only a consequence.
        Err(_) if host::signal::interrupted() => {
            ui.message("interrupted");
            ExitCode::from(Kind::Interrupted.exit_code())
        }
        Err(err) => {
            ui.failure(&err);
            ExitCode::from(err.kind().exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{AFTER_HELP, Cli};
    use crate::error::Kind;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_exit_code_is_documented() {
        for kind in [
            Kind::Broken,
            Kind::Input,
            Kind::Io,
            Kind::Network,
            Kind::Verify,
            Kind::Tool,
            Kind::Internal,
            Kind::Interrupted,
        ] {
            let code = format!("{:>5}  ", kind.exit_code());
            assert!(AFTER_HELP.lines().any(|line| line.starts_with(&code)), "{kind:?} is not documented");
        }
    }

    #[test]
    fn every_verb_says_what_it_does_and_shows_an_example() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "`{}` has no summary", verb.get_name());
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains("Examples:\n"), "`{}` has no example", verb.get_name());
        }
    }
}
