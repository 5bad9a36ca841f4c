//! kube-vip moves the VIP to the control-plane node that holds a lease, or announces it to routers from
//! that node; there is no proxy.

use super::{Deployment, Kind, Mover, Placement};

pub(super) const KIND: Kind = Kind {
    name: "kube-vip",
    summary: "kube-vip as a static pod: the holder of a lease in the API announces the VIP by ARP or BGP; \
        no load balancing",
    place: Placement::ControlPlane,
    mover: Mover::KubeVip,
    proxy: None,
    private_vip: false,
    service: Deployment::Never("it is available only as a container image"),
    static_pod: Deployment::Overlays(&["kube-vip"]),
};
