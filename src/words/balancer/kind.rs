//! Properties of each kind of balancer, and its name in cluster files.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::BALANCERS;
use crate::words::Role;

/// A kind of balancer.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Name in cluster files; never renamed.
    pub(crate) name: &'static str,
    /// One-line description for `kiln list balancers` and editors.
    pub(crate) summary: &'static str,
    pub(crate) place: Placement,
    /// Program that moves a VIP between the balancing nodes.
    pub(crate) mover: Mover,
    /// Overlay that listens on the endpoint's port and forwards; without one, clients connect directly to API
    /// servers.
    pub(crate) proxy: Option<&'static str>,
    /// True if the VIP is local to every machine, for the machine's own agents.
    pub(crate) private_vip: bool,
    /// Deployment as services of the machine.
    pub(crate) service: Deployment,
    /// Deployment as static pods of the machine's kubelet.
    pub(crate) static_pod: Deployment,
}

/// Program that moves a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// No program of the cluster.
    Nothing,
    /// keepalived: the machines elect the holder among themselves (VRRP).
    Keepalived,
    /// kube-vip: the holder of a lease in the API holds the VIP.
    KubeVip,
}

/// Requirements for one way to run a balancer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deployment {
    /// Overlays of the balancing nodes, in order.
    Overlays(&'static [&'static str]),
    /// Why this way is not possible.
    Never(&'static str),
}

/// Run the endpoint's balancer as a service or as a pod
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Run {
    /// As system services
    Service,
    /// As static pods, which the kubelet starts from container images in the machine's image
    StaticPod,
}

/// Nodes that run the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// None: the balancer is outside the cluster.
    Elsewhere,
    /// The control plane only: the VIP points directly at API servers.
    ControlPlane,
    /// Nodes with the role `lb`, or the control plane if no node has that role.
    Front,
    /// All nodes that use the API: the control plane and workers, each for itself.
    EveryNode,
}

/// Kind of balancer of a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Balancer(&'static Kind);

impl Kind {
    pub(crate) fn moves_vip(&self) -> bool {
        self.mover != Mover::Nothing
    }

    /// Returns the requirements for running the balancer in this way.
    pub(crate) fn means(&self, run: Run) -> Deployment {
        match run {
            Run::Service => self.service,
            Run::StaticPod => self.static_pod,
        }
    }

    /// Returns the overlays of the balancing nodes, in order; empty if the balancer can't run in this way.
    pub(crate) fn overlays(&self, run: Run) -> &'static [&'static str] {
        match self.means(run) {
            Deployment::Overlays(overlays) => overlays,
            Deployment::Never(_) => &[],
        }
    }

    /// Returns the default way to run the balancer: as services if possible.
    pub(crate) fn usual_run(&self) -> Run {
        match (self.service, self.static_pod) {
            (Deployment::Never(_), Deployment::Overlays(_)) => Run::StaticPod,
            _ => Run::Service,
        }
    }
}

impl Run {
    /// Returns the name in cluster files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::StaticPod => "static-pod",
        }
    }
}

impl Placement {
    /// Returns the roles whose nodes run the balancer; `dedicated` is true if a node has the role `lb`.
    pub(crate) fn roles(self, dedicated: bool) -> &'static [Role] {
        match self {
            Self::Elsewhere => &[],
            Self::Front if dedicated => &[Role::Lb],
            Self::ControlPlane | Self::Front => &[Role::ControlPlane],
            Self::EveryNode => &[Role::ControlPlane, Role::Worker],
        }
    }

    /// Returns why machines with the role `lb` would be unused; `None` if they are used.
    pub(crate) fn without_lb(self) -> Option<&'static str> {
        match self {
            Self::Elsewhere => Some("it runs outside the cluster"),
            Self::ControlPlane => {
                Some("the VIP points directly at an API server, and `lb` machines do not run one")
            }
            Self::EveryNode => Some("every machine runs its own balancer"),
            Self::Front => None,
        }
    }
}

impl Balancer {
    /// Returns the kind called `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        BALANCERS.iter().find(|kind| kind.name == name).map(Self)
    }
}

impl Default for Balancer {
    fn default() -> Self {
        Self(&BALANCERS[0])
    }
}

impl Deref for Balancer {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        self.0
    }
}

impl PartialEq for Balancer {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Balancer {}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Balancer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Balancer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown balancer `{name}`")))
    }
}

impl JsonSchema for Balancer {
    fn schema_name() -> Cow<'static, str> {
        "Balancer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let word = |kind: &Kind| json!({ "type": "string", "const": kind.name, "description": kind.summary });
        json_schema!({ "oneOf": BALANCERS.iter().map(word).collect::<Vec<_>>() })
    }
}
