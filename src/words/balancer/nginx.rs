//! nginx forwards TCP and finds out that an API server is gone when it dials it; keepalived moves the VIP as with HAProxy.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "nginx",
    summary: "nginx (stream) without checks of its own, and keepalived moving the VIP, on the `lb` nodes or else the control plane",
    place: Place::Front,
    mover: Mover::Keepalived,
    proxy: Some("nginx"),
    private_vip: false,
    service: Means::Overlays(&["nginx", "nginx-service", "keepalived", "keepalived-service"]),
    static_pod: Means::Overlays(&["nginx", "nginx-pod", "keepalived", "keepalived-pod"]),
};
