//! Who else is on the segment: what no file can show.

use crate::lint::Lint;
use crate::segment::About;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA344", "somebody else has the VIP")
        .why("two machines answer for one address, and each client reaches the one whose answer it heard last: some reach the API, others a stranger who gets their credentials")
        .fix("take the address from whoever has it, or choose a free one for `vip`")
        .segment(About::Vip),
    Lint::warning("HA345", "somebody else has the virtual router identifier")
        .why("kiln's nodes speak to each other alone and drop what strangers say, but who listens to everybody takes both clusters for one, follows the higher priority, and fills its log")
        .fix("set `virtual-router-id` to a number that nobody has")
        .segment(About::Router),
];

/// The setting that would have to change.
pub(super) fn field(about: About) -> &'static str {
    match about {
        About::Vip => "endpoint.vip",
        About::Router => "endpoint.virtual-router-id",
    }
}
