//! Configuration files of kube-apiserver. The encryption key is added by the template that has access to it.

use serde_json::json;

use super::{Field, field};

/// `Policy`: settings for all rules; the rules are in the template.
pub(super) static AUDIT: &[Field] = &[field("omitStages", |_| json!(["RequestReceived"])).since(9)];

/// `AuthenticationConfiguration`: anonymous requests reach only the health endpoints.
pub(super) static AUTHENTICATION: &[Field] = &[field(
    "anonymous",
    |_| json!({ "enabled": true, "conditions": [{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }] }),
)];

/// `EncryptionConfiguration`: only the header; the template with access to the key contains the rest.
pub(super) static ENCRYPTION: &[Field] = &[];
