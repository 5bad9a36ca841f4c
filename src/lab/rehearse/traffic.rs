//! Client requests, each kind at its own rate.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::digest::Digest;
use crate::host;
use crate::host::clock::Stopwatch;
use crate::host::session::{Response, Session, Waited};
use crate::lab::rehearse::probe::{Shared, locked};
use crate::lab::rehearse::record::{Ending, Sample, Traffic, Watch};

/// Path of the resource that contains the test object.
const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
/// Path of the object that is written and watched.
const OBJECT: &str = "/api/v1/namespaces/default/configmaps/kiln-rehearse";
const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Dkiln-rehearse&timeoutSeconds=14400";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

/// Seconds after which a silent watch counts as stalled, if it has also missed [`MISSED`] writes.
const STALL: f64 = 5.0;
/// Number of writes that a stalled watch must have missed.
const MISSED: u64 = 20;

/// Activities that run for as long as the probe exists.
pub(super) const ALL: &[fn(&Arc<Shared>)] = &[
    |shared| pace(shared, Traffic::New, 40, Duration::from_secs(1)),
    |shared| pace(shared, Traffic::Write, 100, Duration::from_secs(2)),
    |shared| pace(shared, Traffic::KeepAlive, 100, Duration::from_secs(1)),
    look_at_holder,
    look_at_lease,
];

/// Sends a request every `period` milliseconds, over a keep-alive connection if one is free.
fn pace(shared: &Arc<Shared>, traffic: Traffic, period: u64, limit: Duration) {
    let kept: Arc<Mutex<Option<Session>>> = Arc::default();
    let clock = Stopwatch::start();
    for number in 0_u64.. {
        let due = Duration::from_millis(number * period);
        host::clock::sleep(due.saturating_sub(clock.elapsed()));
        if shared.is_over() {
            return;
        }
        let kept = Arc::clone(&kept);
        shared.spawn(move |shared| send(shared, traffic, shared.target.endpoint, number, limit, &kept));
        if let Some(server) = locked(&shared.direct).filter(|_| traffic == Traffic::New) {
            shared
                .spawn(move |shared| send(shared, Traffic::Direct, server, number, limit, &Mutex::default()));
        }
    }
}

fn send(
    shared: &Shared,
    traffic: Traffic,
    to: SocketAddr,
    number: u64,
    limit: Duration,
    kept: &Mutex<Option<Session>>,
) {
    let (sent, clock) = (shared.now(), Stopwatch::start());
    let is_kept = matches!(traffic, Traffic::Write | Traffic::KeepAlive);
    let request = Request { traffic, number, limit, clock };
    let free = if is_kept { locked(kept).take() } else { None };
    let connect = || shared.target.dialler.connect(to, request.left());
    let (server, answer) = request.ask(free, connect);
    let served = answer.as_ref().is_ok_and(|(_, response)| response.status == 200);
    if let Ok((session, response)) = answer {
        if traffic == Traffic::Write && served {
            acknowledge(shared, &response);
        }
        if is_kept && served {
            locked(kept).get_or_insert(session);
        }
    }
    shared.record(Sample { traffic, sent, took: request.clock.elapsed().as_secs_f64(), served, server });
}

/// A request and its time limit.
struct Request {
    traffic: Traffic,
    number: u64,
    limit: Duration,
    clock: Stopwatch,
}

impl Request {
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.clock.elapsed())
    }

    /// Sends the request over the `free` connection or, if there is none or it has ended, over a new one;
    /// also returns the server that was queried last.
    fn ask(
        &self,
        free: Option<Session>,
        connect: impl Fn() -> io::Result<Session>,
    ) -> (Option<Digest>, io::Result<(Session, Response)>) {
        if let Some(mut session) = free {
            let response = self.perform(&mut session);
            if response.is_ok() || !session.is_ended {
                return (Some(session.server), response.map(|response| (session, response)));
            }
        }
        let session = connect();
        let server = session.as_ref().ok().map(|session| session.server);
        (
            server,
            session.and_then(|mut session| self.perform(&mut session).map(|response| (session, response))),
        )
    }

    fn perform(&self, session: &mut Session) -> io::Result<Response> {
        match self.traffic {
            Traffic::Write => session.request("PUT", OBJECT, object(self.number).as_bytes(), self.left()),
            // A server that is shutting down reports that it is not ready, but still serves requests.
            Traffic::New | Traffic::Direct | Traffic::KeepAlive => {
                session.request("GET", OBJECT, b"", self.left())
            }
        }
    }
}

fn object(number: u64) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"kiln-rehearse"}},"data":{{"number":"{number}"}}}}"#
    )
}

fn acknowledge(shared: &Shared, response: &Response) {
    shared.written.fetch_add(1, Ordering::Relaxed);
    shared.revision.fetch_max(revision(&response.body).unwrap_or(0), Ordering::Relaxed);
}

