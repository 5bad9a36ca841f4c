//! `kiln check`: reports every problem in a cluster file and in its nodes' rendered files.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::{Ui, diagnostic, input, sarif, segment};
use crate::error::{Error, Kind, Report, Result, Severity, counted};
use crate::lint::{LINTS, Lint};
use crate::pipeline::Site;
use crate::profile::closest;

/// Report every problem in a cluster file: misspellings, addresses, topology, known bad practices
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Explain the problem with this identifier instead of checking
    #[arg(long, value_name = "ID")]
    explain: Option<String>,

    /// Also check whether another machine on this interface's segment uses the VIP or its virtual router ID
    #[arg(long, value_name = "INTERFACE", conflicts_with = "explain")]
    segment: Option<String>,

    /// Duration of the segment check
    #[arg(long, value_name = "SECONDS", requires = "segment", value_parser = clap::value_parser!(u64).range(2..=300))]
    seconds: Option<u64>,

    /// Output format; `json` is the same as `--json`
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with = "explain")]
    format: Format,
}

/// Output format of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Source lines with carets, on stderr
    Text,
    /// One JSON document on stdout
    Json,
    /// SARIF 2.1.0 on stdout, which code hosting services use to annotate lines
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

To accept a problem that has an identifier, add a comment to the cluster file:
  # kiln: allow HA011 because the third machine arrives in spring";

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
        (0, 0) => ui.message(format!(
            "no problems in `{file}`: {}, Kubernetes {}",
            counted(cluster.nodes.len(), "node"),
            cluster.kubernetes
        )),
        (warnings, notes) => {
            ui.message(format!(
                "`{file}` can be built: {}, {}",
                counted(warnings, "warning"),
                counted(notes, "note")
            ));
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
            None => "run `kiln list lints` to see all identifiers".to_owned(),
        };
        Error::new(Kind::Input, format!("unknown problem identifier `{id}`")).hint(hint)
    })?;
    ui.show(&described(lint), |_| explanation(lint))
}

/// Returns a lint as JSON.
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
        Severity::Error => "blocks the build",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    format!(
        "{} ({severity}): {}\n\nWhy:   {}\nFix:   {}\nReads: {}\nSee:   {}\n\n\
         To accept this problem, add a comment to the cluster file:\n  # kiln: allow {0} because …\n",
        lint.id,
        lint.title,
        lint.why,
        lint.fix,
        lint.looks_at(),
        lint.documentation()
    )
}
