//! Client observations, and results derived from them: losses, gaps, watches. Times are seconds since the
//! probe started.

use serde::Serialize;

use crate::digest::Digest;

/// Kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Traffic {
    /// Reads an object over a new connection.
    New,
    /// Writes an object.
    Write,
    /// Reads an object over a keep-alive connection.
    KeepAlive,
    /// Like [`Traffic::New`], but directly to an API server.
    Direct,
}

/// All kinds that use the endpoint, in report order.
pub(crate) const TRAFFIC: [Traffic; 3] = [Traffic::New, Traffic::Write, Traffic::KeepAlive];

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) traffic: Traffic,
    pub(crate) sent: f64,
    pub(crate) took: f64,
    /// True if the correct response arrived in time.
    pub(crate) served: bool,
    pub(crate) server: Option<Digest>,
}

/// End of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// The connection was closed or reset.
    Reset,
    /// The watch was silent for five seconds while writes were acknowledged.
    Stalled,
}

/// Lease of a program that elects a leader.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) name: &'static str,
    /// Holders, each with the time since which it held the Lease.
    pub(crate) holders: Vec<(f64, String)>,
}

/// One watch.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) server: Digest,
    /// Time of the last event.
    pub(crate) fresh: f64,
    pub(crate) end: Option<(f64, Ending)>,
    /// Whether the watch is still needed; otherwise its client closes it.
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
    /// True if the gap lasted until the last sample.
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
    of.fold(Losses::default(), |sum, sample| Losses {
        lost: sum.lost + usize::from(!sample.served),
        sent: sum.sent + 1,
    })
}

/// Returns the longest time from sending the first lost request to the first answer to a later request.
pub(super) fn gap(samples: &[Sample], traffic: Traffic) -> Gap {
    longest(samples, traffic).1
}

/// Returns the longest gap, and when it began.
pub(super) fn longest(samples: &[Sample], traffic: Traffic) -> (f64, Gap) {
    let mut of: Vec<&Sample> = samples.iter().filter(|sample| sample.traffic == traffic).collect();
    of.sort_by(|one, other| one.sent.total_cmp(&other.sent));
    // The first answer to this request or a later one: an earlier one may be answered after it, such as one
    // whose first packet was lost.
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
        longest =
            longer(longest, (sample.sent, Gap { seconds: end - sample.sent, open: over.is_infinite() }));
    }
    longest
}

fn longer(one: (f64, Gap), other: (f64, Gap)) -> (f64, Gap) {
    if other.1.seconds > one.1.seconds { other } else { one }
}

/// Returns the share of requests that were lost among all requests, of any kind, sent from `from` to `to`.
#[expect(clippy::cast_precision_loss, reason = "an approximate share is enough")]
pub(super) fn share(samples: &[Sample], from: f64, to: f64) -> f64 {
    let of = || samples.iter().filter(|sample| (from..to).contains(&sample.sent));
    of().filter(|sample| !sample.served).count() as f64 / of().count().max(1) as f64
}

/// Returns the time at which the last lost request was sent.
pub(super) fn last_loss(samples: &[Sample]) -> Option<f64> {
    samples
        .iter()
        .filter(|sample| !sample.served && sample.traffic != Traffic::Direct)
        .map(|sample| sample.sent)
        .max_by(f64::total_cmp)
}

pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle], values[middle + 1])
    })
}

pub(super) fn worst(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Gap, Losses, Sample, Traffic, gap, last_loss, longest, losses, median, share};

    /// Returns requests sent every tenth of a second and answered after a hundredth; `.` is served, `x` is
    /// lost.
    pub(in crate::lab::rehearse) fn samples(traffic: Traffic, pattern: &str) -> Vec<Sample> {
        let sample = |(index, letter): (usize, char)| {
            let served = letter == '.';
            Sample {
                traffic,
                sent: f64::from(u32::try_from(index).unwrap()) / 10.0,
                took: 0.01,
                served,
                server: None,
            }
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
