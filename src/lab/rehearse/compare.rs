//! Comparison of connections to the endpoint with direct connections to one API server over the same bad
//! cable.

use std::fmt;

use serde::Serialize;

use crate::lab::rehearse::record::Losses;

/// Standard deviations that chance may explain: if both shares are equal, one comparison in 740 exceeds this
/// number.
const CHANCE: f64 = 3.0;

/// New connections that were late while the cable was bad: connections to the endpoint, and connections
/// opened at the same times directly to the API server on the machine with that cable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Comparison {
    pub(crate) endpoint: Losses,
    pub(crate) direct: Losses,
}

impl Comparison {
    /// Returns the largest share of late connections to the endpoint that chance explains if both shares are
    /// equal (two-proportion test with the pooled share).
    pub(super) fn most(self) -> f64 {
        let [endpoint, direct] = [self.endpoint, self.direct];
        let all = share(Losses { lost: endpoint.lost + direct.lost, sent: endpoint.sent + direct.sent });
        let deviation = (all * (1.0 - all) * (1.0 / count(endpoint.sent) + 1.0 / count(direct.sent))).sqrt();
        share(direct) + CHANCE * deviation
    }

    /// Returns why the promise is broken, if it is.
    pub(super) fn judge(self) -> Option<String> {
        if self.direct.sent == 0 || self.endpoint.sent == 0 {
            return Some("no new connections to compare".into());
        }
        (share(self.endpoint) > self.most())
            .then(|| format!("more connections were late than chance explains: {self}"))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [endpoint, direct] =
            [self.endpoint, self.direct].map(|losses| (losses.lost, losses.sent, 100.0 * share(losses)));
        write!(f, "{} of {} new connections to the endpoint ({:.1} %)", endpoint.0, endpoint.1, endpoint.2)?;
        write!(
            f,
            ", {} of {} directly to one server ({:.1} %; chance explains ",
            direct.0, direct.1, direct.2
        )?;
        write!(f, "{:.1} %)", 100.0 * self.most())
    }
}

fn share(losses: Losses) -> f64 {
    count(losses.lost) / count(losses.sent).max(1.0)
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::Comparison;
    use crate::lab::rehearse::record::Losses;

    #[test]
    fn a_share_is_worse_only_beyond_what_chance_explains() {
        let comparison = |late: [usize; 2], sent| {
            let [endpoint, direct] = late.map(|lost| Losses { lost, sent });
            Comparison { endpoint, direct }
        };
        for (late, sent, is_worse) in [
            ([150, 150], 1500, false),
            ([180, 150], 1500, false),
            ([205, 150], 1500, true),
            ([0, 1500], 1500, false),
            // The same shares, of ten times as many connections.
            ([1800, 1500], 15_000, true),
            ([0, 0], 1500, false),
            ([0, 0], 0, true),
        ] {
            assert_eq!(comparison(late, sent).judge().is_some(), is_worse, "{late:?} of {sent}");
        }
        let said = comparison([205, 150], 1500).to_string();
        let expected = "205 of 1500 new connections to the endpoint (13.7 %), 150 of 1500 directly to one \
            server (10.0 %; chance explains 13.5 %)";
        assert_eq!(said, expected);
    }
}
