//! Fixed ports of components, and port ranges in text form.

use std::fmt;
use std::str::FromStr;

use serde::de::{IntoDeserializer, Unexpected, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Kind, Result};

/// Component with a fixed TCP port, the same on every machine. `overlay.toml` uses the name in place of the
/// number, and templates read `computed.ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all(serialize = "snake_case", deserialize = "kebab-case"))]
#[repr(u16)]
pub(crate) enum Service {
    /// An API server on its own node; the endpoint's port may differ.
    ApiServer = 6443,
    ControllerManager = 10257,
    Scheduler = 10259,
    Kubelet = 10250,
    KubeletHealth = 10248,
    KubeProxyHealth = 10256,
    KubeProxyMetrics = 10249,
    /// etcd, for clients.
    Etcd = 2379,
    EtcdPeers = 2380,
    /// etcd's health and metrics, without TLS on loopback.
    EtcdMetrics = 2381,
    /// The agent of an etcd member, for other members.
    EtcdAgent = 2382,
    /// The agent of an etcd member, for snapshot readers.
    EtcdSnapshots = 2383,
    /// A balancer's own health, on loopback.
    BalancerHealth = 8405,
}

impl Service {
    pub(crate) const ALL: [Self; 13] = [
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::KubeletHealth,
        Self::KubeProxyHealth,
        Self::KubeProxyMetrics,
        Self::Etcd,
        Self::EtcdPeers,
        Self::EtcdMetrics,
        Self::EtcdAgent,
        Self::EtcdSnapshots,
        Self::BalancerHealth,
    ];

    pub(crate) const fn port(self) -> u16 {
        self as u16
    }

    /// Deserializes a port that is written as a number or as the name of a component.
    pub(crate) fn port_or_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
        deserializer.deserialize_any(PortOrName)
    }
}

/// Reads a port or a component's name.
struct PortOrName;

impl Visitor<'_> for PortOrName {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port, or the name of a component with a fixed port")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u16, E> {
        u16::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<u16, E> {
        let named: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
        Service::deserialize(named).map(Service::port).map_err(E::custom)
    }
}

/// An inclusive range of ports: `30000-32767`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl PortRange {
    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse =
            |(first, last): (&str, &str)| Some(Self { first: first.parse().ok()?, last: last.parse().ok()? });
        let range =
            text.split_once('-').and_then(parse).filter(|range| range.first > 0 && range.first <= range.last);
        range.ok_or_else(|| {
            Error::new(Kind::Input, format!("`{text}` is not a port range such as `30000-32767`"))
        })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
