//! Rehearsal results, and the report files.

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

/// Rehearsal report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    pub(crate) cluster: String,
    pub(crate) kiln: &'static str,
    /// Start time of the rehearsal.
    pub(crate) time: String,
    /// True if all cases were run; false while the rehearsal runs, and after it was aborted.
    pub(crate) complete: bool,
    pub(crate) rows: Vec<Row>,
    /// The same cases on the baseline build, if any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) baseline: Vec<Row>,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) what: &'static str,
    /// Best and worst case in seconds, as computed by `kiln plan`.
    pub(crate) predicted: Option<[f64; 2]>,
    pub(crate) verdict: Verdict,
    pub(crate) median: Option<f64>,
    pub(crate) worst: Option<f64>,
    pub(crate) runs: Vec<Run>,
}

/// Validity of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Measured,
    #[default]
    Inconclusive,
    Void,
}

/// One run of a case. Times are seconds since the fault.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    /// Why there is no result, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    pub(crate) victims: Vec<String>,
    /// Seconds waited beforehand until everything was healthy.
    pub(crate) waited: f64,
    /// Measured duration, in seconds: the time without service, or the time until a new leader took over.
    pub(crate) measured: f64,
    /// True if the outage ended only when the fault was healed.
    pub(crate) censored: bool,
    pub(crate) losses: BTreeMap<Traffic, Losses>,
    pub(crate) gaps: BTreeMap<Traffic, Gap>,
    /// Late new connections, compared with direct ones to an API server over the same bad cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Comparison>,
    /// Time at which the last lost request was sent.
    pub(crate) last_loss: Option<f64>,
    pub(crate) watches: Watches,
    /// The same watches, one by one.
    pub(crate) watched: Vec<Watched>,
    /// Time at which the watch on the victim's API server ended.
    pub(crate) cut: Option<f64>,
    pub(crate) healed: Option<f64>,
    /// Time at which everything was verified to be healthy again.
    pub(crate) ended: f64,
    /// Seconds from the first API server that was ready, queried directly, to the first successful response
    /// from the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready_to_served: Option<f64>,
    /// Share of the requests in the first minute that were lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_share: Option<f64>,
    /// Share of the time in which tasks waited for a CPU, until service was restored.
    pub(crate) pressure: f64,
    /// Broken promises.
    pub(crate) broken: Vec<String>,
    /// Missed goals, which are excused on an overloaded machine.
    pub(crate) late: Vec<String>,
    /// VIP holders with times, as seen from this machine.
    pub(crate) holders: Vec<(f64, Option<String>)>,
    /// Times at which lost requests were sent.
    pub(crate) lost_at: BTreeMap<Traffic, Vec<f64>>,
    /// Node messages that explain the result.
    pub(crate) lines: Vec<Line>,
}

/// Outcomes of the watches, one on each API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Watches {
    pub(crate) kept: usize,
    pub(crate) reset: usize,
    pub(crate) stalled: usize,
}

/// Watch on one API server, and its end, if any.
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

/// A report format: the file extension, and the function that generates the text.
type Format = (&'static str, fn(&Report) -> Result<String>);

/// All report formats. To add a format, add a line here.
const FORMATS: &[Format] = &[
    ("html", |report| Ok(html::page(report))),
    ("json", json::text),
    ("md", |report| Ok(markdown::text(report))),
];

/// Column titles for [`Row::cells`].
pub(crate) const COLUMNS: [&str; 7] = ["CASE", "PREDICTED", "MEDIAN", "WORST", "LOST", "WATCHES", "VERDICT"];

/// Text that marks an incomplete report.
const UNFINISHED: &str = ", incomplete";

/// Returns the function that generates a report with this file name, to be checked before anything is
/// measured.
///
/// # Errors
///
/// [`Kind::Input`], listing the valid extensions.
pub(super) fn format(file: &Path) -> Result<fn(&Report) -> Result<String>> {
    let ending = file.extension().unwrap_or_default();
    FORMATS.iter().find(|(name, _)| ending == *name).map(|(_, write)| *write).ok_or_else(|| {
        let endings: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
        Error::new(Kind::Input, format!("unknown report format: `{}`", file.display()))
            .hint(format!("use one of the extensions {}", endings.join(", ")))
    })
}

impl Report {
    /// Writes the report to a file atomically, in the format of the file extension.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for an unknown extension; [`Kind::Io`] if the file can't be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        host::fs::write_atomic(file, format(file)?(self)?.as_bytes(), host::fs::PUBLIC)
    }

    /// Returns the cases with this verdict.
    pub(crate) fn with(&self, verdict: Verdict) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.verdict == verdict).map(|row| row.case).collect()
    }
}

