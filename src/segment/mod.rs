//! Who else on the segment has the VIP or its virtual router identifier: what is asked, what is heard, what it means.
//!
//! It changes nothing and claims nothing: probes carry no address of the sender (RFC 5227, RFC 4862), and advertisements are only
//! listened for. It decides nothing either: nodes tell what it finds and start, people refuse to install.

mod adverts;
mod finding;
mod frame;
mod impression;
mod look;
mod question;

pub(crate) use adverts::Adverts;
pub(crate) use finding::{About, Finding};
pub(crate) use impression::Impression;
pub(crate) use look::{answers, look};
pub(crate) use question::Question;

use std::time::Duration;

/// How long to look when nobody says: three probes a second apart, and two seconds for the last answer (RFC 5227 section 1.1); routers
/// advertise once a second unless told otherwise.
pub(crate) const USUAL_TIME: Duration = Duration::from_secs(4);
