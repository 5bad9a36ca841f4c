//! Metadata blocks: up to 8 KiB of records, compressed, after a two-byte header.

use crate::disk::squashfs::{LEVEL, u16_of};
use crate::error::{Doing, Kind, Result};

/// Largest block in bytes, before compression.
pub(super) const BLOCK: usize = 8192;
/// Marks a block that is stored uncompressed.
const UNCOMPRESSED: u16 = 0x8000;

/// Packs at most [`BLOCK`] bytes.
pub(super) fn block(bytes: &[u8]) -> Result<Vec<u8>> {
    let compressed =
        zstd::bulk::compress(bytes, LEVEL).doing(Kind::Internal, || "compressing metadata".into())?;
    if compressed.len() >= bytes.len() {
        return Ok(stored(bytes));
    }
    Ok([&u16_of(compressed.len()).to_le_bytes(), &compressed[..]].concat())
}

/// Returns a block that is stored uncompressed.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    [&(u16_of(bytes.len()) | UNCOMPRESSED).to_le_bytes(), bytes].concat()
}

/// Position of a record in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Offset of its block in the table.
    pub(super) block: u32,
    /// Offset in the unpacked block.
    pub(super) offset: u16,
}

impl Position {
    /// Returns both as one number, the format of inode references.
    pub(super) fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A table that grows record by record; a record may continue in the next block.
#[derive(Debug, Default)]
pub(super) struct Table {
    packed: Vec<u8>,
    open: Vec<u8>,
}

impl Table {
    /// Returns the position of the next record.
    pub(super) fn position(&self) -> Position {
        let block = u32::try_from(self.packed.len()).expect("tables are far below 4 GiB");
        Position { block, offset: u16_of(self.open.len()) }
    }

    pub(super) fn push(&mut self, record: &[u8]) -> Result<()> {
        let mut rest = record;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK - self.open.len()));
            self.open.extend_from_slice(now);
            rest = later;
            if self.open.len() == BLOCK {
                self.packed.extend(block(&self.open)?);
                self.open.clear();
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        if !self.open.is_empty() {
            self.packed.extend(block(&self.open)?);
        }
        Ok(self.packed)
    }
}
