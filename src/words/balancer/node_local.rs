//! Every machine that uses the API has its own proxy on loopback, which forwards to all API servers; no VIP
//! moves.

use super::{Deployment, Kind, Mover, Placement};

pub(super) const KIND: Kind = Kind {
    name: "node-local",
    summary: "HAProxy on every machine for the local kubelet and kube-proxy, without a VIP",
    place: Placement::EveryNode,
    mover: Mover::Nothing,
    proxy: Some("haproxy"),
    private_vip: false,
    service: Deployment::Overlays(&["haproxy", "haproxy-service"]),
    static_pod: Deployment::Overlays(&["haproxy", "haproxy-pod"]),
};

pub(super) const IPVS: Kind = Kind {
    name: "node-local-ipvs",
    summary: "IPVS on every machine for the local kubelet and kube-proxy, with a VIP local to each machine; \
        IPVS is deprecated in Kubernetes",
    proxy: Some("ipvs"),
    private_vip: true,
    service: Deployment::Overlays(&["ipvs"]),
    static_pod: Deployment::Never("IPVS rules belong to the machine, not to a pod"),
    ..KIND
};

pub(super) const NGINX: Kind = Kind {
    name: "node-local-nginx",
    summary: "nginx (stream) on every machine for the local kubelet and kube-proxy, without a VIP",
    proxy: Some("nginx"),
    service: Deployment::Overlays(&["nginx", "nginx-service"]),
    static_pod: Deployment::Overlays(&["nginx", "nginx-pod"]),
    ..KIND
};
