//! Kubernetes versions in text form.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Kind, Result};

/// A released Kubernetes version: `1.20.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KubernetesVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl KubernetesVersion {
    /// Range of `x` in Kubernetes 1.x for which the tables contain flags, API versions and compatible
    /// versions.
    pub(crate) const MINORS: RangeInclusive<u32> = 6..=36;

    /// Checks whether the version is `1.minor` or later.
    pub(crate) fn at_least(self, minor: u32) -> bool {
        (self.major, self.minor) >= (1, minor)
    }
}

impl FromStr for KubernetesVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<u32> =
            text.strip_prefix('v').unwrap_or(text).split('.').map_while(|part| part.parse().ok()).collect();
        let written_back = |version: &Self| version.to_string() == text.strip_prefix('v').unwrap_or(text);
        match parts[..] {
            [major, minor, patch] => Some(Self { major, minor, patch }).filter(written_back),
            _ => None,
        }
        .ok_or_else(|| {
            Error::new(Kind::Input, format!("`{text}` is not a Kubernetes version such as `1.20.2`"))
        })
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for KubernetesVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KubernetesVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
