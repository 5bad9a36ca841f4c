//! OpenPGP: whether a text was signed by someone we trust. Only what was signed comes out.
//!
//! The rules are those of RFC 9580 as far as an archive key needs them: a key or subkey signs when its self-signature is good, says that it
//! may sign, and neither revokes it nor let it expire.

use std::io::Cursor;
use std::path::Path;

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};

use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;

/// The keys of Debian 12 and 13, from the package `debian-archive-keyring`; `keyrings/README.md` has their fingerprints.
const DEBIAN: [&[u8]; 6] = [
    include_bytes!("keyrings/debian-archive-bookworm-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-bookworm-security-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-bookworm-stable.pgp"),
    include_bytes!("keyrings/debian-archive-trixie-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-trixie-security-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-trixie-stable.pgp"),
];

/// Digests that nobody can forge; older ones are not looked at.
const STRONG: [HashAlgorithm; 4] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sha3_512];

/// Keys that may sign a repository.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Vec<SignedPublicKey>,
    /// For messages: where the keys are from.
    name: String,
}

impl Keyring {
    /// The keyring at `path`, else Debian's own.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] or [`Kind::Input`] if the file can't be read or holds no key.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) => Self::parse(&host::fs::read(path)?, path.display().to_string())
                .within(|| format!("reading the keyring `{}`", path.display())),
            None => Self::parse(&DEBIAN.concat(), "Debian's archive keys".to_owned()),
        }
    }

    /// Parses keys, armored or binary, one after another.
    fn parse(bytes: &[u8], name: String) -> Result<Self> {
        let step = || "parsing OpenPGP keys".to_owned();
        let armored = bytes.starts_with(b"-----BEGIN");
        let keys: Vec<SignedPublicKey> = if armored {
            SignedPublicKey::from_armor_many(Cursor::new(bytes)).doing(Kind::Input, step)?.0.collect::<Result<_, _>>()
        } else {
            SignedPublicKey::from_bytes_many(Cursor::new(bytes)).doing(Kind::Input, step)?.collect::<Result<_, _>>()
        }
        .doing(Kind::Input, step)?;
        if keys.is_empty() {
            return Err(Error::new(Kind::Input, "it holds no OpenPGP key"));
        }
        Ok(Self { keys, name })
    }

    /// Returns the signed text of a clear-signed message with LF line ends, if at least one key here signed it and may do so at `now`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] with what was wrong with each signature.
    pub(crate) fn verify(&self, message: &str, now: u64) -> Result<String> {
        let step = || "parsing the clear-signed message".to_owned();
        let (message, _) = CleartextSignedMessage::from_string(message).doing(Kind::Verify, step)?;
        let text = message.signed_text();
        let mut complaints = Vec::new();
        for signature in message.signatures() {
            match self.judge(signature, text.as_bytes(), now) {
                Ok(()) => return Ok(text.replace("\r\n", "\n")),
                Err(complaint) => complaints.push(complaint),
            }
        }
        Err(self.refuse(&complaints))
    }

    /// Says why a signature does not count.
    fn judge(&self, signature: &Signature, text: &[u8], now: u64) -> Result<(), String> {
        let by = signature.issuer_fingerprint().first().map_or_else(|| "an unnamed key".to_owned(), |print| format!("key {print:X}"));
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err(format!("the signature by {by} is not one of a document"));
        }
        if !signature.hash_alg().is_some_and(|hash| STRONG.contains(&hash)) {
            return Err(format!("the signature by {by} uses a weak digest"));
        }
        let mut complaint = format!("{by} is unknown");
        for key in &self.keys {
            if signature.verify(&key.primary_key, text).is_ok() {
                complaint = match primary_fault(key, now).or_else(|| age_fault(signature, now)) {
                    None => return Ok(()),
                    Some(fault) => format!("{by} {fault}"),
                };
            }
            for subkey in key.public_subkeys.iter().filter(|subkey| signature.verify(&subkey.key, text).is_ok()) {
                let fault = primary_fault(key, now).or_else(|| subkey_fault(key, subkey, now)).or_else(|| age_fault(signature, now));
                complaint = match fault {
                    None => return Ok(()),
                    Some(fault) => format!("{by} {fault}"),
                };
            }
        }
        if complaint.ends_with("unknown") && self.knows(signature) {
            complaint = format!("the signature by {by} does not match the text: it was changed or damaged");
        }
        Err(complaint)
    }

    fn knows(&self, signature: &Signature) -> bool {
        let is_issuer = |key: &dyn Fn() -> (pgp::types::Fingerprint, pgp::types::KeyId)| {
            let (print, id) = key();
            signature.issuer_fingerprint().contains(&&print) || signature.issuer_key_id().contains(&&id)
        };
        self.keys.iter().any(|key| {
            is_issuer(&|| (key.primary_key.fingerprint(), key.primary_key.legacy_key_id()))
                || key.public_subkeys.iter().any(|subkey| is_issuer(&|| (subkey.key.fingerprint(), subkey.key.legacy_key_id())))
        })
    }

    fn refuse(&self, complaints: &[String]) -> Error {
        let told = if complaints.is_empty() { "it has no signature".to_owned() } else { complaints.join("; ") };
        Error::new(Kind::Verify, format!("no trusted signature ({}): {told}", self.name))
            .hint("if the repository is signed by somebody else, name that key: `--keyring FILE` or KILN_KEYRING")
            .hint("if keys have expired, check the clock with `date`, or update kiln")
    }
}

