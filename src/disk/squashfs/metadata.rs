//! Metadata blocks: up to 8 KiB of records, compressed, behind a header of two bytes.

use crate::disk::squashfs::{LEVEL, u16_of};
use crate::error::{Doing, Kind, Result};

/// Most bytes in one block, before compression.
pub(super) const BLOCK: usize = 8192;
/// Marks a block that is stored as it is.
const UNCOMPRESSED: u16 = 0x8000;

/// Packs at most [`BLOCK`] bytes.
pub(super) fn block(bytes: &[u8]) -> Result<Vec<u8>> {
    let compressed = zstd::bulk::compress(bytes, LEVEL).doing(Kind::Internal, || "compressing metadata".into())?;
    if compressed.len() >= bytes.len() {
        return Ok(stored(bytes));
    }
    Ok([&u16_of(compressed.len()).to_le_bytes(), &compressed[..]].concat())
}

/// A block that is stored as it is.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    [&(u16_of(bytes.len()) | UNCOMPRESSED).to_le_bytes(), bytes].concat()
}

/// Where a record lies in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Where its block begins, from the table's begin.
    pub(super) block: u32,
    /// Where it begins in the block once that is unpacked.
    pub(super) offset: u16,
}

impl Position {
    /// Both in one number, as references to inodes are written.
    pub(super) fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A table that grows record by record; a record may go on in the next block.
#[derive(Debug, Default)]
pub(super) struct Table {
    packed: Vec<u8>,
    open: Vec<u8>,
}

impl Table {
    /// Where the next record will begin.
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
