//! A balancer that is not ours: a cloud's, a hardware one, or a DNS name.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "external",
    summary: "a balancer or DNS name that kiln does not configure",
    place: Place::Elsewhere,
    moves_vip: false,
    proxy: None,
    overlays: &[],
};
