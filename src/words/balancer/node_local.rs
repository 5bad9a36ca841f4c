//! Every machine that dials the API has a proxy of its own on loopback, which knows all API servers; nothing moves.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "node-local",
    summary: "HAProxy on every machine for its own kubelet and kube-proxy, and no VIP",
    place: Place::EveryNode,
    mover: Mover::Nothing,
    proxy: Some("haproxy"),
    private_vip: false,
    service: Means::Overlays(&["haproxy", "haproxy-service"]),
    static_pod: Means::Overlays(&["haproxy", "haproxy-pod"]),
};

pub(super) const IPVS: Kind = Kind {
    name: "node-local-ipvs",
    summary: "IPVS on every machine for its own kubelet and kube-proxy, at a VIP that each has for itself; IPVS is deprecated in Kubernetes",
    proxy: Some("ipvs"),
    private_vip: true,
    service: Means::Overlays(&["ipvs"]),
    static_pod: Means::Never("rules of IPVS are the machine's own"),
    ..KIND
};

pub(super) const NGINX: Kind = Kind {
    name: "node-local-nginx",
    summary: "nginx (stream) on every machine for its own kubelet and kube-proxy, and no VIP",
    proxy: Some("nginx"),
    service: Means::Overlays(&["nginx", "nginx-service"]),
    static_pod: Means::Overlays(&["nginx", "nginx-pod"]),
    ..KIND
};
