//! First 64 bytes of a seed, which identify it on a raw device and reveal damage.
//!
//! ```text
//!  0  8  magic "KILNSEED"
//!  8  4  format version, little-endian
//! 12  4  zero
//! 16  8  length of the payload in bytes, little-endian
//! 24 32  SHA-256 of the payload
//! 56  8  zero
//! ```

use std::io::{self, Read};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// Magic bytes at the beginning of every seed.
pub(crate) const MAGIC: &[u8; 8] = b"KILNSEED";
/// Format version; there is only one.
const VERSION: u32 = 1;
/// Length of the header in bytes.
const LENGTH: usize = 64;
/// Maximum size of a packed seed in bytes: the size of the config partition.
pub(crate) const LONGEST: usize = 4 << 20;

/// Prepends the header to `payload`.
pub(super) fn seal(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LENGTH + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(Digest::of(payload).as_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Checks the header and the digest, and returns the payload.
pub(super) fn open(bytes: &[u8]) -> Result<&[u8]> {
    let end = length(bytes)?;
    let payload = bytes
        .get(LENGTH..end)
        .ok_or_else(|| damaged(format!("truncated: {} of {end} bytes", bytes.len())))?;
    let actual = Digest::of(payload);
    if bytes[24..56] != actual.as_bytes()[..] {
        return Err(damaged(format!(
            "corrupt: its payload has the digest {}, which does not match its header",
            actual.short()
        )));
    }
    Ok(payload)
}

/// Returns the length of the whole seed in bytes, from its header.
fn length(bytes: &[u8]) -> Result<usize> {
    if !bytes.starts_with(MAGIC) {
        return Err(Error::new(Kind::Input, "this is not a seed: it does not begin with `KILNSEED`"));
    }
    let header = bytes
        .get(..LENGTH)
        .ok_or_else(|| damaged(format!("truncated: {} of {LENGTH} header bytes", bytes.len())))?;
    let version = u32::from_le_bytes(header[8..12].try_into().expect("the version has four bytes"));
    if version != VERSION {
        return Err(Error::new(
            Kind::Input,
            format!("the seed has format {version}, but this version of kiln supports only format {VERSION}"),
        )
        .hint("boot an image built with the same version of kiln as the seed, or regenerate the seed"));
    }
    if header[12..16] != [0; 4] || header[56..64] != [0; 8] {
        return Err(damaged("corrupt: reserved bits in its header are not zero".into()));
    }
    let payload = u64::from_le_bytes(header[16..24].try_into().expect("the length has eight bytes"));
    let longest = (LONGEST - LENGTH) as u64;
    let payload = usize::try_from(payload).ok().filter(|_| payload <= longest);
    payload.map(|payload| LENGTH + payload).ok_or_else(|| {
        damaged(format!("corrupt: its header specifies a length of more than {longest} bytes"))
    })
}

fn damaged(how: String) -> Error {
    Error::new(Kind::Verify, format!("the seed is {how}"))
}

/// Reads the packed seed at the start of a file or device; `None` if the content does not begin with the
/// magic bytes.
///
/// A carrier that ends early yields a short seed, which [`super::Seed::unpack`] then rejects with the reason.
pub(crate) fn read_carrier(carrier: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut carrier = carrier.take(LONGEST as u64);
    let mut bytes = Vec::new();
    carrier.by_ref().take(LENGTH as u64).read_to_end(&mut bytes)?;
    if !bytes.starts_with(MAGIC) {
        return Ok(None);
    }
    if let Ok(end) = length(&bytes) {
        carrier.take((end - LENGTH) as u64).read_to_end(&mut bytes)?;
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::{open, read_carrier, seal};

    #[test]
    fn only_the_seed_is_read_from_a_larger_carrier() {
        let mut disk = seal(b"payload");
        let seed = disk.clone();
        disk.resize(1 << 20, 0);
        assert_eq!(read_carrier(&*disk).unwrap().unwrap(), seed);
        assert_eq!(open(&seed).unwrap(), b"payload");
    }

    #[test]
    fn a_carrier_of_something_else_is_no_seed_and_no_error() {
        for other in [&b""[..], b"KILN", b"\x7fELF and more"] {
            assert_eq!(read_carrier(other).unwrap(), None);
        }
    }
}
