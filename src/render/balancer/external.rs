//! A balancer that is not ours: a cloud's, a hardware one, or a DNS name.

use serde_json::json;

use super::Kind;
use crate::cluster::Balancer;

pub(super) const KIND: Kind = Kind {
    balancer: Balancer::External,
    name: "external",
    summary: "a balancer or DNS name that kiln does not configure",
    overlays: &[],
    check: |_| Ok(()),
    data: |_| json!({}),
};
