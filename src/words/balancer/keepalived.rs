//! keepalived moves the VIP to a control-plane node whose own API server is ready; nothing forwards.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "keepalived",
    summary: "keepalived moving the VIP straight between the API servers; no load is shared",
    place: Place::ControlPlane,
    mover: Mover::Keepalived,
    proxy: None,
    private_vip: false,
    service: Means::Overlays(&["keepalived", "keepalived-service", "keepalived-apiserver"]),
    static_pod: Means::Overlays(&["keepalived", "keepalived-pod", "keepalived-apiserver"]),
};
