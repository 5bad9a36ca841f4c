//! What gives pods addresses and leads packets between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::{Companion, Part, Role};

/// A network plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NetworkPlugin {
    /// A bridge on every node and routes between nodes, which share a segment
    Bridge,
    /// flannel, from its images: VXLAN between nodes of any segments, from Kubernetes 1.9 on
    Flannel,
    /// Nothing: what is applied to the cluster brings one
    #[default]
    None,
}

impl NetworkPlugin {
    /// The overlays of machines with a role, and with a kubelet or without.
    pub(crate) fn overlays(self, role: Role, has_kubelet: bool) -> &'static [&'static str] {
        match (self, role, has_kubelet) {
            (Self::Bridge, _, true) => &["cni-bridge"],
            // API servers dial webhooks and metrics in pods.
            (Self::Bridge, Role::ControlPlane, false) => &["pod-routes"],
            (Self::Flannel, Role::ControlPlane, true) => &["flannel-node", "flannel"],
            (Self::Flannel, Role::ControlPlane, false) => &["flannel"],
            (Self::Flannel, _, true) => &["flannel-node"],
            _ => &[],
        }
    }

    /// The `x` of the first Kubernetes 1.x that takes what is applied for it.
    pub(crate) fn since(self) -> u32 {
        let applied = (self == Self::Flannel).then_some(Part::Flannel);
        applied.and_then(Companion::first).unwrap_or_default()
    }
}
