//! Detection of other machines on the segment that use the VIP or its virtual router identifier: probes,
//! answers and findings.
//!
//! The check changes nothing and claims no address: probes carry no sender address (RFC 5227, RFC 4862), and
//! advertisements are only received. It makes no decision either: nodes report the findings and start, and
//! administrators decide whether to install.

mod adverts;
mod finding;
mod frame;
mod look;
mod observation;
mod question;

pub(crate) use adverts::Adverts;
pub(crate) use finding::{About, Finding};
pub(crate) use look::{answers, look};
pub(crate) use observation::Observation;
pub(crate) use question::Question;

use std::time::Duration;

/// Default duration of a check: three probes a second apart, and two seconds for the last answer (RFC 5227
/// section 1.1); routers advertise once a second by default.
pub(crate) const USUAL_TIME: Duration = Duration::from_secs(4);
