//! OUTPUTS: the formats that a build writes, one row per format. Schema, help, docs and checks read the
//! table; `output::FORMATS` contains the implementation of each format.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use crate::error::{Error, Kind as ErrorKind, Result};

/// A format.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Name in cluster files; kebab-case, never renamed.
    pub(crate) name: &'static str,
    /// One-line description for `kiln list outputs`, editors and docs.
    pub(crate) summary: &'static str,
    pub(crate) needs: Needs,
    /// Paths of the format's files in an output directory.
    pub(crate) makes: &'static [&'static str],
}

/// Parts of role images that a format needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// None: the format is for stock systems.
    Nothing,
    /// The parts of each role image.
    Parts,
    /// A disk image per role, on which the nodes' disks are based.
    Disk,
}

/// Formats, in the order in which they are packed and listed.
pub(crate) static OUTPUTS: &[Kind] = &[
    Kind {
        name: "raw",
        summary: "raw disk image per role; a node's disk shares the image's data or is an overlay on the \
            image",
        needs: Needs::Disk,
        makes: &["images/ROLE.raw", "nodes/NODE/NODE.raw or .qcow2"],
    },
    Kind {
        name: "qcow2",
        summary: "qcow2 disk image per role; a node's disk is an overlay on the image",
        needs: Needs::Disk,
        makes: &["images/ROLE.qcow2", "nodes/NODE/NODE.qcow2"],
    },
    Kind {
        name: "dir",
        summary: "parts of each role image as separate files: root filesystem, hash tree, root hash, UKI",
        needs: Needs::Parts,
        makes: &["images/ROLE/root.*", "images/ROLE/kiln.efi"],
    },
    Kind {
        name: "cloud-init",
        summary: "user-data and a NoCloud volume per node, for a stock Debian image",
        needs: Needs::Nothing,
        makes: &["nodes/NODE/user-data, meta-data, network-config", "nodes/NODE/cidata.img"],
    },
];

/// Output format named in a cluster file.
#[derive(Clone, Copy)]
pub(crate) struct Output(&'static Kind);

impl Output {
    /// Returns every format.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        OUTPUTS.iter().map(Self)
    }

    /// Returns the names of the formats that need no role image.
    pub(crate) fn stock() -> impl Iterator<Item = &'static str> {
        OUTPUTS.iter().filter(|kind| !kind.needs_images()).map(|kind| kind.name)
    }
}

impl Kind {
    /// Checks whether the format is built from role images.
    pub(crate) fn needs_images(&self) -> bool {
        self.needs != Needs::Nothing
    }
}

impl FromStr for Output {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = OUTPUTS.iter().find(|kind| kind.name == name).map(Self);
        found.ok_or_else(|| {
            let known: Vec<&str> = OUTPUTS.iter().map(|kind| kind.name).collect();
            let error = Error::new(ErrorKind::Input, format!("unknown output format `{name}`"));
            error.hint(format!("choose one of {}", known.join(", ")))
        })
    }
}

impl Deref for Output {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        self.0
    }
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Output {}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Output {
    fn schema_name() -> Cow<'static, str> {
        "Output".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let word = |kind: &Kind| json!({ "type": "string", "const": kind.name, "description": kind.summary });
        json_schema!({ "oneOf": OUTPUTS.iter().map(word).collect::<Vec<_>>() })
    }
}
