//! Balancer outside the cluster: a cloud load balancer, a hardware balancer, or a DNS name.

use super::{Deployment, Kind, Mover, Placement};

pub(super) const KIND: Kind = Kind {
    name: "external",
    summary: "a balancer or DNS name that kiln does not configure",
    place: Placement::Elsewhere,
    mover: Mover::Nothing,
    proxy: None,
    private_vip: false,
    service: Deployment::Overlays(&[]),
    static_pod: Deployment::Never("it runs outside the cluster"),
};
