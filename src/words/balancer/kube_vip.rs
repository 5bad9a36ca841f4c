//! kube-vip moves the VIP to a control-plane node that holds a lease, or announces it to routers from there; nothing forwards.

use super::{Kind, Means, Mover, Place};

pub(super) const KIND: Kind = Kind {
    name: "kube-vip",
    summary: "kube-vip as a static pod, which holds the VIP by a lease of the API, with ARP or BGP; no load is shared",
    place: Place::ControlPlane,
    mover: Mover::KubeVip,
    proxy: None,
    private_vip: false,
    service: Means::Never("it comes as an image only"),
    static_pod: Means::Overlays(&["kube-vip"]),
};
