//! dm-verity hash tree and superblock, as `veritysetup format` writes them (Linux
//! `Documentation/admin-guide/device-mapper/verity.rst`, cryptsetup `lib/verity/verity.c`): SHA-256, hash
//! type 1, 4096-byte data and hash blocks.
//!
//! Data is read once, sequentially. Only one piece of it and the hashes (1/128 of the data) are in memory.

use std::io::{Read, Write};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};

/// Size of data blocks and of hash blocks in bytes.
pub(crate) const BLOCK: usize = 4096;
/// Bytes hashed in parallel by all processors.
const PIECE: usize = 8 << 20;
const HASH: usize = 32;
const SIGNATURE: &[u8; 8] = b"verity\0\0";
const LARGEST_SALT: usize = 256;

/// Parameters of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// Salt hashed before each block; at most 256 bytes.
    pub(crate) salt: Vec<u8>,
    /// UUID of the hash device, in the byte order of the text form.
    pub(crate) uuid: [u8; 16],
}

/// First block of a hash device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) parameters: Parameters,
    pub(crate) data_blocks: u64,
}

/// Reads `data` to its end, writes superblock and tree to `out`, and returns the root hash.
///
/// # Errors
///
/// [`Kind::Internal`] if the data is empty or not a whole number of blocks; [`Kind::Io`] from reading or
/// writing.
pub(crate) fn format(data: &mut dyn Read, parameters: &Parameters, out: &mut dyn Write) -> Result<Digest> {
    let salted = Sha256::new_with_prefix(&parameters.salt);
    let leaves = leaves(data, &salted)?;
    let data_blocks = (leaves.len() / HASH) as u64;
    let superblock = Superblock { parameters: parameters.clone(), data_blocks };
    let (levels, root) = levels(leaves, &salted);
    let step = || "writing the verity hash tree".into();
    out.write_all(&superblock.to_block()).doing(Kind::Io, step)?;
    levels.iter().rev().try_for_each(|level| out.write_all(level)).doing(Kind::Io, step)?;
    Ok(root)
}

/// Returns the concatenated hashes of all data blocks.
fn leaves(data: &mut dyn Read, salted: &Sha256) -> Result<Vec<u8>> {
    let mut piece = vec![0; PIECE];
    let mut hashes = Vec::new();
    loop {
        let length = read_full(data, &mut piece)
            .doing(Kind::Io, || "reading the data for the verity hash tree".into())?;
        if !length.is_multiple_of(BLOCK) || (length == 0 && hashes.is_empty()) {
            return Err(Error::new(
                Kind::Internal,
                "the length of the verity data is not a multiple of 4096 bytes",
            ));
        }
        hash_blocks(&piece[..length], salted, &mut hashes);
        if length < PIECE {
            return Ok(hashes);
        }
    }
}

/// Hashes each level until one block is left. Returns the levels, leaves first, each padded to whole blocks,
/// and the root hash.
fn levels(leaves: Vec<u8>, salted: &Sha256) -> (Vec<Vec<u8>>, Digest) {
    let mut levels = Vec::new();
    let mut level = leaves;
    // A device with one data block has no tree: its hash is the root hash.
    while level.len() > HASH {
        level.resize(level.len().next_multiple_of(BLOCK), 0);
        let mut above = Vec::new();
        hash_blocks(&level, salted, &mut above);
        levels.push(std::mem::replace(&mut level, above));
    }
    (levels, Digest::from_bytes(level.try_into().expect("one hash is left")))
}

fn hash_blocks(blocks: &[u8], salted: &Sha256, hashes: &mut Vec<u8>) {
    let start = hashes.len();
    hashes.resize(start + blocks.len() / BLOCK * HASH, 0);
    // 64 blocks take about 200 µs, far more than the cost of a thread switch.
    blocks.par_chunks(64 * BLOCK).zip(hashes[start..].par_chunks_mut(64 * HASH)).for_each(
        |(blocks, hashes)| {
            for (block, hash) in blocks.chunks_exact(BLOCK).zip(hashes.chunks_exact_mut(HASH)) {
                hash.copy_from_slice(&salted.clone().chain_update(block).finalize());
            }
        },
    );
}

fn read_full(data: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match data.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(length)
}

