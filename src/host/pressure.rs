//! Processor load of this machine during a measurement.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;

/// Kernel counters at the start of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    since: Stopwatch,
    count: Count,
}

#[derive(Clone, Copy, Debug)]
enum Count {
    /// Microseconds during which a runnable task waited for a processor (`/proc/pressure/cpu`).
    Stalled(u64),
    /// Idle and total ticks of the processors (`/proc/stat`, proc_stat(5)), if the kernel provides no better
    /// counter.
    Idle(u64, u64),
}

impl Pressure {
    /// Starts a measurement.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the kernel provides neither counter.
    pub(crate) fn begin() -> Result<Self> {
        Ok(Self { since: Stopwatch::start(), count: count()? })
    }

    /// Returns the share of the time since the start during which a task waited for a processor, or the
    /// processors were busy; from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let Ok(now) = count() else { return 0.0 };
        share(self.count, now, self.since.elapsed())
    }
}

fn count() -> Result<Count> {
    let stalled =
        host::fs::read_to_string(Path::new("/proc/pressure/cpu")).ok().and_then(|text| stalled(&text));
    let idle = || idle(&host::fs::read_to_string(Path::new("/proc/stat")).ok()?);
    stalled.or_else(idle).ok_or_else(|| Error::new(Kind::Io, "the kernel does not report the processor load"))
}

fn stalled(text: &str) -> Option<Count> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split("total=").nth(1)?.trim().parse().ok().map(Count::Stalled)
}

fn idle(text: &str) -> Option<Count> {
    let ticks: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect();
    Some(Count::Idle(*ticks.get(3)?, ticks.iter().take(8).sum()))
}

#[expect(clippy::cast_precision_loss, reason = "an approximate ratio is enough")]
fn share(before: Count, now: Count, time: Duration) -> f64 {
    let share = match (before, now) {
        (Count::Stalled(before), Count::Stalled(now)) => {
            now.saturating_sub(before) as f64 / 1e6 / time.as_secs_f64().max(1e-3)
        }
        (Count::Idle(idle, all), Count::Idle(idle_now, all_now)) => {
            1.0 - idle_now.saturating_sub(idle) as f64 / (all_now.saturating_sub(all).max(1)) as f64
        }
        _ => 0.0,
    };
    share.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Count, idle, share, stalled};

    #[test]
    fn shares_are_of_the_time_that_passed() {
        let some = "some avg10=95.93 avg60=92.70 avg300=52.96 total=1000000\nfull avg10=0.00 avg60=0.00 \
            avg300=0.00 total=0\n";
        let before = stalled(some).unwrap();
        assert!((share(before, Count::Stalled(3_000_000), Duration::from_secs(4)) - 0.5).abs() < 1e-6);
        let before = idle("cpu  100 0 100 200 0 0 0 0 0 0\ncpu0 1 1 1 1\n").unwrap();
        let now = idle("cpu  150 0 125 225 0 0 0 0 0 0\n").unwrap();
        assert!((share(before, now, Duration::from_secs(4)) - 0.75).abs() < 1e-6);
    }
}
