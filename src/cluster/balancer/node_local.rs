//! Every machine that dials the API has a proxy of its own on loopback, which knows all API servers; nothing moves.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "node-local",
    summary: "HAProxy on every machine for its own kubelet and kube-proxy, and no VIP",
    place: Place::EveryNode,
    mover: Mover::Nothing,
    proxy: Some("haproxy"),
    service: Means::Overlays(&["haproxy", "haproxy-service"]),
    static_pod: Means::Overlays(&["haproxy", "haproxy-pod"]),
};

pub(super) const NGINX: Kind = Kind {
    name: "node-local-nginx",
    summary: "nginx (stream) on every machine for its own kubelet and kube-proxy, and no VIP",
    proxy: Some("nginx"),
    service: Means::Overlays(&["nginx"]),
    static_pod: Means::Never("no static pod of nginx is known to kiln; `haproxy` has one"),
    ..KIND
};