impl Superblock {
    fn to_block(&self) -> Vec<u8> {
        let salt = &self.parameters.salt;
        assert!(salt.len() <= LARGEST_SALT, "a verity salt has at most 256 bytes");
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(SIGNATURE);
        block.extend_from_slice(&1_u32.to_le_bytes()); // version
        block.extend_from_slice(&1_u32.to_le_bytes()); // hash type: salt first
        block.extend_from_slice(&self.parameters.uuid);
        block.extend_from_slice(b"sha256");
        block.resize(64, 0);
        block.extend_from_slice(&4096_u32.to_le_bytes()); // data blocks
        block.extend_from_slice(&4096_u32.to_le_bytes()); // hash blocks
        block.extend_from_slice(&self.data_blocks.to_le_bytes());
        block.extend_from_slice(&u16::try_from(salt.len()).expect("checked above").to_le_bytes());
        block.resize(88, 0);
        block.extend_from_slice(salt);
        block.resize(BLOCK, 0);
        block
    }

    /// Parses the first block of a hash device.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if it is not a superblock of the kind that kiln writes.
    pub(crate) fn read(block: &[u8]) -> Result<Self> {
        let wrong = || {
            Error::new(Kind::Verify, "this is not a dm-verity superblock with SHA-256 and 4096-byte blocks")
        };
        let field = |range| block.get(range).ok_or_else(wrong);
        let salt_size = field(80..82).map(|size| usize::from(u16::from_le_bytes([size[0], size[1]])))?;
        let salt = field(88..88 + salt_size.min(LARGEST_SALT))?.to_vec();
        let uuid = field(16..32)?.try_into().expect("the range has 16 bytes");
        let data_blocks = u64::from_le_bytes(field(72..80)?.try_into().expect("the range has 8 bytes"));
        let superblock = Self { parameters: Parameters { salt, uuid }, data_blocks };
        if salt_size <= LARGEST_SALT && block.get(..BLOCK) == Some(&superblock.to_block()) {
            Ok(superblock)
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, PIECE, Parameters, Superblock, format};
    use crate::host;
    use crate::judge::{accepts, judge};

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = (0..size / 8).flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.collect()
    }

    fn parameters() -> Parameters {
        let uuid =
            [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        Parameters { salt: (0..32).collect(), uuid }
    }

    #[test]
    fn superblock_tree_and_root_hash_are_those_of_veritysetup() {
        let dir = tempfile::tempdir().unwrap();
        let (data_path, hash_path) = (dir.path().join("data"), dir.path().join("hash"));
        for blocks in [1, 2, 127, 128, 129, 128 * 128, 128 * 128 + 1, PIECE / BLOCK] {
            let Some(mut veritysetup) = judge("veritysetup") else { return };
            let data = noise(blocks * BLOCK);
            let mut ours = Vec::new();
            let root = format(&mut data.as_slice(), &parameters(), &mut ours).unwrap();
            host::fs::write_atomic(&data_path, &data, host::fs::PUBLIC).unwrap();
            host::fs::remove(&hash_path).unwrap();
            let salt = "--salt=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
            veritysetup
                .args(["format", "--uuid=01234567-89ab-4def-8123-456789abcdef", salt])
                .arg(&data_path)
                .arg(&hash_path);
            let said = accepts(&mut veritysetup);
            assert!(said.contains(&root.to_string()), "{blocks} blocks: {root} is not in\n{said}");
            assert!(host::fs::read(&hash_path).unwrap() == ours, "{blocks} blocks: the hash devices differ");
            assert_eq!(
                Superblock::read(&ours).unwrap(),
                Superblock { parameters: parameters(), data_blocks: blocks as u64 }
            );
        }
    }

    #[test]
    fn data_that_is_no_whole_number_of_blocks_is_refused() {
        for data in [&[][..], &[0; 100], &[0; BLOCK + 1]] {
            assert!(
                format(&mut &data[..], &parameters(), &mut Vec::new()).is_err(),
                "{} bytes were accepted",
                data.len()
            );
        }
    }

    #[test]
    fn a_foreign_superblock_is_refused() {
        let mut block = Superblock { parameters: parameters(), data_blocks: 9 }.to_block();
        for at in [0, 8, 12, 32, 64, 68, 81, 500] {
            block[at] ^= 1;
            assert!(Superblock::read(&block).is_err(), "byte {at} was flipped and accepted");
            block[at] ^= 1;
        }
        assert!(Superblock::read(&block[..100]).is_err());
    }
}
