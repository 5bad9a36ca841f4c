//! OpenPGP: verifies that a text was signed by a trusted key, and returns only the signed text.
//!
//! The rules of RFC 9580 apply as far as an archive key needs them: a key or subkey is allowed to sign if its
//! self-signature is valid and grants signing, and it is neither revoked nor expired.

use std::io::Cursor;
use std::path::Path;

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};

use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;

/// Keys of Debian 12 and 13, from the package `debian-archive-keyring`; `keyrings/README.md` lists their
/// fingerprints.
const DEBIAN: [&[u8]; 6] = [
    include_bytes!("keyrings/debian-archive-bookworm-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-bookworm-security-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-bookworm-stable.pgp"),
    include_bytes!("keyrings/debian-archive-trixie-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-trixie-security-automatic.pgp"),
    include_bytes!("keyrings/debian-archive-trixie-stable.pgp"),
];

/// Digest algorithms that are accepted; weaker ones are rejected.
const STRONG: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sha3_512];

/// Keys that are trusted to sign a repository.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Vec<SignedPublicKey>,
    /// Origin of the keys, for messages.
    name: String,
}

impl Keyring {
    /// Opens the keyring at `path`, or Debian's own.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] or [`Kind::Input`] if the file can't be read or contains no key.
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
            SignedPublicKey::from_armor_many(Cursor::new(bytes))
                .doing(Kind::Input, step)?
                .0
                .collect::<Result<_, _>>()
        } else {
            SignedPublicKey::from_bytes_many(Cursor::new(bytes))
                .doing(Kind::Input, step)?
                .collect::<Result<_, _>>()
        }
        .doing(Kind::Input, step)?;
        if keys.is_empty() {
            return Err(Error::new(Kind::Input, "it contains no OpenPGP key"));
        }
        Ok(Self { keys, name })
    }

    /// Returns the signed text of a clear-signed message with LF line endings, if at least one key of this
    /// keyring signed it and is allowed to sign at `now`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] naming the fault of each signature.
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

    /// Checks one signature; the error is the reason for rejecting it.
    fn judge(&self, signature: &Signature, text: &[u8], now: u64) -> Result<(), String> {
        let by = signature
            .issuer_fingerprint()
            .first()
            .map_or_else(|| "an unidentified key".to_owned(), |print| format!("key {print:X}"));
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err(format!("the signature by {by} is not a document signature"));
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
            for subkey in
                key.public_subkeys.iter().filter(|subkey| signature.verify(&subkey.key, text).is_ok())
            {
                let fault = primary_fault(key, now)
                    .or_else(|| subkey_fault(key, subkey, now))
                    .or_else(|| age_fault(signature, now));
                complaint = match fault {
                    None => return Ok(()),
                    Some(fault) => format!("{by} {fault}"),
                };
            }
        }
        if complaint.ends_with("unknown") && self.knows(signature) {
            complaint =
                format!("the signature by {by} does not match the text, which was changed or damaged");
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
                || key
                    .public_subkeys
                    .iter()
                    .any(|subkey| is_issuer(&|| (subkey.key.fingerprint(), subkey.key.legacy_key_id())))
        })
    }

    fn refuse(&self, complaints: &[String]) -> Error {
        let reported = if complaints.is_empty() {
            "the message contains no signature".to_owned()
        } else {
            complaints.join("; ")
        };
        Error::new(Kind::Verify, format!("no trusted signature ({}): {reported}", self.name))
            .hint(
                "if the repository is signed with another key, specify it with `--keyring FILE` or \
                KILN_KEYRING",
            )
            .hint("if a key has expired, check the clock with `date`, or update kiln")
    }
}

