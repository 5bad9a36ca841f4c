//! Inventory of a vault: one row per certificate, for users and scripts.

use serde::Serialize;

use crate::error::Result;
use crate::host;
use crate::pki::inspect::Certificate;
use crate::pki::vault::{AUTHORITY, Vault};

/// One certificate of a vault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Item {
    /// `m1/apiserver`, `admin`, or `authority etcd`.
    pub(crate) name: String,
    pub(crate) subject: String,
    /// DNS names, then addresses.
    pub(crate) alternatives: Vec<String>,
    /// `CN` of the issuing authority.
    pub(crate) issuer: String,
    /// End of validity, in RFC 3339 format.
    pub(crate) not_after: String,
    /// Whole days until the certificate expires; negative after that.
    pub(crate) days_left: i64,
}

impl Item {
    /// Checks whether the certificate belongs to an authority, which signs other certificates.
    pub(crate) fn is_authority(&self) -> bool {
        self.name.starts_with(AUTHORITY)
    }
}

/// Lists every certificate in `vault`: authorities, then leaves by name, including the leaves of removed
/// nodes.
pub(crate) fn inventory(vault: &Vault) -> Result<Vec<Item>> {
    let now = host::clock::now();
    Ok(vault.certificates()?.into_iter().map(|(name, certificate)| item(name, &certificate, now)).collect())
}

fn item(name: String, certificate: &Certificate, now: u64) -> Item {
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    Item {
        name,
        subject: certificate.subject(),
        alternatives: certificate.names.iter().cloned().chain(addresses).collect(),
        issuer: certificate.issuer.clone(),
        not_after: host::clock::rfc3339(certificate.not_after),
        days_left: (certificate.not_after.cast_signed() - now.cast_signed()).div_euclid(86_400),
    }
}
