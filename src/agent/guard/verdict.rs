//! The guard's decision, made from check results only, without a clock or the network.

/// Result of one check of the service at the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Answered,
    /// No response in time, or a refused connection.
    Failed,
    /// This program was not scheduled during the check: the machine is busy, or was frozen.
    Void,
}

/// State of this machine relative to the rest of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The machine reaches a ready API server, or no API server is ready anywhere but other machines respond.
    Fit,
    /// The machine can't reach a ready API server, and no other machine responds.
    CutOff,
    /// The machine's API server is not ready, but another machine's is.
    Outdone,
}

/// Permission to hold the VIP, or the reason for denying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    May,
    MayNot(Why),
}

/// Reason that a machine must not hold the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No check has finished yet.
    Unknown,
    Silent,
    CutOff,
    Outdone,
    /// The machine was frozen, and another machine has taken over.
    Replaced,
}

/// State between checks.
#[derive(Debug)]
pub(super) struct Judge {
    fall: u32,
    /// Failures in a row.
    failed: u32,
    /// Number of checks for which the VIP is still left to the machine that took over.
    yielding: u32,
    verdict: Verdict,
}

/// Initial value of `yielding`: twice as long as keepalived needs to hear that another machine holds the VIP.
const YIELDING: u32 = 5;

impl Judge {
    /// Creates a judge that has not seen a check yet; `fall` consecutive failures count as a failed service.
    pub(super) fn new(fall: u32) -> Self {
        Self { fall, failed: 0, yielding: 0, verdict: Verdict::MayNot(Why::Unknown) }
    }

    /// Evaluates one check and returns the verdict; `standing` is `None` until it is known.
    pub(super) fn look(&mut self, look: Look, standing: Option<Standing>) -> Verdict {
        self.failed = match look {
            Look::Answered => 0,
            Look::Failed => self.failed + 1,
            Look::Void => self.failed,
        };
        self.verdict = match (look, standing) {
            _ if self.failed >= self.fall => Verdict::MayNot(Why::Silent),
            _ if self.yielding > 0 => Verdict::MayNot(Why::Replaced),
            (Look::Answered, Some(Standing::Fit)) => Verdict::May,
            (Look::Answered, Some(Standing::CutOff)) => Verdict::MayNot(Why::CutOff),
            (Look::Answered, Some(Standing::Outdone)) => Verdict::MayNot(Why::Outdone),
            _ => self.verdict,
        };
        self.yielding = self.yielding.saturating_sub(1);
        self.verdict
    }

    /// Leaves the VIP to a machine that has taken over.
    pub(super) fn replaced(&mut self) -> Verdict {
        self.yielding = YIELDING;
        self.look(Look::Void, None)
    }
}

impl Why {
    /// Returns the reason as a sentence without a full stop.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "the service at the VIP has not responded on this machine yet",
            Self::Silent => "the service at the VIP does not respond on this machine",
            Self::CutOff => "this machine can't reach a ready API server, and no other machine responds",
            Self::Outdone => "this machine's API server is not ready, but another machine's is",
            Self::Replaced => "this machine was frozen for a while, and another machine has taken over",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, Look, Standing, Verdict, Why, YIELDING};

    const MAY: Verdict = Verdict::May;

    fn may_not(why: Why) -> Verdict {
        Verdict::MayNot(why)
    }

    /// What is said after each look of a row.
    fn verdicts(looks: &[(Look, Option<Standing>)]) -> Vec<Verdict> {
        let mut judge = Judge::new(2);
        looks.iter().map(|(look, standing)| judge.look(*look, *standing)).collect()
    }

    #[test]
    fn a_balancer_that_answers_gets_the_vip_at_once_and_loses_it_after_two_failures() {
        use Look::{Answered, Failed, Void};
        let fit = Some(Standing::Fit);
        let looks = [
            (Answered, None),
            (Answered, fit),
            (Failed, fit),
            (Answered, fit),
            (Failed, fit),
            (Void, fit),
            (Failed, fit),
        ];
        let expected = [may_not(Why::Unknown), MAY, MAY, MAY, MAY, MAY, may_not(Why::Silent)];
        assert_eq!(verdicts(&looks), expected);
        assert_eq!(
            verdicts(&[(Failed, fit), (Failed, fit), (Answered, fit)])[1..],
            [may_not(Why::Silent), MAY]
        );
    }

    #[test]
    fn a_machine_that_is_cut_off_or_outdone_gives_the_vip_up_and_takes_part_again_later() {
        let answered = |standing| (Look::Answered, Some(standing));
        let looks = [Standing::Fit, Standing::CutOff, Standing::Fit, Standing::Outdone].map(answered);
        assert_eq!(verdicts(&looks), [MAY, may_not(Why::CutOff), MAY, may_not(Why::Outdone)]);
    }

    #[test]
    fn a_machine_that_was_not_running_leaves_the_vip_to_its_successor_for_a_while() {
        let mut judge = Judge::new(2);
        let fit = Some(Standing::Fit);
        assert_eq!(judge.look(Look::Answered, fit), MAY);
        assert_eq!(judge.replaced(), may_not(Why::Replaced));
        let later: Vec<Verdict> = (0..YIELDING).map(|_| judge.look(Look::Answered, fit)).collect();
        let (last, before) = later.split_last().unwrap();
        assert!(before.iter().all(|verdict| *verdict == may_not(Why::Replaced)), "{later:?}");
        assert_eq!(*last, MAY);
    }
}
