//! HAProxy checks the health of every API server; keepalived moves the VIP to a node whose HAProxy has a
//! ready API server.

use super::{Deployment, Kind, Mover, Placement};

pub(super) const KIND: Kind = Kind {
    name: "haproxy",
    summary: "HAProxy with health checks and a VIP moved by keepalived, on the `lb` nodes, or on the \
        control-plane nodes if there are none",
    place: Placement::Front,
    mover: Mover::Keepalived,
    proxy: Some("haproxy"),
    private_vip: false,
    service: Deployment::Overlays(&["haproxy", "haproxy-service", "keepalived", "keepalived-service"]),
    static_pod: Deployment::Overlays(&["haproxy", "haproxy-pod", "keepalived", "keepalived-pod"]),
};
