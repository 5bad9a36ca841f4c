//! etcd's version: the suite's, or one that the cluster file names, whose programs come from a release archive.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Kind, Result};
use crate::words::{BinarySource, Companion, Part};

/// A released version of etcd: `3.4.13`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EtcdVersion {
    /// The `y` of 3.y.
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl EtcdVersion {
    /// The `3.y` whose flags and companions the tables know.
    pub(crate) const MINORS: RangeInclusive<u32> = 1..=6;

    /// Where the project publishes its programs.
    pub(crate) fn archive(self) -> BinarySource {
        let url = format!("https://github.com/etcd-io/etcd/releases/download/v{self}/etcd-v{self}-linux-amd64.tar.gz");
        BinarySource::Archive { url, sha256: None }
    }

    /// Its row in the table of companions.
    pub(crate) fn companion(self) -> Option<&'static Companion> {
        Companion::find(Part::Etcd, &format!("3.{}", self.minor))
    }
}

/// Which founders a new etcd cluster takes
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Founders {
    /// All of them: a machine that is missing at the first boot is waited for
    #[default]
    All,
    /// More than half: an empty cluster may begin while the data of a machine that is off are intact
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
        .ok_or_else(|| Error::new(Kind::Input, format!("`{text}` is not a version of etcd such as `3.5.21`")))
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
