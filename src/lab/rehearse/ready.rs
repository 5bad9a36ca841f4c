//! API server readiness, queried at each server's own address, so that any additional delay at the endpoint
//! can be attributed to the balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::host;
use crate::lab::rehearse::probe::{Shared, locked};
use crate::lab::rehearse::record::{self, Sample, Traffic};

/// Pause between two queries.
const PAUSE: Duration = Duration::from_millis(100);
/// Time limit for a response.
const LIMIT: Duration = Duration::from_millis(500);

/// Readiness of an API server since a point in time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Readiness {
    pub(super) at: f64,
    pub(super) server: String,
    pub(super) ready: bool,
}

/// Queries each API server for as long as a case requires it.
pub(super) fn look(shared: &Arc<Shared>) {
    for (name, address) in shared.target.servers.clone() {
        shared.spawn(move |shared| follow(shared, &name, address));
    }
}

fn follow(shared: &Shared, name: &str, address: SocketAddr) {
    let mut before = None;
    while !shared.is_over() {
        host::clock::sleep(PAUSE);
        if !shared.asks_each.load(Ordering::Relaxed) {
            before = None;
            continue;
        }
        let session = shared.target.dialler.connect(address, LIMIT);
        let answer = session.and_then(|mut session| session.request("GET", "/readyz", b"", LIMIT));
        let ready = answer.is_ok_and(|answer| answer.status == 200);
        if before.replace(ready) != Some(ready) {
            locked(&shared.readiness).push(Readiness { at: shared.now(), server: name.to_owned(), ready });
        }
    }
}

/// Returns the seconds from when the first API server became ready after `begin` until the end of the longest
/// gap at the endpoint.
pub(super) fn to_served(all: &[Readiness], samples: &[Sample], begin: f64) -> Option<f64> {
    let since: Vec<&Readiness> = all.iter().filter(|readiness| readiness.at > begin).collect();
    let had_failed = |index: usize| {
        since[..index].iter().any(|before| before.server == since[index].server && !before.ready)
    };
    let ready = (0..since.len())
        .find(|index| since[*index].ready && had_failed(*index))
        .map(|index| since[index].at)?;
    let (lost, gap) = record::longest(samples, Traffic::New);
    (!gap.open && gap.seconds > 0.0).then(|| (lost + gap.seconds - ready).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::{Readiness, to_served};
    use crate::lab::rehearse::record::Traffic;
    use crate::lab::rehearse::record::tests::samples;

    #[test]
    fn it_is_counted_from_the_first_server_that_was_not_ready_and_is() {
        let readiness = |at, server: &str, ready| Readiness { at, server: server.into(), ready };
        let all = [
            readiness(-1.0, "m1", true),
            readiness(0.05, "m2", true),
            readiness(0.1, "m1", false),
            readiness(0.1, "m2", false),
            readiness(0.5, "m2", true),
            readiness(0.6, "m1", true),
        ];
        let seen = samples(Traffic::New, ".xxxxxxx..");
        assert!((to_served(&all, &seen, 0.0).unwrap() - 0.31).abs() < 1e-9);
        assert_eq!(to_served(&all[..4], &seen, 0.0), None);
        assert_eq!(to_served(&all, &samples(Traffic::New, ".xxxxxxx"), 0.0), None);
        // The endpoint is queried more often than a server itself.
        assert_eq!(to_served(&all, &samples(Traffic::New, ".xxx......"), 0.0), Some(0.0));
    }
}
