//! HAProxy asks every API server for its health; keepalived moves the VIP to a node whose HAProxy sees a ready one.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "haproxy",
    summary: "HAProxy with health checks, and keepalived moving the VIP, on the `lb` nodes or else the control plane",
    place: Place::Front,
    mover: Mover::Keepalived,
    proxy: Some("haproxy"),
    private_vip: false,
    service: Means::Overlays(&["haproxy", "haproxy-service", "keepalived", "keepalived-service"]),
    static_pod: Means::Overlays(&["haproxy", "haproxy-pod", "keepalived", "keepalived-pod"]),
};
