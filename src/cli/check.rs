//! `kiln check`: every problem of a cluster file at once, and of the files that its nodes would get.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::{Ui, diagnostic, input, sarif, segment};
use crate::error::{Error, Kind, Report, Result, Severity, counted};
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

    /// Look at this interface's segment too: does somebody else have the VIP or its router identifier
    #[arg(long, value_name = "INTERFACE", conflicts_with = "explain")]
    segment: Option<String>,

    /// How long to look at the segment
    #[arg(long, value_name = "SECONDS", requires = "segment", value_parser = clap::value_parser!(u64).range(2..=300))]
    seconds: Option<u64>,

    /// How to tell the problems; `json` is what `--json` prints
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with = "explain")]
    format: Format,
}

/// How to tell problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines with carets, on stderr
    Text,
    /// One document on stdout
    Json,
    /// SARIF 2.1.0 on stdout, which code hosts show beside the lines
    Sarif,
}

const EXAMPLES: &str = "\
Examples:
  kiln check
  kiln check --file berlin.toml --overlay-dir site/overlays
  kiln check --explain HA010
  sudo kiln check --segment eth0 --file berlin.toml
  kiln check --json | jq -r '.problems[].message'
  kiln check --format sarif > kiln.sarif

A comment in the cluster file accepts a problem that has an identifier:
  # kiln: allow HA011 because the third machine comes in spring";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    if let Some(id) = &args.explain {
        return explain(id, ui);
    }
    let checked = input::checked(ui).and_then(|site| match &args.segment {
        Some(interface) => segment::add(site, interface, args.seconds.map(Duration::from_secs), ui),
        None => Ok(site),
    });
    if args.format == Format::Sarif && !ui.global().json {
        let report = checked.as_ref().map_or_else(Error::report, |site| Some(&site.report));
        report.map_or(Ok(()), |report| ui.print_json(&sarif::log(report)))?;
        return checked.map(drop);
    }
    let Site { cluster, report, .. } = checked?;
    if ui.global().json || args.format == Format::Json {
        return ui.print_json(&json!({ "problems": diagnostic::problems_json(&report) }));
    }
    ui.report(&report);
    let file = ui.global().file.display();
    match (count(&report, Severity::Warning), count(&report, Severity::Info)) {
        (0, 0) => ui.message(format!("`{file}` has no problem: {} nodes, Kubernetes {}", cluster.nodes.len(), cluster.kubernetes)),
        (warnings, remarks) => {
            ui.message(format!("`{file}` can be built: {}, {}", counted(warnings, "warning"), counted(remarks, "remark")));
        }
    }
    Ok(())
}

fn count(report: &Report, severity: Severity) -> usize {
    report.problems.iter().filter(|problem| problem.severity == severity).count()
}

fn explain(id: &str, ui: &Ui) -> Result<()> {
    let lint = LINTS.iter().find(|lint| lint.id.eq_ignore_ascii_case(id)).ok_or_else(|| {
        let hint = match closest(&id.to_uppercase(), LINTS.iter().map(|lint| lint.id)) {
            Some(other) => format!("did you mean `{other}`?"),
            None => "run `kiln list lints` to see them".to_owned(),
        };
        Error::new(Kind::Input, format!("no problem has the identifier `{id}`")).hint(hint)
    })?;
    ui.show(&described(lint), |_| explanation(lint))
}

/// One lint for scripts.
pub(super) fn described(lint: &Lint) -> Value {
    json!({
        "id": lint.id,
        "severity": lint.severity,
        "title": lint.title,
        "why": lint.why,
        "fix": lint.fix,
        "looks-at": lint.looks_at(),
        "documentation": lint.documentation(),
    })
}

fn explanation(lint: &Lint) -> String {
    let severity = match lint.severity {
        Severity::Error => "refuses to build",
        Severity::Warning => "warning",
        Severity::Info => "remark",
    };
    format!(
        "{} ({severity}): {}\n\nWhy:   {}\nFix:   {}\nLooks: at {}\nSee:   {}\n\nAccept it with a comment in the cluster file:\n  # kiln: allow {0} because …\n",
        lint.id,
        lint.title,
        lint.why,
        lint.fix,
        lint.looks_at(),
        lint.documentation()
    )
}
