//! Ranges of ports as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Kind, Result};

/// Port of every API server on its own node; the endpoint's may differ.
pub(crate) const API_SERVER_PORT: u16 = 6443;

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
        let parse = |(first, last): (&str, &str)| Some(Self { first: first.parse().ok()?, last: last.parse().ok()? });
        let range = text.split_once('-').and_then(parse).filter(|range| range.first > 0 && range.first <= range.last);
        range.ok_or_else(|| Error::new(Kind::Input, format!("`{text}` is not a range of ports such as `30000-32767`")))
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