/// Returns the revision of an object.
fn revision(body: &[u8]) -> Option<u64> {
    let object: Value = serde_json::from_slice(body).ok()?;
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// Creates the object that is written, unless it exists.
pub(super) fn create(shared: &Shared) -> Result<(), String> {
    let limit = Duration::from_secs(5);
    let session = shared.target.dialler.connect(shared.target.endpoint, limit);
    let response =
        session.and_then(|mut session| session.request("POST", OBJECTS, object(0).as_bytes(), limit));
    match response {
        Ok(response) if [201, 409].contains(&response.status) => Ok(()),
        Ok(response) => Err(format!("the endpoint responds with status {}", response.status)),
        Err(err) => Err(format!("the endpoint does not respond: {err}")),
    }
}

/// Queries each API server for its readiness and the object's revision. Records the servers' certificates.
pub(super) fn ask_each(shared: &Shared) -> Vec<(String, Result<u64, String>)> {
    let limit = Duration::from_secs(2);
    let ask = |name: &str, address| -> io::Result<Result<u64, String>> {
        let mut session = shared.target.dialler.connect(address, limit)?;
        locked(&shared.names).insert(session.server, name.to_owned());
        let ready = session.request("GET", "/readyz", b"", limit)?.status;
        let object = session.request("GET", OBJECT, b"", limit)?;
        let revision = revision(&object.body)
            .ok_or_else(|| format!("the test object is missing (status {})", object.status));
        Ok(if ready == 200 { revision } else { Err(format!("not ready (status {ready})")) })
    };
    let servers = shared.target.servers.iter();
    servers
        .map(|(name, address)| (name.clone(), ask(name, *address).unwrap_or_else(|err| Err(err.to_string()))))
        .collect()
}

/// Watches the object until the connection ends or the watch misses writes that were acknowledged.
pub(super) fn watch(shared: &Arc<Shared>) {
    let limit = Duration::from_secs(5);
    let Ok(mut session) = shared.target.dialler.connect(shared.target.endpoint, limit) else { return };
    if !matches!(session.follow(WATCH, limit), Ok(200)) {
        return;
    }
    let index = {
        let mut watches = locked(&shared.watches);
        watches.push(Watch { server: session.server, fresh: shared.now(), end: None, needed: true });
        watches.len() - 1
    };
    let mut written = shared.written.load(Ordering::Relaxed);
    while !shared.is_over() {
        let waited = session.wait(Duration::from_millis(250));
        let (now, acknowledged) = (shared.now(), shared.written.load(Ordering::Relaxed));
        let watch = &mut locked(&shared.watches)[index];
        match waited {
            Waited::Data => (watch.fresh, written) = (now, acknowledged),
            Waited::End => watch.end = Some((now, Ending::Reset)),
            Waited::Silence if now - watch.fresh > STALL && acknowledged - written >= MISSED => {
                watch.end = Some((now, Ending::Stalled));
            }
            Waited::Silence => {}
        }
        if !watch.lives() {
            return;
        }
    }
}

/// Records the VIP holder as seen from this machine.
fn look_at_holder(shared: &Arc<Shared>) {
    while !shared.is_over() {
        let table = host::fs::read_to_string(Path::new("/proc/thread-self/net/arp")).unwrap_or_default();
        let holder = shared.target.vip.and_then(|vip| neighbour(&table, &vip.to_string()));
        let node = holder
            .and_then(|mac| shared.target.machines.iter().find(|(known, _)| *known == mac))
            .map(|(_, node)| node.clone());
        note(&mut locked(&shared.holders), shared.now(), node);
        host::clock::sleep(Duration::from_millis(100));
    }
}

/// Returns the hardware address of a neighbour, arp(7).
fn neighbour(table: &str, address: &str) -> Option<String> {
    let row = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|row| row.first() == Some(&address))?;
    row.get(3).filter(|mac| **mac != "00:00:00:00:00:00").map(|mac| (*mac).to_owned())
}

fn look_at_lease(shared: &Arc<Shared>) {
    let limit = Duration::from_secs(1);
    let mut kept: Option<Session> = None;
    while !shared.is_over() {
        host::clock::sleep(Duration::from_millis(100));
        let Some(name) = locked(&shared.lease).as_ref().map(|lease| lease.name) else { continue };
        let session =
            kept.take().map_or_else(|| shared.target.dialler.connect(shared.target.endpoint, limit), Ok);
        let Ok(mut session) = session else { continue };
        let Ok(answer) = session.request("GET", &format!("{LEASES}/{name}"), b"", limit) else { continue };
        let lease: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // Another Lease may be observed by now.
        let mut looked_at = locked(&shared.lease);
        if let (Some(holder), Some(seen)) =
            (lease["spec"]["holderIdentity"].as_str(), looked_at.as_mut().filter(|seen| seen.name == name))
        {
            note(&mut seen.holders, shared.now(), holder.to_owned());
        }
        kept = Some(session);
    }
}

/// Appends a value if it differs from the last one.
fn note<T: PartialEq>(list: &mut Vec<(f64, T)>, now: f64, value: T) {
    if list.last().is_none_or(|(_, last)| *last != value) {
        list.push((now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::neighbour;

    #[test]
    fn the_holder_is_who_answers_for_its_address() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.0.10        0x1         0x2         52:54:fa:b2:d5:a3     *        kiln0\n\
                     10.0.0.11        0x1         0x0         00:00:00:00:00:00     *        kiln0\n";
        assert_eq!(neighbour(table, "10.0.0.10").as_deref(), Some("52:54:fa:b2:d5:a3"));
        assert_eq!(neighbour(table, "10.0.0.11"), None);
        assert_eq!(neighbour(table, "10.0.0.1"), None);
    }
}
