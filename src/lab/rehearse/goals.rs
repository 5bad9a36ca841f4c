//! Goals for clients in addition to the prediction: limits on times and shares that apply whatever the
//! configured intervals.

use crate::lab::rehearse::report::Run;
use crate::lab::rehearse::verdict::SLACK;

/// Seconds after the fault for which the share of lost requests is computed.
pub(super) const MINUTE: f64 = 60.0;

/// Goals for a case; unset goals do not apply.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goals {
    /// Limit for the measured time in seconds.
    pub(super) seconds: Option<f64>,
    /// Limit in seconds from the first ready API server to the first successful response from the endpoint.
    pub(super) ready_to_served: Option<f64>,
    /// Limit for lost requests in the first minute.
    pub(super) lost: Option<Lost>,
}

/// Limit for lost requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lost {
    Share(f64),
    /// The predicted outage as a share of the minute: until a leader is elected, no server can respond.
    Predicted,
    /// No request may be lost during the whole case.
    None,
}

/// Returns the goals that a run missed, one sentence each.
pub(super) fn missed(goals: Goals, run: &Run, predicted: Option<[f64; 2]>) -> Vec<String> {
    let seconds = goals.seconds.filter(|most| run.measured > most + SLACK);
    let way = goals.ready_to_served.zip(run.ready_to_served).filter(|(most, way)| *way > most + SLACK);
    let never = goals.ready_to_served.is_some() && run.ready_to_served.is_none();
    let lost = goals.lost.and_then(|lost| excess(lost, run, predicted));
    [
        seconds.map(|most| format!("recovery took {:.1} s; the limit is {most} s", run.measured)),
        way.map(|(most, way)| {
            format!(
                "the endpoint responded {way:.1} s after the first API server was ready; the limit is \
                {most} s"
            )
        }),
        never.then(|| "the endpoint did not respond after an API server was ready".to_owned()),
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
            return (count > 0).then(|| format!("lost requests: {count}; the limit is 0"));
        }
    };
    let share = run.lost_share?;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    (share > most).then(|| {
        format!(
            "{} of the requests in the first minute were lost; the limit is {}",
            percent(share),
            percent(most)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Goals, Lost, missed};
    use crate::lab::rehearse::record::{Losses, Traffic};
    use crate::lab::rehearse::report::Run;

    #[test]
    fn a_goal_that_was_missed_is_a_sentence() {
        let goals = Goals { seconds: Some(20.0), ready_to_served: Some(2.0), lost: Some(Lost::Share(0.01)) };
        let run = |measured, way, share| Run {
            measured,
            ready_to_served: way,
            lost_share: Some(share),
            ..Run::default()
        };
        assert!(missed(goals, &run(20.2, Some(2.2), 0.01), None).is_empty());
        let expected = [
            "recovery took 20.4 s; the limit is 20 s",
            "the endpoint responded 2.4 s after the first API server was ready; the limit is 2 s",
            "1.20 % of the requests in the first minute were lost; the limit is 1.00 %",
        ];
        assert_eq!(missed(goals, &run(20.4, Some(2.4), 0.012), None), expected);
        assert_eq!(
            missed(goals, &run(1.0, None, 0.0), None),
            ["the endpoint did not respond after an API server was ready"]
        );
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
        let run =
            |lost| Run { losses: [(Traffic::New, Losses { lost, sent: 500 })].into(), ..Run::default() };
        assert!(missed(goals, &run(0), None).is_empty());
        assert_eq!(missed(goals, &run(1), None), ["lost requests: 1; the limit is 0"]);
    }
}
