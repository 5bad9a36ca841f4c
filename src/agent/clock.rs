//! Detects a wrong clock by comparing it with the other members' clocks, and corrects it.
//!
//! chrony steps the clock only during its first updates, because a step is dangerous while programs run. A
//! clock that goes wrong later would stay wrong, as would the clock of the machine that the others follow.
//! Stepping a clock is safe if it is the only one that deviates: programs that used it already had the wrong
//! time.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::etcd::{SETTINGS, Settings};
use crate::error::{Doing, Kind, Result};
use crate::host;

/// File with the last verdict, for `kiln agent status`.
const STATUS: &str = "/run/kiln-clock/clock.json";
/// Maximum difference in seconds between clocks that agree.
const AGREEING: f64 = 300.0;
/// Difference in seconds beyond which a clock counts as wrong: twice [`AGREEING`], so that wrong clocks are
/// never a majority. Any two majorities share a clock, so every clock in one is within twice [`AGREEING`] of
/// every clock in the other.
const STRAYING: f64 = 2.0 * AGREEING;
/// Time limit for a response from another machine.
const PATIENCE: Duration = Duration::from_millis(500);
/// Interval between checks.
const PAUSE: Duration = Duration::from_secs(10);

/// Verdict on this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "clock", rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// A majority of all members agrees, including this clock.
    Right,
    /// No majority of the members agrees without this clock, so it is unknown which clocks are wrong.
    Unknown,
    /// A majority agrees and is ahead of this clock by this number of seconds, or behind it if negative.
    Stray { by: f64 },
}

impl Verdict {
    /// Returns a sentence about the deviation, if the clock is wrong.
    pub(crate) fn reason(self) -> Option<String> {
        let Self::Stray { by } = self else { return None };
        let way = if by > 0.0 { "behind" } else { "ahead of" };
        Some(format!(
            "this machine's clock is {} {way} a majority of the members, whose clocks agree",
            duration(by.abs())
        ))
    }
}

/// Returns the verdict from the offsets of other clocks; `count` is the number of all members, including this
/// one and those that do not respond.
fn judge(mut ahead: Vec<f64>, count: usize) -> Verdict {
    ahead.sort_by(f64::total_cmp);
    let agreeing = (0..ahead.len()).map(|first| {
        let end = ahead.partition_point(|offset| *offset <= ahead[first] + AGREEING);
        &ahead[first..end]
    });
    match agreeing.max_by_key(|group| group.len()) {
        Some(group) if group.len() * 2 > count => {
            let median = group[group.len() / 2];
            if median.abs() > STRAYING { Verdict::Stray { by: median } } else { Verdict::Right }
        }
        _ => Verdict::Unknown,
    }
}

/// Queries the other members' clocks in parallel.
pub(crate) fn look(others: &[IpAddr]) -> Verdict {
    let ahead = std::thread::scope(|scope| {
        let asked: Vec<_> =
            others.iter().map(|address| scope.spawn(|| host::ntp::offset(*address, PATIENCE))).collect();
        asked.into_iter().filter_map(|asked| asked.join().ok()?.ok()).collect()
    });
    judge(ahead, others.len() + 1)
}

/// Checks the clock for as long as the machine runs, and sets it when two consecutive checks agree that it is
/// wrong. Reports when the clock becomes wrong and when it is right again, no matter what has set it.
///
/// # Errors
///
/// [`Kind::Io`] or [`Kind::Input`] if the settings can't be read.
pub(crate) fn watch(journal: &dyn Fn(&str)) -> Result<()> {
    let others = Settings::read(Path::new(SETTINGS))?.others();
    let mut before = Verdict::Unknown;
    let mut strayed = false;
    loop {
        let verdict = look(&others);
        if verdict != before {
            note(verdict).unwrap_or_else(|err| journal(&err.to_string()));
        }
        if let Some(news) = news(&mut strayed, verdict) {
            journal(&news);
        }
        if let (Verdict::Stray { by }, Verdict::Stray { by: twice }, Some(reason)) =
            (verdict, before, verdict.reason())
            && (by - twice).abs() < AGREEING
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "accurate to the second is enough: chrony corrects the rest"
            )]
            let now = host::clock::now().saturating_add_signed(by.round() as i64);
            match host::clock::set(now) {
                Ok(()) => journal(&format!("{reason}: set to {}", host::clock::rfc3339(now))),
                Err(err) => journal(&format!("{reason}; {err}")),
            }
        }
        before = verdict;
        host::clock::sleep(PAUSE);
    }
}

