//! What a rehearsal found, and the files that say it.

mod html;
mod json;
mod markdown;
mod picture;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::rehearse::compare::Comparison;
use crate::lab::rehearse::record::{self, Ending, Gap, Losses, TRAFFIC, Traffic};
use crate::lab::rehearse::verdict::Verdict;

/// All of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    pub(crate) cluster: String,
    pub(crate) kiln: &'static str,
    /// When it began.
    pub(crate) time: String,
    /// Whether all cases were made; not while it goes on, nor once something has ended it early.
    pub(crate) complete: bool,
    pub(crate) rows: Vec<Row>,
    /// The same cases on the other build, if there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) baseline: Vec<Row>,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) what: &'static str,
    /// Seconds at best and at worst, as `kiln plan` computes them.
    pub(crate) predicted: Option<[f64; 2]>,
    pub(crate) verdict: Verdict,
    pub(crate) median: Option<f64>,
    pub(crate) worst: Option<f64>,
    pub(crate) runs: Vec<Run>,
}

/// Whether a run says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Measured,
    #[default]
    Inconclusive,
    Void,
}

/// One time that a case was made. Times are seconds since the fault.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    /// Why it says nothing, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    pub(crate) victims: Vec<String>,
    /// Seconds that were waited until everything was whole before.
    pub(crate) waited: f64,
    /// What the case is about: time without service, or until another one leads.
    pub(crate) measured: f64,
    /// Whether only healing ended it.
    pub(crate) censored: bool,
    pub(crate) losses: BTreeMap<Traffic, Losses>,
    pub(crate) gaps: BTreeMap<Traffic, Gap>,
    /// The same of new connections, beside those that went straight to an API server over the same bad cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Comparison>,
    /// When the last request was sent that was lost.
    pub(crate) last_loss: Option<f64>,
    pub(crate) watches: Watches,
    /// The same, each by itself.
    pub(crate) watched: Vec<Watched>,
    /// When the watch of the victim ended.
    pub(crate) cut: Option<f64>,
    pub(crate) healed: Option<f64>,
    /// When everything was whole again, and looked at.
    pub(crate) ended: f64,
    /// Seconds from when the first API server was ready, asked by itself, to the first good answer at the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready_to_served: Option<f64>,
    /// Share of the requests of the first minute that were lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_share: Option<f64>,
    /// Share of the time in which something waited for a processor, until service was back.
    pub(crate) pressure: f64,
    /// Promises that were broken.
    pub(crate) broken: Vec<String>,
    /// Promises about time that were not kept, which a machine without time excuses.
    pub(crate) late: Vec<String>,
    /// Who had the VIP, from when on, as this machine saw it.
    pub(crate) holders: Vec<(f64, Option<String>)>,
    /// When requests were sent that were lost.
    pub(crate) lost_at: BTreeMap<Traffic, Vec<f64>>,
    /// What nodes said that explains it.
    pub(crate) lines: Vec<Line>,
}

/// Watches of API servers, one for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Watches {
    pub(crate) kept: usize,
    pub(crate) reset: usize,
    pub(crate) stalled: usize,
}

/// The watch of one API server, and what ended it, if something did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Watched {
    pub(crate) node: String,
    pub(crate) ended: Option<(f64, Ending)>,
}

/// A line of a node's journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Line {
    pub(crate) at: f64,
    pub(crate) node: String,
    pub(crate) text: String,
}

/// A way to write reports: the ending of the file's name, and what makes its text.
type Format = (&'static str, fn(&Report) -> Result<String>);

/// Adding one means adding a line here.
const FORMATS: &[Format] = &[("html", |report| Ok(html::page(report))), ("json", json::text), ("md", |report| Ok(markdown::text(report)))];

/// Titles of the columns of [`Row::cells`].
pub(crate) const COLUMNS: [&str; 7] = ["CASE", "PREDICTED", "MEDIAN", "WORST", "LOST", "WATCHES", "VERDICT"];

/// What a report says of itself that is not complete.
const UNFINISHED: &str = ", not complete";

/// Finds what writes a file of that name, before anything is measured.
///
/// # Errors
///
/// [`Kind::Input`] that lists the endings there are.
pub(super) fn format(file: &Path) -> Result<fn(&Report) -> Result<String>> {
    let ending = file.extension().unwrap_or_default();
    FORMATS.iter().find(|(name, _)| ending == *name).map(|(_, write)| *write).ok_or_else(|| {
        let endings: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
        Error::new(Kind::Input, format!("`{}` is no name of a report", file.display()))
            .hint(format!("its ending is {}", endings.join(", ")))
    })
}

impl Report {
    /// Writes it to a file, whose ending says how, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for an unknown ending; [`Kind::Io`] if it can't be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        host::fs::write_atomic(file, format(file)?(self)?.as_bytes(), host::fs::PUBLIC)
    }

    /// Cases with a verdict.
    pub(crate) fn with(&self, verdict: Verdict) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.verdict == verdict).map(|row| row.case).collect()
    }
}

