//! Every machine that dials the API has a proxy of its own on loopback, which knows all API servers; nothing moves.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "node-local",
    summary: "HAProxy on every machine for its own kubelet and kube-proxy, and no VIP",
    place: Place::EveryNode,
    moves_vip: false,
    proxy: Some("haproxy"),
    overlays: &["haproxy"],
};

pub(super) const NGINX: Kind = Kind {
    name: "node-local-nginx",
    summary: "nginx (stream) on every machine for its own kubelet and kube-proxy, and no VIP",
    proxy: Some("nginx"),
    overlays: &["nginx"],
    ..KIND
};
