//! What machines do.

use serde::{Deserialize, Serialize};

/// What a node does; a node may hold several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("enum" = ["control-plane", "master", "etcd", "lb", "worker"]))]
pub(crate) enum Role {
    #[serde(alias = "master")]
    ControlPlane,
    Etcd,
    Lb,
    Worker,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::ControlPlane, Self::Etcd, Self::Lb, Self::Worker];

    /// The word in cluster files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Etcd => "etcd",
            Self::Lb => "lb",
            Self::Worker => "worker",
        }
    }
}
