//! Lints for other machines on the segment, which files can't reveal.

use crate::lint::Lint;
use crate::segment::About;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA344", "another machine already has the VIP")
        .why(
            "two machines claim the same address, and each client uses whichever responded last: some \
            clients reach the API, but others send their credentials to an unknown machine",
        )
        .fix("remove the address from the other machine, or set `vip` to a free address")
        .segment(About::Vip),
    Lint::warning("HA345", "another router uses the same virtual router identifier")
        .why(
            "kiln's nodes use unicast and drop packets from other routers, but a router that accepts all \
            packets treats both clusters as one, yields to the higher priority, and fills its log",
        )
        .fix("set `virtual-router-id` to an unused number")
        .segment(About::Router),
];

/// Returns the setting to change.
pub(super) fn field(about: About) -> &'static str {
    match about {
        About::Vip => "endpoint.vip",
        About::Router => "endpoint.virtual-router-id",
    }
}