/// Returns why the primary key is not allowed to sign; `None` if it is.
fn primary_fault(key: &SignedPublicKey, now: u64) -> Option<String> {
    let primary = &key.primary_key;
    if key.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Some("is revoked".into());
    }
    let mut direct: Vec<&Signature> = key
        .details
        .direct_signatures
        .iter()
        .filter(|signature| signature.verify_key(primary).is_ok())
        .collect();
    let certified = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    let certified = certified.max_by_key(|signature| signature.created());
    if direct.is_empty() && certified.is_none() {
        return Some("has no valid self-signature".into());
    }
    // Some direct signatures only name revokers; these do not define the key's lifetime.
    direct.retain(|signature| signature.key_expiration_time().is_some());
    let direct = direct.into_iter().max_by_key(|signature| signature.created());
    direct
        .into_iter()
        .chain(certified)
        .find_map(|binding| expiry_fault(primary.created_at().as_secs(), binding, now))
}

/// Returns why a subkey is not allowed to sign; `None` if it is.
fn subkey_fault(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: u64) -> Option<String> {
    let (primary, signee) = (&key.primary_key, &subkey.key);
    let good = |signature: &&Signature| signature.verify_subkey_binding(primary, signee).is_ok();
    let of_type =
        |kind| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind)).filter(good);
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Some("is revoked".into());
    }
    let Some(binding) = of_type(SignatureType::SubkeyBinding).max_by_key(|signature| signature.created())
    else {
        return Some("is not bound to its primary key".into());
    };
    let signs_back = binding
        .embedded_signature()
        .is_some_and(|back| back.verify_primary_key_binding(signee, primary).is_ok());
    if !binding.key_flags().sign() || !signs_back {
        return Some("is not allowed to sign".into());
    }
    expiry_fault(signee.created_at().as_secs(), binding, now)
}

fn expiry_fault(created: u32, binding: &Signature, now: u64) -> Option<String> {
    let lifetime = binding
        .key_expiration_time()
        .map(|lifetime| u64::from(lifetime.as_secs()))
        .filter(|lifetime| *lifetime > 0)?;
    (u64::from(created) + lifetime <= now).then(|| "has expired".to_owned())
}

/// Returns why the signature is outside its validity period; `None` if it is not.
fn age_fault(signature: &Signature, now: u64) -> Option<String> {
    let Some(created) = signature.created() else { return Some("made an undated signature".into()) };
    let lifetime = signature
        .signature_expiration_time()
        .map(|lifetime| u64::from(lifetime.as_secs()))
        .filter(|lifetime| *lifetime > 0)?;
    (u64::from(created.as_secs()) + lifetime <= now).then(|| "made a signature that has expired".to_owned())
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
        host::fs::read_to_string(
            &Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/debian/testdata")).join(name),
        )
        .unwrap()
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
            (
                "a text before the signed one",
                format!("Evil: yes\n{good}"),
                "parsing the clear-signed message",
            ),
            (
                "a text after the signed one",
                format!("{good}\nEvil: yes\n"),
                "parsing the clear-signed message",
            ),
            ("nothing", String::new(), "parsing the clear-signed message"),
        ];
        for (what, message, said) in cases {
            let reported = verify(&message, NOW).unwrap_err();
            assert!(reported.contains(said), "{what}: {reported}");
        }
    }

    #[test]
    fn debians_own_keys_are_there_and_do_not_last_for_ever() {
        let keyring = Keyring::open(None).unwrap();
        let faults =
            |now| keyring.keys.iter().filter_map(|key| super::primary_fault(key, now)).collect::<Vec<_>>();
        assert_eq!(keyring.keys.len(), 6);
        assert_eq!(faults(NOW), [] as [String; 0]);
        assert_eq!(faults(NOW + 10 * YEAR), ["has expired"; 6]);
        let subkeys: Vec<_> = keyring
            .keys
            .iter()
            .flat_map(|key| key.public_subkeys.iter().map(move |subkey| (key, subkey)))
            .collect();
        assert_eq!(subkeys.len(), 4);
        assert!(subkeys.iter().all(|(key, subkey)| super::subkey_fault(key, subkey, NOW).is_none()));
    }

    #[test]
    fn a_file_without_keys_is_no_keyring() {
        assert!(Keyring::parse(b"", "test".into()).is_err());
        assert!(Keyring::parse(b"-----BEGIN nothing", "test".into()).is_err());
    }
}
