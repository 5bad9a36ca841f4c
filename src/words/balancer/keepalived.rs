//! keepalived moves the VIP to a control-plane node whose own API server is ready; there is no proxy.

use super::{Deployment, Kind, Mover, Placement};

pub(super) const KIND: Kind = Kind {
    name: "keepalived",
    summary: "VIP moved by keepalived directly between the API servers; no load balancing",
    place: Placement::ControlPlane,
    mover: Mover::Keepalived,
    proxy: None,
    private_vip: false,
    service: Deployment::Overlays(&["keepalived", "keepalived-service", "keepalived-apiserver"]),
    static_pod: Deployment::Overlays(&["keepalived", "keepalived-pod", "keepalived-apiserver"]),
};