impl Row {
    /// What people read, under [`COLUMNS`].
    pub(crate) fn cells(&self) -> [String; 7] {
        let measured: Vec<&Run> = self.runs.iter().filter(|run| run.outcome == Outcome::Measured).collect();
        let sum = measured
            .iter()
            .flat_map(|run| run.losses.values())
            .fold(Losses::default(), |sum, losses| Losses { lost: sum.lost + losses.lost, sent: sum.sent + losses.sent });
        let watches = measured.iter().fold(Watches::default(), |sum, run| Watches {
            kept: sum.kept + run.watches.kept,
            reset: sum.reset + run.watches.reset,
            stalled: sum.stalled + run.watches.stalled,
        });
        let seconds = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.2} s"));
        let is_open = measured.iter().any(|run| run.censored);
        let worst = if is_open { format!("≥ {} (censored)", seconds(self.worst)) } else { seconds(self.worst) };
        let none = measured.is_empty();
        [
            self.case.to_owned(),
            self.predicted.map_or_else(|| "–".into(), |[least, most]| format!("{least} to {most} s")),
            seconds(self.median),
            worst,
            if none { "–".into() } else { format!("{} of {}", sum.lost, sum.sent) },
            if none { "–".into() } else { format!("{} kept, {} reset, {} stalled", watches.kept, watches.reset, watches.stalled) },
            self.verdict.word().to_owned(),
        ]
    }

    /// Fills in what follows from the runs.
    pub(super) fn conclude(mut self) -> Self {
        let times: Vec<f64> = self.runs.iter().filter(|run| run.outcome == Outcome::Measured).map(|run| run.measured).collect();
        (self.median, self.worst) = (record::median(&times), record::worst(&times));
        self.verdict = crate::lab::rehearse::verdict::of(&self);
        self
    }
}

impl Run {
    /// What a person must know beside the figures, a sentence each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.broken.iter().map(|broken| format!("broken: {broken}")).collect();
        remarks.extend(self.late.iter().map(|late| format!("late: {late}")));
        remarks.extend(self.why.clone());
        remarks.extend(
            self.ready_to_served.map(|seconds| format!("the endpoint answered {seconds:.2} s after the first API server was ready")),
        );
        remarks.extend(self.lost_share.map(|share| format!("{:.2} % of the requests of the first minute were lost", 100.0 * share)));
        remarks.extend(self.cut.map(|cut| format!("the watch of its API server ended after {cut:.2} s")));
        let kinds = TRAFFIC.iter().filter_map(|kind| Some((kind, self.losses.get(kind)?, self.gaps.get(kind)?)));
        remarks.extend(kinds.map(|(kind, losses, gap)| {
            format!("{}: {} of {} lost, longest gap {:.2} s", word(*kind), losses.lost, losses.sent, gap.seconds)
        }));
        remarks.extend(self.compared.map(|compared| format!("late on the bad cable: {compared}")));
        remarks.push(format!("processors were waited for {:.0} % of the time", 100.0 * self.pressure));
        remarks
    }
}

fn word(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::New => "new connections",
        Traffic::Write => "writes",
        Traffic::KeepAlive => "kept connections",
        Traffic::Direct => "new connections to one server",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Line, Outcome, Report, Row, Run, Watched, Watches, format};
    use crate::lab::rehearse::record::{Ending, Gap, Losses, Traffic};
    use crate::lab::rehearse::verdict::Verdict;

    fn run(measured: f64) -> Run {
        Run {
            outcome: Outcome::Measured,
            victims: vec!["m1".into()],
            measured,
            losses: [(Traffic::New, Losses { lost: 70, sent: 500 }), (Traffic::Write, Losses { lost: 28, sent: 200 })].into(),
            gaps: [(Traffic::New, Gap { seconds: measured, open: false })].into(),
            last_loss: Some(2.4),
            watches: Watches { kept: 2, reset: 0, stalled: 1 },
            watched: vec![Watched { node: "m1".into(), ended: Some((7.6, Ending::Stalled)) }, Watched { node: "m2".into(), ended: None }],
            healed: Some(15.0),
            ended: 22.0,
            holders: vec![(-3.0, Some("m1".into())), (2.6, Some("m2".into()))],
            lost_at: [(Traffic::New, vec![0.1, 0.14, 2.4])].into(),
            lines: vec![Line { at: 2.61, node: "m2".into(), text: "Keepalived_vrrp[9]: (kube-apiserver) Entering MASTER STATE".into() }],
            ..Run::default()
        }
    }

    pub(in crate::lab::rehearse) fn row() -> Row {
        Row {
            case: "holder-power",
            what: "the machine that holds the VIP loses its power",
            predicted: Some([2.1, 3.1]),
            verdict: Verdict::Kept,
            median: None,
            worst: None,
            runs: vec![run(2.5), run(3.0)],
        }
    }

    pub(super) fn sample() -> Report {
        Report {
            cluster: "ha".into(),
            kiln: "0.1.0",
            time: "2026-11-30T09:00:00Z".into(),
            complete: true,
            rows: vec![row().conclude()],
            baseline: Vec::new(),
        }
    }

    #[test]
    fn a_row_says_what_was_measured_of_all_its_runs() {
        let row = row().conclude();
        let expected = ["holder-power", "2.1 to 3.1 s", "2.75 s", "3.00 s", "196 of 1400", "4 kept, 0 reset, 2 stalled", "kept"];
        assert_eq!(row.cells(), expected);
        let mut open = super::tests::row();
        open.runs[1].censored = true;
        assert_eq!(open.conclude().cells()[3], "≥ 3.00 s (censored)");
    }

    #[test]
    fn the_ending_of_a_file_says_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mark) in [("a.html", "<svg"), ("a.json", "\"verdict\": \"kept\""), ("a.md", "| `holder-power` |")] {
            sample().write(&dir.path().join(name)).unwrap();
            let text = crate::host::fs::read_to_string(&dir.path().join(name)).unwrap();
            assert!(text.contains(mark), "{text}");
        }
        assert!(format("a.pdf".as_ref()).unwrap_err().hints()[0].contains("html, json, md"));
    }
}
