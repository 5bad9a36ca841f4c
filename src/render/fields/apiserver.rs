//! Files of kube-apiserver that are data. The encryption key is put in by the template that may see it.

use serde_json::json;

use super::{Field, field};

/// `Policy`: what it says of all its rules, which stand in the template.
pub(super) static AUDIT: &[Field] = &[field("omitStages", |_| json!(["RequestReceived"])).since(9)];

/// `AuthenticationConfiguration`: anonymous requests reach the health endpoints and nothing else.
pub(super) static AUTHENTICATION: &[Field] = &[field(
    "anonymous",
    |_| json!({ "enabled": true, "conditions": [{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }] }),
)];

/// `EncryptionConfiguration`: nothing but its head; the template that may see the key has the rest.
pub(super) static ENCRYPTION: &[Field] = &[];
