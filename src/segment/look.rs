//! Sends probes and listens, for a bounded time.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::Result;
use crate::host::clock::Stopwatch;
use crate::host::link::Link;
use crate::host::signal;
use crate::segment::frame;
use crate::segment::observation::Observation;
use crate::segment::question::Question;

/// Number of probes, and the interval between them (RFC 5227 section 1.1).
const PROBES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait between checks of the clock and of signals.
const SLICE: Duration = Duration::from_millis(100);

/// Observes a segment for `time`: which machines answer for the VIP and the nodes, and which virtual routers
/// advertise.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the interface can't be used, [`crate::error::Kind::Io`] if this process
/// lacks permission.
pub(crate) fn look(question: &Question, time: Duration) -> Result<Observation> {
    let mut link = Link::open(&question.interface, frame::types(question.vip))?;
    link.join(frame::group(question.vip))?;
    let mut observation = Observation::of(link.addresses.iter().copied());
    let watch = Stopwatch::start();
    let mut asked = 0;
    while watch.elapsed() < time {
        signal::check()?;
        if asked < PROBES && watch.elapsed() >= PAUSE * asked {
            ask(&link, question)?;
            asked += 1;
        }
        observation.hear(link.receive(SLICE)?);
    }
    Ok(observation)
}

/// Checks whether a machine on the segment answers for `address` within `limit`.
///
/// # Errors
///
/// Same as [`look`].
pub(crate) fn answers(interface: &str, address: IpAddr, limit: Duration) -> Result<bool> {
    let link = Link::open(interface, &frame::types(address)[..1])?;
    link.send(&frame::probe(link.mac, address))?;
    let watch = Stopwatch::start();
    while let Some(left) = limit.checked_sub(watch.elapsed()) {
        let claimed = link.receive(left)?.as_deref().and_then(frame::read);
        if matches!(claimed, Some(frame::Heard::Claim { address: claimed, .. }) if claimed == address) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sends one probe for each address, including the nodes' addresses, to identify nodes by their MAC
/// addresses.
fn ask(link: &Link, question: &Question) -> Result<()> {
    let same =
        |address: &&IpAddr| address.is_ipv4() == question.vip.is_ipv4() && !link.addresses.contains(address);
    let addresses = std::iter::once(&question.vip).chain(&question.nodes).filter(same);
    addresses.map(|address| frame::probe(link.mac, *address)).try_for_each(|probe| link.send(&probe))
}

impl Observation {
    fn hear(&mut self, frame: Option<Vec<u8>>) {
        if let Some(heard) = frame.as_deref().and_then(frame::read) {
            self.add(heard);
        }
    }
}
