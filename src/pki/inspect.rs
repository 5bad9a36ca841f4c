//! Parsed certificates: subject, alternative names, validity, issuer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

use crate::error::{Doing, Error, Kind, Result};
use crate::pki::plan::PlannedLeaf;
use crate::pki::table::Usage;

/// A parsed certificate.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) common_name: String,
    pub(crate) organization: Option<String>,
    pub(super) issuer: String,
    pub(crate) names: BTreeSet<String>,
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// True if the certificate is for clients.
    pub(crate) client: bool,
    /// True if the certificate is for servers.
    pub(crate) server: bool,
    authority: bool,
    /// Start of validity, in seconds since 1970.
    pub(super) not_before: u64,
    /// End of validity, in seconds since 1970.
    pub(crate) not_after: u64,
    /// DER of the public key with its algorithm.
    public_key: Vec<u8>,
    der: Vec<u8>,
}

impl Certificate {
    /// Parses the first certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if the text contains no certificate, or if the certificate is damaged.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let step = || "parsing a certificate".to_owned();
        let (_, armour) = x509_parser::pem::parse_x509_pem(text.as_bytes()).doing(Kind::Verify, step)?;
        let der = armour.contents;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).doing(Kind::Verify, step)?;
        let usage = parsed.extended_key_usage().doing(Kind::Verify, step)?;
        let (names, addresses) = alternatives(&parsed)?;
        Ok(Self {
            common_name: common_name(parsed.subject()),
            organization: parsed
                .subject()
                .iter_organization()
                .find_map(|value| value.as_str().ok())
                .map(str::to_owned),
            issuer: common_name(parsed.issuer()),
            names,
            addresses,
            client: usage.as_ref().is_some_and(|usage| usage.value.client_auth),
            server: usage.as_ref().is_some_and(|usage| usage.value.server_auth),
            authority: parsed.is_ca(),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
            public_key: parsed.public_key().raw.to_vec(),
            der: der.clone(),
        })
    }

    /// Checks whether the certificate is allowed to sign others.
    pub(crate) fn is_authority(&self) -> bool {
        self.authority
    }

    /// Returns the subject as OpenSSL prints it.
    pub(crate) fn subject(&self) -> String {
        match &self.organization {
            Some(organization) => format!("O = {organization}, CN = {}", self.common_name),
            None => format!("CN = {}", self.common_name),
        }
    }

    /// Returns why the certificate does not match `planned`, if it does not. Names and addresses beyond the
    /// planned ones are accepted: the names and addresses of a removed node do no harm, so removing a node
    /// requires no new certificates.
    pub(super) fn misfit(&self, planned: &PlannedLeaf) -> Option<String> {
        let (client, server) = match planned.row.usage {
            Usage::Client => (true, false),
            Usage::Server => (false, true),
            Usage::Both => (true, true),
        };
        let missing = planned.names.difference(&self.names).cloned();
        let missing: Vec<String> =
            missing.chain(planned.addresses.difference(&self.addresses).map(IpAddr::to_string)).collect();
        if self.common_name != planned.common_name || self.organization.as_deref() != planned.organization {
            Some(format!("its subject is `{}`", self.subject()))
        } else if !missing.is_empty() {
            Some(format!("it is not valid for {}", missing.join(", ")))
        } else if (self.client, self.server) != (client, server) {
            Some("it is for a different purpose".to_owned())
        } else {
            None
        }
    }

    /// Checks whether `authority` signed the certificate.
    pub(super) fn is_signed_by(&self, authority: &Self) -> bool {
        let parsed = (
            x509_parser::parse_x509_certificate(&self.der),
            x509_parser::parse_x509_certificate(&authority.der),
        );
        match parsed {
            (Ok((_, own)), Ok((_, other))) => {
                own.issuer().as_raw() == other.subject().as_raw()
                    && own.verify_signature(Some(other.public_key())).is_ok()
            }
            _ => false,
        }
    }

    /// Checks whether `key`, a PEM private key, belongs to the certificate.
    pub(super) fn has_key(&self, key: &str) -> bool {
        KeyPair::from_pem(key).is_ok_and(|key| key.subject_public_key_info() == self.public_key)
    }
}

fn common_name(name: &X509Name<'_>) -> String {
    name.iter_common_name().find_map(|value| value.as_str().ok()).unwrap_or_default().to_owned()
}

fn alternatives(certificate: &X509Certificate<'_>) -> Result<(BTreeSet<String>, BTreeSet<IpAddr>)> {
    let mut found = <(BTreeSet<String>, BTreeSet<IpAddr>)>::default();
    let extension = certificate
        .subject_alternative_name()
        .doing(Kind::Verify, || "reading a certificate's names".to_owned())?;
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => found.0.insert((*name).to_owned()),
            GeneralName::IPAddress(octets) => found.1.insert(address(octets)?),
            _ => false,
        };
    }
    Ok(found)
}

fn address(octets: &[u8]) -> Result<IpAddr> {
    let wrong =
        || Error::new(Kind::Verify, format!("an address in a certificate is {} bytes long", octets.len()));
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .map_err(|_| wrong())
}

fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or_default()
}
