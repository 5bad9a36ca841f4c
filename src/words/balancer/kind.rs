//! What is said of each kind of balancer, and the word for one in cluster files.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::BALANCERS;
use crate::words::Role;

/// One kind of balancer.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The word in cluster files; never renamed.
    pub(crate) name: &'static str,
    /// One line for `kiln list balancers` and editors.
    pub(crate) summary: &'static str,
    pub(crate) place: Place,
    /// What moves a VIP between the nodes that balance.
    pub(crate) mover: Mover,
    /// The overlay that listens on the endpoint's port and forwards; with none, clients reach API servers straight.
    pub(crate) proxy: Option<&'static str>,
    /// Whether every machine has the VIP for itself, where its own agents dial it.
    pub(crate) private_vip: bool,
    /// As services of the machine.
    pub(crate) service: Means,
    /// As pods that the machine's kubelet starts by itself.
    pub(crate) static_pod: Means,
}

/// What moves a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// Nothing of ours.
    Nothing,
    /// keepalived: the machines elect the holder among themselves (VRRP).
    Keepalived,
    /// kube-vip: who holds a lease of the API holds the VIP.
    KubeVip,
}

/// What one way to run a balancer takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Means {
    /// Overlays of the nodes that balance, in order.
    Overlays(&'static [&'static str]),
    /// It can't be done, and why.
    Never(&'static str),
}

/// Run what stands behind the endpoint as a service or as a pod
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Run {
    /// As services of the machine
    Service,
    /// As static pods, which the kubelet starts from images that the machine's image holds
    StaticPod,
}

/// Which nodes balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// None: what balances is not ours.
    Elsewhere,
    /// The control plane and no other machine: only API servers can be behind it.
    ControlPlane,
    /// Those with the role `lb`, or the control plane when none has it.
    Front,
    /// All that dial the API: the control plane and workers, each for itself.
    EveryNode,
}

/// The kind that a cluster chose.
#[derive(Clone, Copy)]
pub(crate) struct Balancer(&'static Kind);

impl Kind {
    pub(crate) fn moves_vip(&self) -> bool {
        self.mover != Mover::Nothing
    }

    /// What it takes to run it so.
    pub(crate) fn means(&self, run: Run) -> Means {
        match run {
            Run::Service => self.service,
            Run::StaticPod => self.static_pod,
        }
    }

    /// Overlays of the nodes that balance, in order; none where it can't run so.
    pub(crate) fn overlays(&self, run: Run) -> &'static [&'static str] {
        match self.means(run) {
            Means::Overlays(overlays) => overlays,
            Means::Never(_) => &[],
        }
    }

    /// How it runs when nobody says: as services where it can.
    pub(crate) fn usual_run(&self) -> Run {
        match (self.service, self.static_pod) {
            (Means::Never(_), Means::Overlays(_)) => Run::StaticPod,
            _ => Run::Service,
        }
    }
}

impl Run {
    /// The word in cluster files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::StaticPod => "static-pod",
        }
    }
}

impl Place {
    /// Roles whose nodes balance; `dedicated` says whether a node has the role `lb`.
    pub(crate) fn roles(self, dedicated: bool) -> &'static [Role] {
        match self {
            Self::Elsewhere => &[],
            Self::Front if dedicated => &[Role::Lb],
            Self::ControlPlane | Self::Front => &[Role::ControlPlane],
            Self::EveryNode => &[Role::ControlPlane, Role::Worker],
        }
    }

    /// Why machines with the role `lb` would have nothing to do, if they had not.
    pub(crate) fn without_lb(self) -> Option<&'static str> {
        match self {
            Self::Elsewhere => Some("what balances is not among these machines"),
            Self::ControlPlane => Some("the VIP leads straight to an API server, and machines of that role have none"),
            Self::EveryNode => Some("every machine balances for itself"),
            Self::Front => None,
        }
    }
}

impl Balancer {
    /// The kind called `name`.
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
        Self::named(&name).ok_or_else(|| serde::de::Error::custom(format!("`{name}` is no kind of balancer")))
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
