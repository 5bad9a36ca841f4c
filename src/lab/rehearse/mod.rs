//! Rehearsal: tests the plan's promises on the artifacts. Clients send requests while one fault after another
//! is injected.
//!
//! Each case starts from a state that is verified to be healthy, and its fault is verified before anything
//! counts. The fault lasts until clients are served again, at most two minutes. A late result on an
//! overloaded machine is not a failure.

mod case_table;
mod cases;
mod compare;
mod faults;
mod goals;
mod journal;
mod measure;
mod members;
mod probe;
mod promises;
mod ready;
mod record;
mod report;
mod steady;
mod target;
mod traffic;
mod verdict;
mod waits;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::{Changes, Labs};

use cases::Case;
use probe::Probe;
use report::{Outcome, Run};
use target::Target;
use world::World;

pub(crate) use report::{COLUMNS, Report, Row};
use verdict::Verdict;

/// Time limit for a boot.
const BOOT: Duration = Duration::from_secs(420);

/// Rehearsal parameters.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) artifacts: &'a Path,
    /// Another build, for comparison.
    pub(crate) baseline: Option<&'a Path>,
    /// Names of the cases to run; empty for all that apply to the cluster.
    pub(crate) cases: &'a [String],
    pub(crate) repeat: u32,
    /// Duration in seconds of loads that the cluster must withstand.
    pub(crate) seconds: u32,
    /// Path of the report; journals are written beside it.
    pub(crate) report: Option<&'a Path>,
    /// Predictions in seconds, keyed by the key of the plan row.
    pub(crate) predictions: BTreeMap<&'static str, [f64; 2]>,
}

impl Wish<'_> {
    /// Checks the parameters, and returns the requested cases.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for an unknown case or an unknown report format.
    pub(crate) fn check(&self) -> Result<Vec<Case>> {
        self.report.map_or(Ok(()), |file| report::format(file).map(drop))?;
        cases::named(self.cases, f64::from(self.seconds))
    }
}

/// Runs the cases on a separate lab, and on a lab of the baseline build, if any.
///
/// # Errors
///
/// Same as [`Wish::check`]; [`Kind::Tool`] if the cluster does not come up.
pub(crate) fn rehearse(wish: &Wish<'_>, say: &dyn Fn(&str)) -> Result<Report> {
    let cases = wish.check()?;
    if let Some(file) = wish.report {
        host::fs::create_directories(&journals(file))?;
    }
    let time = host::clock::rfc3339(host::clock::now());
    let cluster = Labs::of_this_user().plan(wish.artifacts)?.cluster;
    let mut report = Report {
        cluster,
        kiln: env!("CARGO_PKG_VERSION"),
        time,
        complete: false,
        rows: Vec::new(),
        baseline: Vec::new(),
    };
    on_a_lab(wish, wish.artifacts, &cases, "", say, &mut |rows| {
        report.rows = rows.to_vec();
        keep(wish, &report)
    })?;
    if let Some(artifacts) = wish.baseline {
        on_a_lab(wish, artifacts, &cases, "baseline-", say, &mut |rows| {
            report.baseline = rows.to_vec();
            keep(wish, &report)
        })?;
    }
    report.complete = report.with(Verdict::Void).is_empty();
    keep(wish, &report)?;
    Ok(report)
}

/// Callback that receives the rows so far, after each run.
type Keep<'a> = &'a mut dyn FnMut(&[Row]) -> Result<()>;

/// Writes the report so far, so that an aborted rehearsal does not lose its measurements.
fn keep(wish: &Wish<'_>, report: &Report) -> Result<()> {
    wish.report.map_or(Ok(()), |file| report.write(file))
}