impl Row {
    /// Returns the cells for [`COLUMNS`], for display.
    pub(crate) fn cells(&self) -> [String; 7] {
        let measured: Vec<&Run> = self.runs.iter().filter(|run| run.outcome == Outcome::Measured).collect();
        let sum =
            measured.iter().flat_map(|run| run.losses.values()).fold(Losses::default(), |sum, losses| {
                Losses { lost: sum.lost + losses.lost, sent: sum.sent + losses.sent }
            });
        let watches = measured.iter().fold(Watches::default(), |sum, run| Watches {
            kept: sum.kept + run.watches.kept,
            reset: sum.reset + run.watches.reset,
            stalled: sum.stalled + run.watches.stalled,
        });
        let seconds = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.2} s"));
        let is_open = measured.iter().any(|run| run.censored);
        let worst =
            if is_open { format!("≥ {} (censored)", seconds(self.worst)) } else { seconds(self.worst) };
        let none = measured.is_empty();
        [
            self.case.to_owned(),
            self.predicted.map_or_else(|| "–".into(), |[least, most]| format!("{least} to {most} s")),
            seconds(self.median),
            worst,
            if none { "–".into() } else { format!("{} of {}", sum.lost, sum.sent) },
            if none {
                "–".into()
            } else {
                format!("{} kept, {} reset, {} stalled", watches.kept, watches.reset, watches.stalled)
            },
            self.verdict.word().to_owned(),
        ]
    }

    /// Computes the summary of the runs.
    pub(super) fn conclude(mut self) -> Self {
        let times: Vec<f64> =
            self.runs.iter().filter(|run| run.outcome == Outcome::Measured).map(|run| run.measured).collect();
        (self.median, self.worst) = (record::median(&times), record::worst(&times));
        self.verdict = crate::lab::rehearse::verdict::of(&self);
        self
    }
}

impl Run {
    /// Returns notes on the figures, one sentence each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.broken.iter().map(|broken| format!("broken: {broken}")).collect();
        remarks.extend(self.late.iter().map(|late| format!("late: {late}")));
        remarks.extend(self.why.clone());
        remarks.extend(self.ready_to_served.map(|seconds| {
            format!("the endpoint responded {seconds:.2} s after the first API server was ready")
        }));
        remarks
            .extend(self.lost_share.map(|share| {
                format!("{:.2} % of the requests in the first minute were lost", 100.0 * share)
            }));
        remarks.extend(
            self.cut.map(|cut| format!("the watch on the victim's API server ended after {cut:.2} s")),
        );
        let kinds =
            TRAFFIC.iter().filter_map(|kind| Some((kind, self.losses.get(kind)?, self.gaps.get(kind)?)));
        remarks.extend(kinds.map(|(kind, losses, gap)| {
            format!(
                "{}: {} of {} lost, longest gap {:.2} s",
                word(*kind),
                losses.lost,
                losses.sent,
                gap.seconds
            )
        }));
        remarks.extend(self.compared.map(|compared| format!("late on the bad cable: {compared}")));
        remarks.push(format!("tasks waited for a CPU {:.0} % of the time", 100.0 * self.pressure));
        remarks
    }
}

fn word(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::New => "new connections",
        Traffic::Write => "writes",
        Traffic::KeepAlive => "keep-alive reads",
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
            losses: [
                (Traffic::New, Losses { lost: 70, sent: 500 }),
                (Traffic::Write, Losses { lost: 28, sent: 200 }),
            ]
            .into(),
            gaps: [(Traffic::New, Gap { seconds: measured, open: false })].into(),
            last_loss: Some(2.4),
            watches: Watches { kept: 2, reset: 0, stalled: 1 },
            watched: vec![
                Watched { node: "m1".into(), ended: Some((7.6, Ending::Stalled)) },
                Watched { node: "m2".into(), ended: None },
            ],
            healed: Some(15.0),
            ended: 22.0,
            holders: vec![(-3.0, Some("m1".into())), (2.6, Some("m2".into()))],
            lost_at: [(Traffic::New, vec![0.1, 0.14, 2.4])].into(),
            lines: vec![Line {
                at: 2.61,
                node: "m2".into(),
                text: "Keepalived_vrrp[9]: (kube-apiserver) Entering MASTER STATE".into(),
            }],
            ..Run::default()
        }
    }

    pub(in crate::lab::rehearse) fn row() -> Row {
        Row {
            case: "holder-power",
            what: "the machine that holds the VIP loses power",
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
        let expected = [
            "holder-power",
            "2.1 to 3.1 s",
            "2.75 s",
            "3.00 s",
            "196 of 1400",
            "4 kept, 0 reset, 2 stalled",
            "kept",
        ];
        assert_eq!(row.cells(), expected);
        let mut open = super::tests::row();
        open.runs[1].censored = true;
        assert_eq!(open.conclude().cells()[3], "≥ 3.00 s (censored)");
    }

    #[test]
    fn the_ending_of_a_file_says_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mark) in
            [("a.html", "<svg"), ("a.json", "\"verdict\": \"kept\""), ("a.md", "| `holder-power` |")]
        {
            sample().write(&dir.path().join(name)).unwrap();
            let text = crate::host::fs::read_to_string(&dir.path().join(name)).unwrap();
            assert!(text.contains(mark), "{text}");
        }
        assert!(format("a.pdf".as_ref()).unwrap_err().hints()[0].contains("html, json, md"));
    }
}