/// Returns a journal line if the state changed; `strayed` is the last known state.
fn news(strayed: &mut bool, now: Verdict) -> Option<String> {
    let before = *strayed;
    *strayed = match now {
        Verdict::Stray { .. } => true,
        Verdict::Right => false,
        Verdict::Unknown => before,
    };
    match (before, *strayed) {
        (false, true) => now.reason(),
        (true, false) => Some("this machine's clock agrees with a majority of the members again".into()),
        _ => None,
    }
}

fn note(verdict: Verdict) -> Result<()> {
    let text = serde_json::to_vec(&verdict).doing(Kind::Internal, || "writing the clock verdict".into())?;
    host::fs::write_atomic(Path::new(STATUS), &text, host::fs::PUBLIC)
}

/// Returns the last verdict of [`watch`] as a sentence, if the clock is wrong.
pub(super) fn strays(root: &Path) -> Option<String> {
    let bytes = host::fs::read_if_exists(&root.join(STATUS.trim_start_matches('/'))).ok()??;
    serde_json::from_slice::<Verdict>(&bytes).ok()?.reason()
}

/// Formats a duration in one unit: `36 h`, `12 min`, `731 d`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is rounded and not negative"
)]
fn duration(seconds: f64) -> String {
    match (seconds / 60.0).round() as u64 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} d", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Verdict, judge, news};

    const DAY: f64 = 86_400.0;

    /// What each of these clocks hears of the others.
    fn verdicts(clocks: &[f64]) -> Vec<Verdict> {
        let others = |own: usize| {
            clocks
                .iter()
                .enumerate()
                .filter(move |(at, _)| *at != own)
                .map(move |(_, clock)| clock - clocks[own])
        };
        (0..clocks.len()).map(|own| judge(others(own).collect(), clocks.len())).collect()
    }

    #[test]
    fn a_lone_stray_is_known_by_a_majority_that_agrees() {
        use Verdict::{Right, Stray, Unknown};
        let table: [(&[f64], &[Verdict]); 7] = [
            (&[0.0, 1.0, 2.0], &[Right, Right, Right]),
            (&[0.0, 1.0, DAY], &[Unknown, Unknown, Stray { by: 1.0 - DAY }]),
            (&[0.0, 1.0, -2.0 * 365.0 * DAY], &[Unknown, Unknown, Stray { by: 730.0 * DAY + 1.0 }]),
            // Neither of two can know.
            (&[0.0, DAY], &[Unknown, Unknown]),
            (&[0.0, DAY, 2.0 * DAY], &[Unknown, Unknown, Unknown]),
            (
                &[0.0, 0.0, 0.0, DAY, DAY],
                &[Unknown, Unknown, Unknown, Stray { by: -DAY }, Stray { by: -DAY }],
            ),
            (&[0.0], &[Unknown]),
        ];
        for (clocks, expected) in table {
            assert_eq!(verdicts(clocks), expected, "{clocks:?}");
        }
        // Who does not answer counts against a majority.
        assert_eq!(judge(vec![DAY], 3), Unknown);
    }

    #[test]
    fn what_strays_is_said_as_people_say_it() {
        let said = |by: f64| Verdict::Stray { by }.reason().unwrap();
        assert_eq!(
            said(-2.0 * DAY),
            "this machine's clock is 2 d ahead of a majority of the members, whose clocks agree"
        );
        assert_eq!(
            said(1200.0),
            "this machine's clock is 20 min behind a majority of the members, whose clocks agree"
        );
        assert_eq!(Verdict::Right.reason(), None);
    }

    #[test]
    fn a_clock_that_begins_to_stray_and_one_that_is_right_again_are_news() {
        let (right, unknown, stray) = (Verdict::Right, Verdict::Unknown, Verdict::Stray { by: -2.0 * DAY });
        let reason = "this machine's clock is 2 d ahead of a majority of the members, whose clocks agree";
        let again = "this machine's clock agrees with a majority of the members again";
        let mut strayed = false;
        let looks =
            [unknown, right, stray, Verdict::Stray { by: -2.0 * DAY - 0.1 }, unknown, right, right, stray];
        let news: Vec<Option<String>> =
            looks.into_iter().map(|verdict| news(&mut strayed, verdict)).collect();
        let news: Vec<Option<&str>> = news.iter().map(Option::as_deref).collect();
        assert_eq!(news, [None, None, Some(reason), None, None, Some(again), None, Some(reason)]);
    }

    proptest! {
        #[test]
        fn strays_are_never_a_majority(clocks in prop::collection::vec(-2000.0..2000.0, 1..8)) {
            let strays = verdicts(&clocks).iter().filter(|verdict| matches!(verdict, Verdict::Stray { .. })).count();
            prop_assert!(strays * 2 < clocks.len(), "{clocks:?}");
        }
    }
}
