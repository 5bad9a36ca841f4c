//! What clients saw, and what follows from it: losses, gaps, watches. Times are seconds since the probe began.

use serde::Serialize;

use crate::digest::Digest;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Traffic {
    /// Reads an object over a connection of its own.
    New,
    /// Writes an object.
    Write,
    /// Reads it over a connection that is kept.
    KeepAlive,
    /// As [`Traffic::New`], straight to an API server.
    Direct,
}

/// Every kind that uses the endpoint, in the order of reports.
pub(crate) const TRAFFIC: [Traffic; 3] = [Traffic::New, Traffic::Write, Traffic::KeepAlive];

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) traffic: Traffic,
    pub(crate) sent: f64,
    pub(crate) took: f64,
    /// Whether the right answer came in time.
    pub(crate) served: bool,
    pub(crate) server: Option<Digest>,
}

/// How a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// Its connection was closed or reset.
    Reset,
    /// It said nothing for five seconds while writes were acknowledged.
    Stalled,
}

/// A Lease of a program that has one leader.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) name: &'static str,
    /// Who held it, from when on.
    pub(crate) holders: Vec<(f64, String)>,
}

/// One watch.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) server: Digest,
    /// When it last said something.
    pub(crate) fresh: f64,
    pub(crate) end: Option<(f64, Ending)>,
    /// Whether it is still of use; its client ends it otherwise.
    pub(crate) needed: bool,
}

impl Watch {
    pub(crate) fn lives(&self) -> bool {
        self.needed && self.end.is_none()
    }
}

/// The longest time without service for one kind of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Gap {
    pub(crate) seconds: f64,
    /// Whether it lasted until the samples ended.
    pub(crate) open: bool,
}

/// Requests sent and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Losses {
    pub(crate) lost: usize,
    pub(crate) sent: usize,
}

pub(super) fn losses(samples: &[Sample], traffic: Traffic) -> Losses {
    let of = samples.iter().filter(|sample| sample.traffic == traffic);
    of.fold(Losses::default(), |sum, sample| Losses { lost: sum.lost + usize::from(!sample.served), sent: sum.sent + 1 })
}

/// The longest time from when the first lost request was sent until the first answer to one that was sent after it.
pub(super) fn gap(samples: &[Sample], traffic: Traffic) -> Gap {
    longest(samples, traffic).1
}

/// The same, and when it began.
pub(super) fn longest(samples: &[Sample], traffic: Traffic) -> (f64, Gap) {
    let mut of: Vec<&Sample> = samples.iter().filter(|sample| sample.traffic == traffic).collect();
    of.sort_by(|one, other| one.sent.total_cmp(&other.sent));
    // The first answer to this request or a later one: an earlier one may be answered after it, such as one whose first packet was lost.
    let mut answered = vec![f64::INFINITY; of.len() + 1];
    for (place, sample) in of.iter().enumerate().rev() {
        let answer = if sample.served { sample.sent + sample.took } else { f64::INFINITY };
        answered[place] = answered[place + 1].min(answer);
    }
    let last = of.last().map_or(0.0, |sample| sample.sent + sample.took);
    let mut longest = (0.0, Gap::default());
    let mut over = f64::NEG_INFINITY;
    for (place, sample) in of.iter().enumerate().filter(|(_, sample)| !sample.served) {
        if sample.sent < over {
            continue;
        }
        over = answered[place];
        let end = if over.is_finite() { over } else { last };
        longest = longer(longest, (sample.sent, Gap { seconds: end - sample.sent, open: over.is_infinite() }));
    }
    longest
}

fn longer(one: (f64, Gap), other: (f64, Gap)) -> (f64, Gap) {
    if other.1.seconds > one.1.seconds { other } else { one }
}

/// The share of requests of all kinds that were lost, of those sent from `from` to `to`.
#[expect(clippy::cast_precision_loss, reason = "shares need no precision")]
pub(super) fn share(samples: &[Sample], from: f64, to: f64) -> f64 {
    let of = || samples.iter().filter(|sample| (from..to).contains(&sample.sent));
    of().filter(|sample| !sample.served).count() as f64 / of().count().max(1) as f64
}

/// When the last request that was lost was sent.
pub(super) fn last_loss(samples: &[Sample]) -> Option<f64> {
    samples.iter().filter(|sample| !sample.served && sample.traffic != Traffic::Direct).map(|sample| sample.sent).max_by(f64::total_cmp)
}

pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle], values[middle + 1]) })
}

pub(super) fn worst(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Gap, Losses, Sample, Traffic, gap, last_loss, longest, losses, median, share};

    /// Requests each tenth of a second, answered after a hundredth; `.` is served, `x` lost.
    pub(in crate::lab::rehearse) fn samples(traffic: Traffic, pattern: &str) -> Vec<Sample> {
        let sample = |(index, letter): (usize, char)| {
            let served = letter == '.';
            Sample { traffic, sent: f64::from(u32::try_from(index).unwrap()) / 10.0, took: 0.01, served, server: None }
        };
        pattern.chars().enumerate().map(sample).collect()
    }

    #[test]
    fn the_longest_gap_begins_with_a_loss_and_ends_with_an_answer() {
        let samples = samples(Traffic::New, "..xx.xxx..x.");
        let Gap { seconds, open } = gap(&samples, Traffic::New);
        assert!((seconds - 0.31).abs() < 1e-9 && !open, "{seconds}");
        assert_eq!(losses(&samples, Traffic::New), Losses { lost: 6, sent: 12 });
        assert_eq!(losses(&samples, Traffic::Write), Losses::default());
        assert_eq!(last_loss(&samples), Some(1.0));
        assert!((longest(&samples, Traffic::New).0 - 0.5).abs() < 1e-9);
        assert!((share(&samples, 0.15, 0.95) - 5.0 / 8.0).abs() < 1e-9);
    }

    #[test]
    fn a_late_answer_does_not_lengthen_a_gap_that_others_have_ended() {
        let mut samples = samples(Traffic::Write, "..xx.....");
        samples[4].took = 1.0;
        let Gap { seconds, open } = gap(&samples, Traffic::Write);
        assert!((seconds - 0.31).abs() < 1e-9 && !open, "{seconds}");
    }

    #[test]
    fn a_gap_that_does_not_end_is_open() {
        let Gap { seconds, open } = gap(&samples(Traffic::Write, "..x.xxxx"), Traffic::Write);
        assert!((seconds - 0.31).abs() < 1e-9 && open, "{seconds}");
        assert_eq!(gap(&samples(Traffic::Write, "...."), Traffic::Write), Gap::default());
    }

    #[test]
    fn a_median_of_two_is_between_them() {
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0, 7.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }
}
