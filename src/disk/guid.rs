//! GUIDs and their two byte orders: text and systemd are big-endian, GPT is mixed (UEFI 2.10 appendix A).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result};

/// A GUID, with its bytes in the order of the text form.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Guid([u8; 16]);

impl Guid {
    pub(crate) const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// Derives a GUID from a digest and a word, in the form of a random GUID (RFC 9562 version 4), as systemd
    /// derives its own.
    pub(crate) fn derived(from: &Digest, word: &str) -> Self {
        let mut hasher = Hasher::default();
        hasher.field("guid", from.as_bytes()).field("word", word.as_bytes());
        let mut bytes = first_half(&hasher.finish());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Returns the first 128 bits of a root hash: the id of the root partition (UAPI.2, "Discoverable
    /// Partitions").
    pub(crate) fn of_root(root_hash: &Digest) -> Self {
        Self(first_half(root_hash))
    }

    /// Returns the last 128 bits of a root hash: the id of the hash tree's partition.
    pub(crate) fn of_root_verity(root_hash: &Digest) -> Self {
        Self(root_hash.as_bytes()[16..].try_into().expect("a digest has 32 bytes"))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Converts between the byte orders of text and disk.
    pub(crate) fn to_disk(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.0;
        let mut bytes = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[8..].copy_from_slice(&rest);
        bytes
    }

    pub(crate) fn from_disk(bytes: [u8; 16]) -> Self {
        Self(Self(bytes).to_disk())
    }
}

fn first_half(digest: &Digest) -> [u8; 16] {
    digest.as_bytes()[..16].try_into().expect("a digest has 32 bytes")
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> Self {
        guid.to_string()
    }
}

impl TryFrom<String> for Guid {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = u128::from_str_radix(&text.replace('-', ""), 16).map(Self::from_u128).ok();
        number
            .filter(|guid| guid.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::new(Kind::Input, format!("`{text}` is not a GUID")))
    }
}

#[cfg(test)]
mod tests {
    use super::Guid;
    use crate::digest::Digest;

    #[test]
    fn text_and_disk_order_turn_into_each_other() {
        let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(guid.to_disk()[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        assert_eq!(Guid::from_disk(guid.to_disk()), guid);
        assert!("c12a7328".parse::<Guid>().is_err());
    }

    #[test]
    fn derived_guids_are_version_4_and_differ_by_word() {
        let digest = Digest::of(b"x");
        let (one, other) =
            (Guid::derived(&digest, "one").to_string(), Guid::derived(&digest, "other").to_string());
        assert_ne!(one, other);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]));
    }
}
