//! Configuration files that are data: one table a file, one row a field, with the versions that know it.
//!
//! Kubernetes reads them strictly: a field that a version does not know keeps the program from starting.

mod apiserver;
mod kube_proxy;
mod kubelet;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::render::context::Facts;

/// containerd's socket as the kubelet names it.
pub(super) const CONTAINERD: &str = "unix:///run/containerd/containerd.sock";

/// One field of a configuration file.
struct Field {
    name: &'static str,
    /// First Kubernetes minor version that knows it.
    since: u32,
    /// Last one.
    until: u32,
    value: fn(&Facts<'_>) -> Value,
}

/// One file's name in templates and its table.
struct File {
    name: &'static str,
    fields: &'static [Field],
}

/// Every file that is written from data.
static FILES: &[File] = &[
    File { name: "kubelet", fields: kubelet::FIELDS },
    File { name: "kube_proxy", fields: kube_proxy::FIELDS },
    File { name: "authentication", fields: apiserver::AUTHENTICATION },
    File { name: "encryption", fields: apiserver::ENCRYPTION },
];

/// Each file's fields for the cluster's version, by the file's name in templates; a file without fields is `null`.
pub(super) fn all(facts: &Facts<'_>) -> BTreeMap<&'static str, Value> {
    FILES.iter().map(|file| (file.name, file.on(facts))).collect()
}

impl File {
    fn on(&self, facts: &Facts<'_>) -> Value {
        let minor = facts.cluster.kubernetes.minor;
        let wanted = self.fields.iter().filter(|field| (field.since..=field.until).contains(&minor));
        let fields: Map<String, Value> = wanted.map(|field| (field.name.to_owned(), (field.value)(facts))).collect();
        if fields.is_empty() { Value::Null } else { Value::Object(fields) }
    }
}

impl Field {
    const fn since(mut self, minor: u32) -> Self {
        self.since = minor;
        self
    }

    const fn until(mut self, minor: u32) -> Self {
        self.until = minor;
        self
    }
}

const fn field(name: &'static str, value: fn(&Facts<'_>) -> Value) -> Field {
    Field { name, since: 0, until: u32::MAX, value }
}
