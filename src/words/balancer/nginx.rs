//! nginx forwards TCP and notices a failed API server only when it connects to it; keepalived moves the VIP
//! as with HAProxy.

use super::{Deployment, Kind, Mover, Placement};

pub(super) const KIND: Kind = Kind {
    name: "nginx",
    summary: "nginx (stream) without active health checks, with a VIP moved by keepalived, on the `lb` \
        nodes, or on the control-plane nodes if there are none",
    place: Placement::Front,
    mover: Mover::Keepalived,
    proxy: Some("nginx"),
    private_vip: false,
    service: Deployment::Overlays(&["nginx", "nginx-service", "keepalived", "keepalived-service"]),
    static_pod: Deployment::Overlays(&["nginx", "nginx-pod", "keepalived", "keepalived-pod"]),
};
