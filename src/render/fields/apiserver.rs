//! Files of kube-apiserver that are data. The encryption key is put in by the template that may see it.

use serde_json::json;

use super::{Field, field};

/// `AuthenticationConfiguration`: anonymous requests reach the health endpoints and nothing else.
pub(super) static AUTHENTICATION: &[Field] = &[
    field("apiVersion", |_| json!("apiserver.config.k8s.io/v1")).since(34),
    field("kind", |_| json!("AuthenticationConfiguration")).since(34),
    field("anonymous", |_| json!({ "enabled": true, "conditions": [{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }] }))
        .since(34),
];

/// The head of `EncryptionConfiguration`, which was another kind before 1.13.
pub(super) static ENCRYPTION: &[Field] = &[
    field("apiVersion", |_| json!("v1")).until(12),
    field("kind", |_| json!("EncryptionConfig")).until(12),
    field("apiVersion", |_| json!("apiserver.config.k8s.io/v1")).since(13),
    field("kind", |_| json!("EncryptionConfiguration")).since(13),
];
