//! The clock, for everything that may depend on the time: certificate validity, progress, stage durations.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::error::{Doing, Error, Kind, Result};

/// Returns the seconds since 1970-01-01T00:00:00Z.
pub(crate) fn now() -> u64 {
    since_1970().as_secs()
}

/// Returns the time since 1970-01-01T00:00:00Z, for searching journals.
#[expect(clippy::disallowed_methods, reason = "the only place that reads the clock")]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Sets this machine's clock to `seconds` since 1970.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel rejects the request, as in most containers.
pub(crate) fn set(seconds: u64) -> Result<()> {
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    clock_settime(ClockId::Realtime, time).doing(Kind::Io, || "setting the clock".into())
}

/// Returns the user's `SOURCE_DATE_EPOCH`, in seconds since 1970
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
///
/// # Errors
///
/// [`Kind::Input`] if the variable is set and is not a number.
pub(crate) fn source_date_epoch() -> Result<Option<u64>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::new(Kind::Input, format!("`SOURCE_DATE_EPOCH` is `{text}`, which is not a number of seconds"))
            .hint("unset SOURCE_DATE_EPOCH, or set it to the seconds since 1970")
    })
}

/// Formats `seconds` since 1970 as RFC 3339: `2026-11-21T09:00:00Z`.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date of a day number, in eras of 400 years that begin on 1 March
    // (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
    let shifted = days + 719_468;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + shifted / 146_097 * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Suspends this thread for `time`.
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Stopwatch; not affected by changes to the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn microseconds(self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_agree_with_the_ones_that_date_prints() {
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
        ];
        let known = known
            .into_iter()
            .chain([(4_107_542_400, "2100-03-01T00:00:00Z"), (1_795_251_600, "2026-11-21T09:00:00Z")]);
        for (seconds, text) in known {
            assert_eq!(super::rfc3339(seconds), text);
        }
    }
}
