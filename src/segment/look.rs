//! Asks and listens, for a bounded time.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::Result;
use crate::host::clock::Stopwatch;
use crate::host::link::Link;
use crate::host::signal;
use crate::segment::frame;
use crate::segment::impression::Impression;
use crate::segment::question::Question;

/// How often is asked, and how long between (RFC 5227 section 1.1).
const PROBES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait without a look at the clock and at signals.
const SLICE: Duration = Duration::from_millis(100);

/// Looks at a segment for `time`: who answers for the VIP and the nodes, and which virtual routers speak.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the interface can't be looked at, [`crate::error::Kind::Io`] if this process may not.
pub(crate) fn look(question: &Question, time: Duration) -> Result<Impression> {
    let mut link = Link::open(&question.interface, frame::types(question.vip))?;
    link.join(frame::group(question.vip))?;
    let mut impression = Impression::of(link.addresses.iter().copied());
    let watch = Stopwatch::start();
    let mut asked = 0;
    while watch.elapsed() < time {
        signal::check()?;
        if asked < PROBES && watch.elapsed() >= PAUSE * asked {
            ask(&link, question)?;
            asked += 1;
        }
        impression.hear(link.receive(SLICE)?);
    }
    Ok(impression)
}

/// Returns whether a machine of the segment answers for `address` within `limit`.
///
/// # Errors
///
/// As [`look`].
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

/// One probe for each address: nodes too, to know them by their MAC addresses.
fn ask(link: &Link, question: &Question) -> Result<()> {
    let same = |address: &&IpAddr| address.is_ipv4() == question.vip.is_ipv4() && !link.addresses.contains(address);
    let addresses = std::iter::once(&question.vip).chain(&question.nodes).filter(same);
    addresses.map(|address| frame::probe(link.mac, *address)).try_for_each(|probe| link.send(&probe))
}

impl Impression {
    fn hear(&mut self, frame: Option<Vec<u8>>) {
        if let Some(heard) = frame.as_deref().and_then(frame::read) {
            self.add(heard);
        }
    }
}
