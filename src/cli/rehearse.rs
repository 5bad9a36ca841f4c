//! `kiln lab rehearse`: compares measured outages with the plan's predictions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::table::columns;
use crate::cli::{Ui, input, lab::published};
use crate::error::Result;
use crate::host;
use crate::lab::{self, COLUMNS, Report, Wish};
use crate::plan;

/// Inject every fault while clients use the cluster, and compare the measured outages with the plan
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Published output directory [default: out/CLUSTER next to the cluster file]
    #[arg(value_name = "OUT_DIR")]
    artifacts: Option<PathBuf>,
    /// Run only this case; repeatable
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Number of times to run each case
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Duration of the `loss` and `busy` cases
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Output directory of another build to compare against
    #[arg(long, value_name = "OUT_DIR")]
    baseline: Option<PathBuf>,
    /// Report file; the extension sets the format: `.html`, `.json` or `.md`; journals are written next to it
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let artifacts = args.artifacts.clone().map_or_else(|| published(ui), Ok)?;
    let wish = Wish {
        artifacts: &artifacts,
        baseline: args.baseline.as_deref(),
        cases: &args.cases,
        repeat: args.repeat,
        seconds: args.seconds,
        report: args.report.as_deref(),
        predictions: BTreeMap::new(),
    };
    wish.check()?;
    let wish = Wish { predictions: predictions(ui)?, ..wish };
    let report = lab::rehearse(&wish, &|step| ui.message(step))?;
    ui.show(&report, table)?;
    match report.judge() {
        // The JSON document on stdout lists the failed cases.
        Err(err) if ui.global().json => host::process::end(i32::from(err.kind().exit_code())),
        judged => judged,
    }
}

/// Returns the predictions of the cluster file's plan; none without a cluster file.
fn predictions(ui: &Ui) -> Result<BTreeMap<&'static str, [f64; 2]>> {
    let file = &ui.global().file;
    if !file.exists() {
        ui.message(format!("no predictions: `{}` does not exist", file.display()));
        return Ok(BTreeMap::new());
    }
    let site = input::checked(ui)?;
    let plan = plan::plan(&site.cluster, &site.overlays)?;
    Ok(plan.failovers.iter().map(|failover| (failover.key, failover.seconds)).collect())
}

fn table(report: &Report) -> String {
    let rows = report.rows.iter().map(lab::Row::cells);
    let other = report.baseline.iter().map(lab::Row::cells).map(|mut cells| {
        cells[0].push_str(" (baseline)");
        cells
    });
    columns(&[COLUMNS.map(str::to_owned)].into_iter().chain(rows).chain(other).collect::<Vec<_>>())
}
