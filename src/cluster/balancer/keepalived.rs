//! keepalived moves the VIP to a control-plane node whose own API server is ready; nothing forwards.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "keepalived",
    summary: "keepalived moving the VIP straight between the API servers; no load is shared",
    place: Place::ControlPlane,
    moves_vip: true,
    proxy: None,
    overlays: &["keepalived", "keepalived-apiserver"],
};