/// Why the primary key may not sign, if so.
fn primary_fault(key: &SignedPublicKey, now: u64) -> Option<String> {
    let primary = &key.primary_key;
    if key.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Some("is revoked".into());
    }
    let mut direct: Vec<&Signature> =
        key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok()).collect();
    let certified = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation) && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    let certified = certified.max_by_key(|signature| signature.created());
    if direct.is_empty() && certified.is_none() {
        return Some("has no valid signature of itself".into());
    }
    // Direct signatures also name revokers; such a one says nothing of the key's lifetime.
    direct.retain(|signature| signature.key_expiration_time().is_some());
    let direct = direct.into_iter().max_by_key(|signature| signature.created());
    direct.into_iter().chain(certified).find_map(|binding| expiry_fault(primary.created_at().as_secs(), binding, now))
}

/// Why a subkey may not sign, if so.
fn subkey_fault(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: u64) -> Option<String> {
    let (primary, signee) = (&key.primary_key, &subkey.key);
    let good = |signature: &&Signature| signature.verify_subkey_binding(primary, signee).is_ok();
    let of_type = |kind| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind)).filter(good);
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Some("is revoked".into());
    }
    let Some(binding) = of_type(SignatureType::SubkeyBinding).max_by_key(|signature| signature.created()) else {
        return Some("is not bound to its primary key".into());
    };
    let signs_back = binding.embedded_signature().is_some_and(|back| back.verify_primary_key_binding(signee, primary).is_ok());
    if !binding.key_flags().sign() || !signs_back {
        return Some("may not sign".into());
    }
    expiry_fault(signee.created_at().as_secs(), binding, now)
}

fn expiry_fault(created: u32, binding: &Signature, now: u64) -> Option<String> {
    let lifetime = binding.key_expiration_time().map(|lifetime| u64::from(lifetime.as_secs())).filter(|lifetime| *lifetime > 0)?;
    (u64::from(created) + lifetime <= now).then(|| "has expired".to_owned())
}

/// Why the signature is out of its time, if so.
fn age_fault(signature: &Signature, now: u64) -> Option<String> {
    let Some(created) = signature.created() else { return Some("did not date its signature".into()) };
    let lifetime = signature.signature_expiration_time().map(|lifetime| u64::from(lifetime.as_secs())).filter(|lifetime| *lifetime > 0)?;
    (u64::from(created.as_secs()) + lifetime <= now).then(|| "let its signature expire".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Keyring;
    use crate::host;

    /// 2026-11-21.
    const NOW: u64 = 1_795_219_200;
    const YEAR: u64 = 366 * 86_400;

    fn testdata(name: &str) -> String {
        host::fs::read_to_string(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/testdata")).join(name)).unwrap()
    }

    fn verify(message: &str, now: u64) -> Result<String, String> {
        let keyring = Keyring::parse(testdata("keyring.asc").as_bytes(), "test keys".into()).unwrap();
        keyring.verify(message, now).map_err(|err| err.to_string())
    }

    #[test]
    fn what_a_trusted_key_signed_comes_out() {
        for name in ["good.asc", "both.asc"] {
            let text = verify(&testdata(name), NOW).unwrap();
            assert_eq!(text.trim_end(), "Codename: trixie\n- a dash, and a space at the end", "{name}");
        }
    }

    #[test]
    fn what_nobody_trusted_signed_is_refused_with_the_reason() {
        let good = testdata("good.asc");
        let cases = [
            ("a changed text", good.replace("trixie", "sid"), "does not match the text"),
            ("an added line", good.replace("Codename", "Evil: yes\nCodename"), "does not match the text"),
            ("a stranger", testdata("stranger.asc"), "is unknown"),
            ("an expired key", testdata("expired.asc"), "has expired"),
            ("a revoked key", testdata("revoked.asc"), "is revoked"),
            ("a weak digest", testdata("weak.asc"), "weak digest"),
            ("no signature", "Codename: trixie\n".to_owned(), "parsing the clear-signed message"),
            ("a text before the signed one", format!("Evil: yes\n{good}"), "parsing the clear-signed message"),
            ("a text after the signed one", format!("{good}\nEvil: yes\n"), "parsing the clear-signed message"),
            ("nothing", String::new(), "parsing the clear-signed message"),
        ];
        for (what, message, said) in cases {
            let told = verify(&message, NOW).unwrap_err();
            assert!(told.contains(said), "{what}: {told}");
        }
    }

    #[test]
    fn debians_own_keys_are_there_and_do_not_last_for_ever() {
        let keyring = Keyring::open(None).unwrap();
        let faults = |now| keyring.keys.iter().filter_map(|key| super::primary_fault(key, now)).collect::<Vec<_>>();
        assert_eq!(keyring.keys.len(), 6);
        assert_eq!(faults(NOW), [] as [String; 0]);
        assert_eq!(faults(NOW + 10 * YEAR), ["has expired"; 6]);
        let subkeys: Vec<_> = keyring.keys.iter().flat_map(|key| key.public_subkeys.iter().map(move |subkey| (key, subkey))).collect();
        assert_eq!(subkeys.len(), 4);
        assert!(subkeys.iter().all(|(key, subkey)| super::subkey_fault(key, subkey, NOW).is_none()));
    }

    #[test]
    fn a_file_without_keys_is_no_keyring() {
        assert!(Keyring::parse(b"", "test".into()).is_err());
        assert!(Keyring::parse(b"-----BEGIN nothing", "test".into()).is_err());
    }
}
