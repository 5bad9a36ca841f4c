//! A file attached to a seed, on the device that holds the seed: an etcd snapshot, for machines that no one
//! can log in to.
//!
//! A reader without support for attachments reads only the seed and ignores the bytes after it. The header is
//! at the next multiple of 4096 bytes after the seed, the file follows immediately, and zeros pad the last
//! block, since volumes consist of whole blocks.
//!
//! ```text
//!  0  8  magic "KILNFILE"
//!  8  4  format version, little-endian
//! 12  4  zero
//! 16  8  length of the file in bytes, little-endian
//! 24 32  SHA-256 of the file
//! 56  8  zero
//! ```

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::digest::{Digest, Tee};
use crate::error::{Doing, Error, Kind, Result};

const MAGIC: &[u8; 8] = b"KILNFILE";
const VERSION: u32 = 1;
/// Length of the header in bytes.
const LENGTH: usize = 64;
/// Alignment of the header and of the end of the last block.
const BLOCK: usize = 4096;

/// A file attached to a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Offset of the file on the device that holds the seed, in bytes.
    offset: u64,
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
}

/// Writes a seed and the file attached to it.
///
/// # Errors
///
/// Errors from `out` and `file`, and an error if the file is not `size` bytes long.
pub(crate) fn attach(
    out: &mut dyn Write,
    seed: &[u8],
    file: impl Read,
    size: u64,
    sha256: Digest,
) -> io::Result<()> {
    out.write_all(seed)?;
    pad(out, seed.len() as u64)?;
    let mut header = [0; LENGTH];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&size.to_le_bytes());
    header[24..56].copy_from_slice(sha256.as_bytes());
    out.write_all(&header)?;
    let copied = io::copy(&mut file.take(size), out)?;
    if copied != size {
        return Err(io::Error::other(format!("the attached file is {copied} bytes long, expected {size}")));
    }
    pad(out, LENGTH as u64 + size)
}

fn pad(out: &mut dyn Write, length: u64) -> io::Result<()> {
    let zeros = usize::try_from(length.next_multiple_of(BLOCK as u64) - length).expect("less than a block");
    out.write_all(&[0; BLOCK][..zeros])
}

/// Finds the file attached to a seed of `seed` bytes, if there is one.
///
/// # Errors
///
/// [`Kind::Input`] for another format version; [`Kind::Io`] if the device can't be read.
pub(crate) fn attached(carrier: &mut (impl Read + Seek), seed: u64) -> Result<Option<Attachment>> {
    let step = || "reading the file attached to the seed".to_owned();
    let begin = seed.next_multiple_of(BLOCK as u64);
    let mut header = Vec::new();
    carrier.seek(SeekFrom::Start(begin)).doing(Kind::Io, step)?;
    carrier.take(LENGTH as u64).read_to_end(&mut header).doing(Kind::Io, step)?;
    if header.len() < LENGTH || !header.starts_with(MAGIC) {
        return Ok(None);
    }
    let version = u32::from_le_bytes(header[8..12].try_into().expect("the version has four bytes"));
    if version != VERSION {
        return Err(Error::new(
            Kind::Input,
            format!(
                "{}: it has format {version}, but this version of kiln supports only format {VERSION}",
                step()
            ),
        ));
    }
    let size = u64::from_le_bytes(header[16..24].try_into().expect("the length has eight bytes"));
    let sha256 = Digest::from_bytes(header[24..56].try_into().expect("a digest has 32 bytes"));
    Ok(Some(Attachment { offset: begin + LENGTH as u64, size, sha256 }))
}

impl Attachment {
    /// Copies the file from the device that holds the seed.
    ///
    /// # Errors
    ///
    /// Fails if the device ends early or the file is corrupt.
    pub(crate) fn copy(&self, carrier: &mut (impl Read + Seek), out: &mut dyn Write) -> io::Result<()> {
        carrier.seek(SeekFrom::Start(self.offset))?;
        let mut tee = Tee::new(out);
        let copied = io::copy(&mut carrier.take(self.size), &mut tee)?;
        if copied < self.size {
            return Err(io::Error::other(format!(
                "the file attached to the seed is truncated: {copied} of {} bytes",
                self.size
            )));
        }
        let actual = tee.finish();
        if actual == self.sha256 {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "the file attached to the seed is corrupt: its SHA-256 is {actual}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{attach, attached};
    use crate::digest::Digest;
    use crate::seed::Seed;
    use crate::seed::tests::sample;

    fn carrier(content: &[u8]) -> (Vec<u8>, u64) {
        let seed = sample("m1", Vec::new()).pack(0).unwrap();
        let mut bytes = Vec::new();
        attach(&mut bytes, &seed, content, content.len() as u64, Digest::of(content)).unwrap();
        (bytes, seed.len() as u64)
    }

    #[test]
    fn a_seed_and_its_file_come_back_whole() {
        for content in [vec![], vec![7; 4032], vec![7; 4033], vec![9; 3_000_000]] {
            let (mut bytes, length) = carrier(&content);
            assert_eq!(bytes.len() % 4096, 0);
            // A volume may be larger.
            bytes.resize(bytes.len() + 5000, 0);
            assert_eq!(Seed::unpack(&bytes).unwrap().identity.node, "m1");
            let mut carrier = Cursor::new(bytes);
            let attachment = attached(&mut carrier, length).unwrap().unwrap();
            let mut copy = Vec::new();
            attachment.copy(&mut carrier, &mut copy).unwrap();
            assert_eq!((attachment.size, &copy), (content.len() as u64, &content));
        }
    }

    #[test]
    fn what_ends_early_or_has_changed_is_refused() {
        let (bytes, length) = carrier(&[7; 10_000]);
        let copy = |bytes: Vec<u8>| {
            let mut carrier = Cursor::new(bytes);
            attached(&mut carrier, length)
                .unwrap()
                .unwrap()
                .copy(&mut carrier, &mut Vec::new())
                .unwrap_err()
                .to_string()
        };
        let begin = usize::try_from(length.next_multiple_of(4096)).unwrap() + 64;
        assert_eq!(
            copy(bytes[..begin + 5000].to_vec()),
            "the file attached to the seed is truncated: 5000 of 10000 bytes"
        );
        let mut changed = bytes.clone();
        changed[begin + 5000] ^= 1;
        assert!(copy(changed).starts_with("the file attached to the seed is corrupt"));
        // Without the file there is a seed and nothing else.
        assert_eq!(attached(&mut Cursor::new(&bytes[..begin - 64]), length).unwrap(), None);
        assert_eq!(attached(&mut Cursor::new(vec![0; begin + 4096]), length).unwrap(), None);
    }
}
