//! A balancer that is not ours: a cloud's, a hardware one, or a DNS name.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "external",
    summary: "a balancer or DNS name that kiln does not configure",
    place: Place::Elsewhere,
    mover: Mover::Nothing,
    proxy: None,
    private_vip: false,
    service: Means::Overlays(&[]),
    static_pod: Means::Never("what balances is not among these machines"),
};
