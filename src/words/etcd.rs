//! etcd version: the version in the suite, or one set in the cluster file, for which the programs come from a
//! release archive.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Kind, Result};
use crate::words::{Arch, BinarySource, Companion, Component};

/// Minimum time between two leadership transfers by the same agent; otherwise, leadership would circulate if
/// all disks are slow.
pub(crate) const LEADERSHIP_PAUSE: Duration = Duration::from_secs(600);

/// A released etcd version: `3.4.13`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EtcdVersion {
    /// Minor version, the `y` of 3.y.
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl EtcdVersion {
    /// Range of `y` in etcd 3.y for which the tables contain flags and compatible versions.
    pub(crate) const MINORS: RangeInclusive<u32> = 1..=6;

    /// Returns the etcd project's release archive for this version.
    pub(crate) fn archive(self, arch: Arch) -> BinarySource {
        let url = format!(
            "https://github.com/etcd-io/etcd/releases/download/v{self}/etcd-v{self}-linux-{arch}.tar.gz"
        );
        BinarySource::Archive { url, sha256: None }
    }

    /// Returns the version's row in the compatibility table.
    pub(crate) fn companion(self) -> Option<&'static Companion> {
        Companion::find(Component::Etcd, &format!("3.{}", self.minor))
    }
}

/// Members that must be present to bootstrap a new etcd cluster
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Founders {
    /// All members: if a machine is missing at the first boot, the others wait for it
    #[default]
    All,
    /// A majority: an empty cluster may start even though a machine that is powered off has intact data
    Majority,
}

impl FromStr for EtcdVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<u32> = text.split('.').map_while(|part| part.parse().ok()).collect();
        match numbers[..] {
            [3, minor, patch] => Some(Self { minor, patch }).filter(|version| version.to_string() == text),
            _ => None,
        }
        .ok_or_else(|| Error::new(Kind::Input, format!("`{text}` is not an etcd version such as `3.5.21`")))
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}.{}", self.minor, self.patch)
    }
}

impl Serialize for EtcdVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EtcdVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
