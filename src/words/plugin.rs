//! Network plugins: they assign pod addresses and route packets between pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::{Companion, Component, Role};

/// A network plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NetworkPlugin {
    /// A bridge on every node, and routes between the nodes, which must be on the same network segment
    Bridge,
    /// flannel, from container images: VXLAN between nodes on any segments; Kubernetes 1.9 or higher
    Flannel,
    /// No plugin: install one in the cluster later
    #[default]
    None,
}

impl NetworkPlugin {
    /// Returns the overlays of machines with a role, with or without a kubelet.
    pub(crate) fn overlays(self, role: Role, has_kubelet: bool) -> &'static [&'static str] {
        match (self, role, has_kubelet) {
            (Self::Bridge, _, true) => &["cni-bridge"],
            // API servers connect to webhooks and metrics in pods.
            (Self::Bridge, Role::ControlPlane, false) => &["pod-routes"],
            (Self::Flannel, Role::ControlPlane, true) => &["flannel-node", "flannel"],
            (Self::Flannel, Role::ControlPlane, false) => &["flannel"],
            (Self::Flannel, _, true) => &["flannel-node"],
            _ => &[],
        }
    }

    /// Returns the `x` of the first Kubernetes 1.x that supports the plugin's objects.
    pub(crate) fn since(self) -> u32 {
        let applied = (self == Self::Flannel).then_some(Component::Flannel);
        applied.and_then(Companion::first).unwrap_or_default()
    }
}
