//! Handling of a slow disk on the leader: every write in the cluster waits for that disk, and etcd does not
//! elect another leader as long as heartbeats arrive (etcd#7617, etcd#15247). This agent therefore transfers
//! leadership to a member with a faster disk, once.

use std::sync::atomic::{AtomicU32, Ordering};

use super::control::Endpoint;
use super::metrics::{self, Synced};
use super::peers::{self, Heard};
use super::settings::Settings;
use crate::error::Result;
use crate::host::clock::Stopwatch;
use crate::host::tls::Asking;
use crate::words::LEADERSHIP_PAUSE;

/// Duration of a log sync, in milliseconds, at which a disk counts as slow: ten times the limit that etcd
/// recommends (<https://etcd.io/docs/v3.5/op-guide/hardware/#disks>).
const SLOW: u32 = 100;
/// Number of consecutive checks that must find the disk slow.
const LOOKS: u32 = 3;
/// Minimum number of syncs for a measurement.
const FEWEST: u64 = 3;
/// Value that stands for a missing measurement.
const UNKNOWN: u32 = u32::MAX;

/// Duration of a log sync on this member, in milliseconds; shared with the threads that answer other members.
#[derive(Debug)]
pub(super) struct Latency(AtomicU32);

impl Latency {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(UNKNOWN))
    }

    pub(super) fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|latency| *latency != UNKNOWN)
    }

    fn set(&self, latency: u32) {
        self.0.store(latency, Ordering::Relaxed);
    }
}

/// State of this agent between checks.
#[derive(Debug, Default)]
pub(super) struct Slow {
    before: Synced,
    /// Number of consecutive checks that found the disk slow.
    looks: u32,
    handed_over: Option<Stopwatch>,
}

impl Slow {
    /// Measures the disk, transfers leadership if that helps, and returns the problems.
    ///
    /// # Errors
    ///
    /// Errors from etcd; a failure is retried at the next check.
    pub(super) fn look(
        &mut self,
        settings: &Settings,
        latency: &Latency,
        journal: &dyn Fn(&str),
    ) -> Result<Vec<String>> {
        let mean = self.measure(metrics::synced(&settings.metrics));
        if let Some(mean) = mean {
            latency.set(mean);
        }
        // With few writes, the last measurement remains valid.
        let Some(own) = latency.get().filter(|_| self.looks >= LOOKS) else { return Ok(Vec::new()) };
        // Rounded, so that the text stays the same: a changed text is logged to the journal again.
        let slow =
            format!("etcd's disk is slow: a log sync takes {} ms or more on average", own / SLOW * SLOW);
        let endpoint = Endpoint::new(settings, &settings.own().client_url);
        let status = endpoint.status()?;
        if status.leader != status.header.member {
            return Ok(vec![slow]);
        }
        let slow = format!("{slow}, and every write in the cluster waits for it");
        if self.handed_over.is_some_and(|since| since.elapsed() < LEADERSHIP_PAUSE) {
            return Ok(vec![format!(
                "{slow}; leadership returned to this member and is not transferred again for a while"
            )]);
        }
        let heard = peers::ask(settings, &Asking::new(&settings.identity())?);
        let Some((place, other)) = faster(own, &heard) else {
            return Ok(vec![format!("{slow}; no other disk is known to be faster")]);
        };
        let to = &settings.members[place];
        let members = endpoint.members()?.members;
        let Some(member) = members.iter().find(|member| member.peer_urls.contains(&to.peer_url)) else {
            return Ok(vec![slow]);
        };
        journal(&format!("{slow}: transferring leadership to {}, where a sync takes {other} ms", to.name));
        endpoint.hand_over(member.id)?;
        self.handed_over = Some(Stopwatch::start());
        Ok(vec![slow])
    }

    /// Returns the mean since the last measurement, in milliseconds; `None` if too little was written: on a
    /// very slow disk, enough syncs take several checks.
    fn measure(&mut self, now: Option<Synced>) -> Option<u32> {
        let now = now.unwrap_or_default();
        let count = now.count.checked_sub(self.before.count).filter(|_| self.before.count > 0);
        if count.is_some_and(|count| count < FEWEST) {
            return None;
        }
        let before = std::mem::replace(&mut self.before, now);
        let count = count?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is small"
        )]
        let mean = ((now.seconds - before.seconds) * 1000.0 / count as f64).round() as u32;
        self.looks = if mean >= SLOW { self.looks + 1 } else { 0 };
        Some(mean)
    }
}

/// Returns the place of the fastest other member with a quorum and the duration of its log sync, if that is
/// less than half of `own`.
fn faster(own: u32, heard: &[Heard]) -> Option<(usize, u32)> {
    let known = heard
        .iter()
        .enumerate()
        .filter(|(_, heard)| heard.has_quorum())
        .filter_map(|(place, heard)| Some((place, heard.latency?)));
    known.min_by_key(|(_, latency)| *latency).filter(|(_, latency)| *latency < own / 2)
}

#[cfg(test)]
mod tests {
    use super::{LOOKS, Slow};
    use crate::agent::etcd::metrics::Synced;

    #[test]
    fn a_disk_is_slow_after_some_looks_and_fast_after_one() {
        let mut slow = Slow::default();
        let (mut seconds, mut count) = (0.0, 0);
        let mut look = |syncs: u64, each: f64| {
            count += syncs;
            seconds += each * f64::from(u32::try_from(syncs).unwrap());
            let mean = slow.measure(Some(Synced { seconds, count }));
            (mean, slow.looks >= LOOKS)
        };
        // The first look has nothing to compare with, whatever the years before were.
        assert_eq!(look(1000, 0.2), (None, false));
        assert_eq!(look(10, 0.2), (Some(200), false));
        assert_eq!(look(10, 0.2), (Some(200), false));
        assert_eq!(look(10, 0.2), (Some(200), true));
        // Nothing was written: it is neither fast nor slow.
        assert_eq!(look(0, 0.2), (None, true));
        assert_eq!(look(10, 0.002), (Some(2), false));
        // A sync takes longer than it takes to look.
        for _ in 0..LOOKS {
            assert_eq!(look(1, 2.0).0, None);
            assert_eq!(look(1, 2.0).0, None);
            assert_eq!(look(1, 2.0).0, Some(2000));
        }
        assert_eq!(look(0, 0.0), (None, true));
        // etcd was started anew, and counts from zero.
        assert_eq!(slow.measure(Some(Synced { seconds: 0.1, count: 5 })), None);
        assert_eq!(slow.measure(None), None);
    }
}
