//! Keys and certificates, created by rcgen on top of AWS-LC. This module handles X.509, but neither files nor
//! the time.

use std::time::Duration;

use clap::ValueEnum;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, RsaKeySize, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::pki::pem;
use crate::pki::plan::PlannedLeaf;
use crate::pki::table::{Authority, Usage};

/// Key algorithm. Ed25519 is missing because it can't sign Kubernetes' service-account tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Algorithm {
    /// Small and fast; accepted everywhere in Kubernetes since 1.18.
    #[serde(rename = "ecdsa-p256")]
    #[value(name = "ecdsa-p256")]
    EcdsaP256,
    #[serde(rename = "ecdsa-p384")]
    #[value(name = "ecdsa-p384")]
    EcdsaP384,
    #[serde(rename = "rsa-2048")]
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-3072")]
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[serde(rename = "rsa-4096")]
    #[value(name = "rsa-4096")]
    Rsa4096,
}

/// Validity of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

/// An authority that can sign.
pub(super) struct Signer {
    certificate: String,
    key: Zeroizing<KeyPair>,
}

impl Algorithm {
    /// Returns the name used in `vault.toml` and with `--algorithm`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Generates a key pair.
    pub(super) fn generate(self) -> Result<Zeroizing<KeyPair>> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
        }
        .map(Zeroizing::new)
        .doing(Kind::Internal, || format!("generating a key pair ({})", self.name()))
    }

    /// Returns the key usages of leaves: only an RSA key can encipher a session key (RFC 8813 section 3).
    fn leaf_usages(self) -> Vec<KeyUsagePurpose> {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 => vec![KeyUsagePurpose::DigitalSignature],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment]
            }
        }
    }
}

/// Issues an authority's certificate, signed with its own key, as PEM.
pub(super) fn authority(authority: Authority, key: &KeyPair, window: Window) -> Result<String> {
    let step = || format!("issuing the {} authority's certificate", authority.name());
    let mut params = params(authority.common_name(), None, window)?;
    // It is allowed to sign only leaves: an intermediate authority would not be accepted.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(key).doing(Kind::Internal, step)?;
    Ok(pem::encode("CERTIFICATE", certificate.der()))
}

impl Signer {
    /// Prepares an authority for signing from its PEM certificate and private key.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if the key can't be read.
    pub(super) fn new(certificate: &str, key: &str) -> Result<Self> {
        let key =
            KeyPair::from_pem(key).doing(Kind::Verify, || "reading an authority's private key".to_owned())?;
        Ok(Self { certificate: certificate.to_owned(), key: Zeroizing::new(key) })
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>> {
        Issuer::from_ca_cert_pem(&self.certificate, &*self.key)
            .doing(Kind::Verify, || "reading an authority's certificate".to_owned())
    }
}

/// Issues the certificate that `planned` describes, as PEM.
pub(super) fn leaf(
    planned: &PlannedLeaf,
    algorithm: Algorithm,
    key: &KeyPair,
    signer: &Signer,
    window: Window,
) -> Result<String> {
    let step = || format!("issuing `{}`", planned.id);
    let mut params = params(&planned.common_name, planned.organization, window)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = algorithm.leaf_usages();
    params.extended_key_usages = match planned.row.usage {
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    for name in &planned.names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().doing(Kind::Input, step)?));
    }
    params.subject_alt_names.extend(planned.addresses.iter().copied().map(SanType::IpAddress));
    let certificate = params.signed_by(key, &signer.issuer()?).doing(Kind::Internal, step)?;
    Ok(pem::encode("CERTIFICATE", certificate.der()))
}

/// Issues a client certificate that is not in any plan, as PEM.
pub(super) fn client(
    name: &str,
    algorithm: Algorithm,
    key: &KeyPair,
    signer: &Signer,
    window: Window,
) -> Result<String> {
    let mut params = params(name, None, window)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = algorithm.leaf_usages();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate =
        params.signed_by(key, &signer.issuer()?).doing(Kind::Internal, || format!("issuing `{name}`"))?;
    Ok(pem::encode("CERTIFICATE", certificate.der()))
}

fn params(common_name: &str, organization: Option<&str>, window: Window) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(window.not_before);
    params.not_after = at(window.not_after);
    params.serial_number = Some(serial_number()?);
    Ok(params)
}

/// Returns 126 random bits: more than the 64 that the CA/Browser Forum requires, positive, and of fixed
/// length.
fn serial_number() -> Result<SerialNumber> {
    let mut bytes: [u8; 16] = host::random::bytes()?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
