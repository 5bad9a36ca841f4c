//! RBAC objects that API servers of some versions do not create.

use serde_json::json;

use super::{Field, field};

/// `ClusterRole` for API servers' access to kubelets, as in later versions.
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
