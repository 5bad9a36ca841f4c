//! Objects that API servers of some versions lack.

use serde_json::json;

use super::{Field, field};

/// `ClusterRole` for the API servers' way to kubelets, as later versions have it.
pub(super) static KUBELET_API_ROLE: &[Field] = &[
    field("metadata", |_| json!({ "name": "system:kubelet-api-admin" })),
    field("rules", |_| {
        let subresources = ["nodes/proxy", "nodes/metrics", "nodes/spec", "nodes/stats", "nodes/log"];
        json!([
            { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "proxy"] },
            { "apiGroups": [""], "resources": subresources, "verbs": ["*"] },
        ])
    }),
];
