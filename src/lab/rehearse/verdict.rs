//! Verdict on a measured case.

use serde::Serialize;

use crate::lab::rehearse::report::{Outcome, Row, Run};

/// Measurement overhead in seconds: requests are sent a tenth of a second apart, and the first one that is
/// served takes time itself.
pub(super) const SLACK: f64 = 0.3;
/// Share of time spent waiting for a CPU at or above which a late result is excused.
pub(super) const BUSY: f64 = 0.5;

/// Outcome of a case, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every promise was kept, within the prediction, if any.
    Kept,
    /// The artifacts can't run here, or the cluster lacks the case's target.
    PredictedOnly,
    /// The result was late while this machine was overloaded.
    Busy,
    /// The fault was not in effect, or the cluster was not healthy before it.
    Inconclusive,
    /// A measured value exceeds the prediction or a goal, or a promise was broken.
    Failed,
    /// The lab stopped.
    Void,
}

impl Verdict {
    /// Returns the word used in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::PredictedOnly => "predicted only",
            Self::Busy => "busy",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
            Self::Void => "void",
        }
    }
}

/// Returns the worst verdict of all runs.
pub(super) fn of(row: &Row) -> Verdict {
    row.runs.iter().map(|run| of_run(run, row.predicted)).max().unwrap_or(Verdict::PredictedOnly)
}

fn of_run(run: &Run, predicted: Option<[f64; 2]>) -> Verdict {
    let late = run.censored
        || !run.late.is_empty()
        || predicted.is_some_and(|[_, most]| run.measured > most + SLACK);
    match run.outcome {
        Outcome::Void => Verdict::Void,
        // A forked history or a lost write is a failure regardless of times.
        _ if !run.broken.is_empty() => Verdict::Failed,
        Outcome::Inconclusive => Verdict::Inconclusive,
        Outcome::Measured if late && run.pressure >= BUSY => Verdict::Busy,
        Outcome::Measured if late => Verdict::Failed,
        Outcome::Measured => Verdict::Kept,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, of};
    use crate::lab::rehearse::report::tests::row;
    use crate::lab::rehearse::report::{Outcome, Run};

    #[test]
    fn the_worst_run_decides_and_a_busy_machine_excuses_lateness_alone() {
        let verdict = |change: &dyn Fn(&mut Run)| {
            let mut row = row();
            change(&mut row.runs[1]);
            of(&row)
        };
        assert_eq!(verdict(&|_| {}), Verdict::Kept);
        assert_eq!(verdict(&|run| run.measured = 3.3), Verdict::Kept);
        assert_eq!(verdict(&|run| run.measured = 3.5), Verdict::Failed);
        assert_eq!(verdict(&|run| run.censored = true), Verdict::Failed);
        assert_eq!(verdict(&|run| (run.measured, run.pressure) = (3.5, 0.7)), Verdict::Busy);
        assert_eq!(verdict(&|run| run.late.push("1.2 % were lost".into())), Verdict::Failed);
        assert_eq!(
            verdict(&|run| (run.late, run.pressure) = (vec!["1.2 % were lost".into()], 0.7)),
            Verdict::Busy
        );
        assert_eq!(verdict(&|run| run.broken.push("two histories".into())), Verdict::Failed);
        assert_eq!(
            verdict(&|run| (run.broken, run.pressure) = (vec!["two histories".into()], 0.7)),
            Verdict::Failed
        );
        assert_eq!(verdict(&|run| run.outcome = Outcome::Inconclusive), Verdict::Inconclusive);
        assert_eq!(verdict(&|run| run.outcome = Outcome::Void), Verdict::Void);
        let mut row = row();
        row.runs.clear();
        assert_eq!(of(&row), Verdict::PredictedOnly);
    }
}
