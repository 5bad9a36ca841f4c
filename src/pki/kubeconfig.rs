//! kubeconfig files, emitted from structs (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::Result;
use crate::pki::files::Credential;
use crate::yaml;

/// A kubeconfig with one cluster, one user and one context, and all certificates and keys embedded.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Kubeconfig {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    clusters: [Named<Inner<ClusterEntry>>; 1],
    contexts: [Named<Inner<ContextEntry>>; 1],
    current_context: String,
    users: [Named<Inner<UserEntry>>; 1],
}

#[derive(Serialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    value: T,
}

/// Entry under the key of its list: `cluster`, `context` or `user`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Inner<T> {
    Cluster(T),
    Context(T),
    User(T),
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry {
    certificate_authority_data: String,
    server: String,
}

#[derive(Serialize)]
struct ContextEntry {
    cluster: String,
    user: String,
}

#[derive(Serialize, ZeroizeOnDrop)]
#[serde(rename_all = "kebab-case")]
struct UserEntry {
    client_certificate_data: String,
    client_key_data: String,
}

impl Kubeconfig {
    /// Creates a kubeconfig. `server` is a URL, and `authority` is the PEM certificate that the server's
    /// certificate is verified against.
    pub(super) fn new(
        cluster: &str,
        server: &str,
        authority: &str,
        user: &str,
        credential: &Credential,
    ) -> Self {
        let context = format!("{user}@{cluster}");
        let named = |name: &str| name.to_owned();
        let cluster_entry = ClusterEntry {
            certificate_authority_data: STANDARD.encode(authority),
            server: server.to_owned(),
        };
        let user_entry = UserEntry {
            client_certificate_data: STANDARD.encode(&credential.certificate),
            client_key_data: STANDARD.encode(credential.key.as_bytes()),
        };
        Self {
            api_version: "v1",
            kind: "Config",
            clusters: [Named { name: named(cluster), value: Inner::Cluster(cluster_entry) }],
            contexts: [Named {
                name: context.clone(),
                value: Inner::Context(ContextEntry { cluster: named(cluster), user: named(user) }),
            }],
            current_context: context,
            users: [Named { name: named(user), value: Inner::User(user_entry) }],
        }
    }

    pub(super) fn to_yaml(&self) -> Result<Zeroizing<String>> {
        yaml::to_string(self).map(Zeroizing::new)
    }
}