fn on_a_lab(
    wish: &Wish<'_>,
    artifacts: &Path,
    cases: &[Case],
    mark: &str,
    say: &dyn Fn(&str),
    keep: Keep<'_>,
) -> Result<()> {
    let labs = Labs::of_this_user().apart("rehearse");
    let planned = labs.plan(artifacts)?;
    if let Err(why) = can_run(&planned) {
        say(&format!("cases for `{}` are predicted only: {why}", planned.cluster));
        return keep(&cases.iter().map(|case| row(case, wish).conclude()).collect::<Vec<_>>());
    }
    let started = labs.up(artifacts, &[], &Changes::default(), say);
    let done = started.and_then(|started| {
        started.during(|lab| {
            let probe = Probe::start(Target::of(lab)?, lab.network()?)?;
            let world = World { lab, probe, slowed: Mutex::default() };
            world.probe.begin();
            say("waiting until everything is healthy");
            steady::wait(&world, BOOT)?;
            run_all(&world, wish, cases, mark, say, keep)
        })
    });
    labs.remove_if_empty();
    done
}

/// Checks whether this machine can run the artifacts and connect to the endpoint.
fn can_run(lab: &crate::lab::Lab) -> Result<(), String> {
    let lacks = |guest: &&crate::lab::Guest| {
        !lab.image_of(guest).with_extension("raw").exists() && !lab.image_of(guest).is_dir()
    };
    if let Some(guest) = lab.guests.iter().find(lacks) {
        return Err(format!(
            "`{}` has no image that can run here (requires the output `raw` or `dir`)",
            guest.name
        ));
    }
    Target::of(lab).map(drop).map_err(|err| err.to_string())
}

fn run_all(
    world: &World<'_>,
    wish: &Wish<'_>,
    cases: &[Case],
    mark: &str,
    say: &dyn Fn(&str),
    keep: Keep<'_>,
) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for case in cases {
        let has = match world.has(case) {
            Ok(has) => has,
            Err(err) => {
                host::signal::check()?;
                let run = Run { outcome: Outcome::Void, why: Some(err.to_string()), ..Run::default() };
                rows.push(Row { runs: vec![run], ..row(case, wish) }.conclude());
                return keep(&rows);
            }
        };
        if !has {
            // A case that was requested by name is reported even if there is nothing to break.
            if !wish.cases.is_empty() {
                rows.push(row(case, wish).conclude());
            }
            continue;
        }
        let (mut row, before) = (row(case, wish), rows.len());
        for number in 1..=wish.repeat {
            let times =
                if wish.repeat > 1 { format!(" ({number} of {})", wish.repeat) } else { String::new() };
            let begin = |phase: &str| say(&format!("{}{times}: {phase}", case.name));
            let journals = wish.report.map(|file| measure::Journals {
                directory: journals(file),
                name: format!("{mark}{}-{number}", case.name),
            });
            let run = measure::run(world, case, row.predicted, journals.as_ref(), &begin)?;
            let is_void = run.outcome == Outcome::Void;
            row.runs.push(run);
            row = row.conclude();
            rows.truncate(before);
            rows.push(row.clone());
            keep(&rows)?;
            if is_void {
                return Ok(());
            }
        }
        say(&row.cells().join("  "));
    }
    Ok(())
}

fn row(case: &Case, wish: &Wish<'_>) -> Row {
    let predicted = case.predicted_by.iter().find_map(|key| wish.predictions.get(key)).copied();
    let (case, what) = (case.name, case.what);
    Row {
        case,
        what,
        predicted,
        verdict: Verdict::PredictedOnly,
        median: None,
        worst: None,
        runs: Vec::new(),
    }
}

/// Returns the directory for the nodes' journals, beside the report.
fn journals(file: &Path) -> PathBuf {
    file.with_extension("journals")
}

impl Report {
    /// Checks whether all promises were kept.
    ///
    /// # Errors
    ///
    /// [`Kind::Broken`] if a promise was broken; [`Kind::Tool`] if the lab stopped.
    pub(crate) fn judge(&self) -> Result<()> {
        let (failed, void) = (self.with(Verdict::Failed), self.with(Verdict::Void));
        if !failed.is_empty() {
            return Err(Error::new(
                Kind::Broken,
                format!("{} of {} cases failed: {}", failed.len(), self.rows.len(), failed.join(", ")),
            ));
        }
        if !void.is_empty() {
            return Err(Error::new(Kind::Tool, "the lab stopped before the last case"));
        }
        Ok(())
    }
}
