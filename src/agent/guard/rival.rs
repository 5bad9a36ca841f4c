//! Detection of another machine that holds the VIP at the same time as this one. keepalived resolves this
//! conflict with its next advertisement, unless it is hung.

use std::net::IpAddr;
use std::time::Duration;

/// Time for which two machines hold the VIP before keepalived is killed on this one: three of its
/// advertisements.
const SETTLED: Duration = Duration::from_millis(600);
/// Silence after which the other machine no longer counts as a holder.
const SILENT: Duration = Duration::from_millis(500);

/// Times at which another holder was heard, according to any monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Rival(Option<Heard>);

#[derive(Debug)]
struct Heard {
    first: Duration,
    last: Duration,
}

impl Rival {
    /// Records the other holder heard since the last call, while this machine holds the VIP. Returns the
    /// other holder once it has held the VIP for too long.
    pub(super) fn hear(&mut self, now: Duration, holder: Option<IpAddr>) -> Option<IpAddr> {
        self.0.take_if(|heard| now > heard.last + SILENT);
        let holder = holder?;
        let heard = self.0.get_or_insert(Heard { first: now, last: now });
        heard.last = now;
        (now >= heard.first + SETTLED).then_some(holder)
    }

    /// Clears the record; called when this machine does not hold the VIP.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::Rival;

    #[test]
    fn a_second_holder_counts_once_it_has_stayed() {
        let other: IpAddr = "10.0.0.12".parse().unwrap();
        let mut rival = Rival::default();
        let mut hear = |milliseconds, heard: bool| {
            rival.hear(Duration::from_millis(milliseconds), heard.then_some(other))
        };
        // One advertisement, as when a network is mended, and another one much later.
        assert_eq!((hear(0, true), hear(200, false), hear(900, true)), (None, None, None));
        // One that goes on, with a look at which nothing had come.
        assert_eq!((hear(1100, true), hear(1300, false), hear(1500, true)), (None, None, Some(other)));
        rival.forget();
        assert_eq!(rival.hear(Duration::from_millis(1700), Some(other)), None);
    }
}
