//! Cable delays: duration and direction.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lab::Direction;
use crate::lab::cut::word;

/// Longest delay in milliseconds; beyond that, a network is unusable.
const MOST: u16 = 10_000;

/// Round-trip time added to a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Delay {
    pub(crate) milliseconds: u16,
    /// Direction of the delay; half of the delay each way unless set.
    pub(crate) direction: Option<Direction>,
}

impl Delay {
    /// Parses `50ms` or `2s`.
    ///
    /// # Errors
    ///
    /// A description of the valid notation.
    pub(crate) fn parse(text: &str) -> Result<u16, String> {
        let number = |text: &str, unit: u16| text.parse::<u16>().ok()?.checked_mul(unit);
        let milliseconds = text
            .strip_suffix("ms")
            .map_or_else(|| number(text.strip_suffix('s')?, 1000), |text| number(text, 1));
        milliseconds
            .filter(|time| (1..=MOST).contains(time))
            .ok_or_else(|| format!("expected a delay such as 50ms or 2s, at most {} s", MOST / 1000))
    }

    /// Returns the delay added to frames in this direction.
    pub(super) fn of(self, direction: Direction) -> Duration {
        let whole = Duration::from_millis(self.milliseconds.into());
        match self.direction {
            None => whole / 2,
            Some(slow) if slow == direction => whole,
            Some(_) => Duration::ZERO,
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.milliseconds)?;
        self.direction.map_or(Ok(()), |direction| write!(f, " {}", word(&direction)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Delay;
    use crate::lab::Direction;

    #[test]
    fn a_delay_has_a_unit_and_is_ten_seconds_at_most() {
        for (text, expected) in
            [("50ms", Some(50)), ("1ms", Some(1)), ("2s", Some(2000)), ("10s", Some(10_000))]
        {
            assert_eq!(Delay::parse(text).ok(), expected, "{text}");
        }
        for text in ["", "50", "0ms", "ms", "s", "-5ms", "0.05s", "11s", "10001ms", "70000s", "50 ms"] {
            let err = Delay::parse(text).unwrap_err();
            assert_eq!(err, "expected a delay such as 50ms or 2s, at most 10 s", "{text}");
        }
    }

    #[test]
    fn a_round_trip_takes_as_much_longer_whichever_way_is_slow() {
        for (direction, way, text) in [
            (None, [25, 25], "50 ms"),
            (Some(Direction::In), [50, 0], "50 ms in"),
            (Some(Direction::Out), [0, 50], "50 ms out"),
        ] {
            let delay = Delay { milliseconds: 50, direction };
            assert_eq!(
                [Direction::In, Direction::Out].map(|way| delay.of(way)),
                way.map(Duration::from_millis)
            );
            assert_eq!(delay.to_string(), text);
        }
    }
}
