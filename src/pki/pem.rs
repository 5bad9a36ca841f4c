//! PEM (RFC 7468): the armour around certificates and keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use zeroize::Zeroizing;

/// Characters per line (RFC 7468 section 2).
const WIDTH: usize = 64;

/// The first line of a private key.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----\n";

/// Encodes `der` as PEM.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    // Reserves the whole capacity, because a growing buffer would leave copies of a key behind.
    let mut text = String::with_capacity(base64.len() + base64.len().div_ceil(WIDTH) + 2 * label.len() + 32);
    let mut push = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
    push(&["-----BEGIN ", label, "-----\n"]);
    for line in base64.as_bytes().chunks(WIDTH) {
        push(&[std::str::from_utf8(line).expect("base64 is ASCII"), "\n"]);
    }
    push(&["-----END ", label, "-----\n"]);
    text
}

/// Returns a private key in PKCS #8 form.
pub(super) fn private_key(key: &KeyPair) -> Zeroizing<String> {
    Zeroizing::new(encode("PRIVATE KEY", key.serialized_der()))
}

/// Splits a file that contains a certificate followed by its private key.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    text.find(PRIVATE_KEY).map(|cut| text.split_at(cut))
}
