//! Machine roles.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Role of a node; a node may have several roles.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
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

    /// Returns the name of the image for machines with these roles: the role names joined with `+`.
    pub(crate) fn image(roles: &BTreeSet<Self>) -> String {
        roles.iter().map(|role| role.name()).collect::<Vec<_>>().join("+")
    }

    /// Returns the name in cluster files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Etcd => "etcd",
            Self::Lb => "lb",
            Self::Worker => "worker",
        }
    }
}
