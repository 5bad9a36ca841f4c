//! Configuration files as data: one table per file, one row per field, with the versions that accept it.
//!
//! Kubernetes parses them strictly: a program does not start if the file contains a field that its version
//! does not know.

mod apiserver;
mod kube_proxy;
mod kubeadm;
mod kubelet;
mod rbac;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::render::context::NodeContext;
use crate::render::kinds;
use crate::words::Span;

/// One field of a configuration file.
struct Field {
    name: &'static str,
    /// Kubernetes minor versions for which the field is written.
    span: Span,
    value: fn(&NodeContext<'_>) -> Value,
}

/// A file: its name in templates, and its table.
struct File {
    name: &'static str,
    /// Name of the file's kind.
    kind: &'static str,
    fields: &'static [Field],
    /// Fields to omit because they differ between nodes, in a file that all nodes share.
    without: &'static [&'static str],
}

/// Files generated from data.
static FILES: &[File] = &[
    file("kubelet", kubelet::FIELDS),
    file("kube_proxy", kube_proxy::FIELDS),
    file("audit", apiserver::AUDIT),
    file("authentication", apiserver::AUTHENTICATION),
    file("encryption", apiserver::ENCRYPTION),
    file("kubelet_api_role", rbac::KUBELET_API_ROLE),
    file("kubeadm_cluster", kubeadm::CLUSTER),
    file("kubeadm_init", kubeadm::INIT),
    file("kubeadm_join", kubeadm::JOIN),
    File {
        name: "kubeadm_kubelet",
        without: &["address", "registerWithTaints"],
        ..file("kubelet", kubelet::FIELDS)
    },
    File {
        name: "kubeadm_kube_proxy",
        without: &["clientConnection", "hostnameOverride", "healthzBindAddress"],
        ..file("kube_proxy", kube_proxy::FIELDS)
    },
];

/// Creates a file whose kind has the same name.
const fn file(name: &'static str, fields: &'static [Field]) -> File {
    File { name, kind: name, fields, without: &[] }
}

/// Returns each file's fields for the cluster's version, keyed by the file's name in templates; `null` if the
/// version does not read the file.
pub(super) fn all(context: &NodeContext<'_>) -> BTreeMap<&'static str, Value> {
    FILES.iter().map(|file| (file.name, file.on(context))).collect()
}

impl File {
    fn on(&self, context: &NodeContext<'_>) -> Value {
        let minor = context.cluster.kubernetes.minor;
        let Some(kind) = kinds::of(self.kind, minor) else { return Value::Null };
        let head = [("apiVersion", Value::from(kind.api_version)), ("kind", Value::from(kind.kind))];
        let fields = self.fields.iter().filter(|field| field.span.covers(minor));
        let fields = fields
            .filter(|field| !self.without.contains(&field.name))
            .map(|field| (field.name, (field.value)(context)));
        // A field without a value is omitted.
        let fields = fields.filter(|(_, value)| !value.is_null());
        head.into_iter()
            .chain(fields)
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>()
            .into()
    }
}

impl Field {
    const fn since(mut self, minor: u32) -> Self {
        self.span.introduced = minor;
        self
    }

    const fn before(mut self, minor: u32) -> Self {
        self.span.removed = Some(minor);
        self
    }
}

const fn field(name: &'static str, value: fn(&NodeContext<'_>) -> Value) -> Field {
    Field { name, span: Span::ALWAYS, value }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::FILES;
    use crate::render::kinds;
    use crate::words::KubernetesVersion;

    #[test]
    fn no_version_gets_a_field_twice_and_no_row_ends_before_it_begins() {
        for file in FILES {
            assert!(file.fields.iter().all(|field| field.span.is_in_order()), "{}", file.name);
            for minor in KubernetesVersion::MINORS {
                let fields = file.fields.iter().filter(|field| field.span.covers(minor));
                let names: Vec<&str> = fields.map(|field| field.name).collect();
                assert_eq!(
                    names.len(),
                    names.iter().collect::<BTreeSet<_>>().len(),
                    "{} in 1.{minor}: {names:?}",
                    file.name
                );
            }
        }
    }

    #[test]
    fn what_is_left_out_would_be_there() {
        for file in FILES {
            for name in file.without {
                assert!(
                    file.fields.iter().any(|field| field.name == *name),
                    "{} has no `{name}` to leave out",
                    file.name
                );
            }
        }
    }

    #[test]
    fn every_file_is_of_a_kind() {
        for file in FILES {
            assert!(
                KubernetesVersion::MINORS.into_iter().any(|minor| kinds::of(file.kind, minor).is_some()),
                "{}",
                file.name
            );
        }
    }
}
