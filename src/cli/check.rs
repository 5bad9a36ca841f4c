//! `kiln check`: every problem of a cluster file at once.

use serde_json::json;

use crate::cli::{Ui, diagnostic, input};
use crate::error::{Error, Kind, Result, Severity};
use crate::lint::{LINTS, Lint};
use crate::pipeline::Site;
use crate::profile::closest;

/// Tell every problem of a cluster file: spelling, addresses, topology, known bad practice
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Explain a problem by its identifier instead
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  kiln check
  kiln check --file berlin.toml
  kiln check --explain HA010
  kiln check --json | jq -r '.problems[].message'

A comment in the cluster file accepts a problem that has an identifier:
  # kiln: allow HA011 because the third machine comes in spring";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    if let Some(id) = &args.explain {
        return explain(id, ui);
    }
    let Site { cluster, report, .. } = input::checked(ui)?;
    if ui.global().json {
        return ui.print_json(&json!({ "problems": diagnostic::problems_json(&report) }));
    }
    ui.report(&report);
    let count = |severity| report.problems.iter().filter(|problem| problem.severity == severity).count();
    let file = ui.global().file.display();
    match (count(Severity::Warning), count(Severity::Info)) {
        (0, 0) => ui.message(format!("`{file}` has no problem: {} nodes, Kubernetes {}", cluster.nodes.len(), cluster.kubernetes)),
        (warnings, remarks) => ui.message(format!("`{file}` can be built: {warnings} warnings, {remarks} remarks")),
    }
    Ok(())
}

fn explain(id: &str, ui: &Ui) -> Result<()> {
    let lint = LINTS.iter().find(|lint| lint.id.eq_ignore_ascii_case(id)).ok_or_else(|| {
        let hint = match closest(&id.to_uppercase(), LINTS.iter().map(|lint| lint.id)) {
            Some(other) => format!("did you mean `{other}`?"),
            None => "run `kiln list lints` to see them".to_owned(),
        };
        Error::new(Kind::Input, format!("no problem has the identifier `{id}`")).hint(hint)
    })?;
    ui.show(lint, explanation)
}

fn explanation(lint: &Lint) -> String {
    let severity = match lint.severity {
        Severity::Error => "refuses to build",
        Severity::Warning => "warning",
        Severity::Info => "remark",
    };
    format!(
        "{} ({severity}): {}\n\nWhy:  {}\nFix:  {}\n\nAccept it with a comment in the cluster file:\n  # kiln: allow {0} because …\n",
        lint.id, lint.title, lint.why, lint.fix
    )
}
