//! nginx forwards TCP and finds out that an API server is gone when it dials it; keepalived moves the VIP as with HAProxy.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "nginx",
    summary: "nginx (stream) without checks of its own, and keepalived moving the VIP, on the `lb` nodes or else the control plane",
    place: Place::Front,
    moves_vip: true,
    proxy: Some("nginx"),
    overlays: &["nginx", "keepalived"],
};
