//! What clients may expect of a case beside the prediction: times and shares that hold for any intervals.

use crate::lab::rehearse::report::Run;
use crate::lab::rehearse::verdict::SLACK;

/// For how long a share of requests is counted, in seconds since the fault.
pub(super) const MINUTE: f64 = 60.0;

/// The goals of a case; none are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goals {
    /// Seconds that the case may take.
    pub(super) seconds: Option<f64>,
    /// Seconds from the first ready API server to the first good answer at the endpoint.
    pub(super) ready_to_served: Option<f64>,
    /// How much of the requests of the first minute may be lost.
    pub(super) lost: Option<Lost>,
}

/// A share of the requests of a minute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lost {
    Share(f64),
    /// As much of the minute as the prediction is: until a leader is elected no one can serve.
    Predicted,
    /// None at all, of the whole case.
    None,
}

/// What a run did not keep, a sentence each.
pub(super) fn missed(goals: Goals, run: &Run, predicted: Option<[f64; 2]>) -> Vec<String> {
    let seconds = goals.seconds.filter(|most| run.measured > most + SLACK);
    let way = goals.ready_to_served.zip(run.ready_to_served).filter(|(most, way)| *way > most + SLACK);
    let never = goals.ready_to_served.is_some() && run.ready_to_served.is_none();
    let lost = goals.lost.and_then(|lost| excess(lost, run, predicted));
    [
        seconds.map(|most| format!("it took {:.1} s, and may take {most} s", run.measured)),
        way.map(|(most, way)| format!("the endpoint answered {way:.1} s after the first API server was ready, and may take {most} s")),
        never.then(|| "the endpoint did not answer after an API server was ready".to_owned()),
        lost,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn excess(lost: Lost, run: &Run, predicted: Option<[f64; 2]>) -> Option<String> {
    let most = match lost {
        Lost::Share(most) => most,
        Lost::Predicted => predicted?[1] / MINUTE,
        Lost::None => {
            let count: usize = run.losses.values().map(|losses| losses.lost).sum();
            return (count > 0).then(|| format!("{count} requests were lost, and none may be"));
        }
    };
    let share = run.lost_share?;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    (share > most).then(|| format!("{} of the requests of the first minute were lost, and {} may be", percent(share), percent(most)))
}

#[cfg(test)]
mod tests {
    use super::{Goals, Lost, missed};
    use crate::lab::rehearse::record::{Losses, Traffic};
    use crate::lab::rehearse::report::Run;

    #[test]
    fn a_goal_that_was_missed_is_a_sentence() {
        let goals = Goals { seconds: Some(20.0), ready_to_served: Some(2.0), lost: Some(Lost::Share(0.01)) };
        let run = |measured, way, share| Run { measured, ready_to_served: way, lost_share: Some(share), ..Run::default() };
        assert!(missed(goals, &run(20.2, Some(2.2), 0.01), None).is_empty());
        let expected = [
            "it took 20.4 s, and may take 20 s",
            "the endpoint answered 2.4 s after the first API server was ready, and may take 2 s",
            "1.20 % of the requests of the first minute were lost, and 1.00 % may be",
        ];
        assert_eq!(missed(goals, &run(20.4, Some(2.4), 0.012), None), expected);
        assert_eq!(missed(goals, &run(1.0, None, 0.0), None), ["the endpoint did not answer after an API server was ready"]);
        assert!(missed(Goals::default(), &run(120.0, None, 0.5), None).is_empty());
    }

    #[test]
    fn while_no_leader_can_serve_as_much_may_be_lost_as_is_predicted() {
        let goals = Goals { lost: Some(Lost::Predicted), ..Goals::default() };
        let run = |share| Run { lost_share: Some(share), ..Run::default() };
        assert!(missed(goals, &run(0.04), Some([1.0, 2.5])).is_empty());
        assert_eq!(missed(goals, &run(0.05), Some([1.0, 2.5])).len(), 1);
        assert!(missed(goals, &run(0.05), None).is_empty());
    }

    #[test]
    fn one_lost_request_is_one_too_many_where_none_may_be_lost() {
        let goals = Goals { lost: Some(Lost::None), ..Goals::default() };
        let run = |lost| Run { losses: [(Traffic::New, Losses { lost, sent: 500 })].into(), ..Run::default() };
        assert!(missed(goals, &run(0), None).is_empty());
        assert_eq!(missed(goals, &run(1), None), ["1 requests were lost, and none may be"]);
    }
}
