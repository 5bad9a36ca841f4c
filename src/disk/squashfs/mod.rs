//! squashfs 4.0 with zstd: writer for one of the kernel's read-only filesystems (Linux
//! `fs/squashfs/squashfs_fs.h`; <https://dr-emann.github.io/squashfs/>).
//!
//! mksquashfs creates an equally good image, but compresses everything each time. This module finds unchanged
//! blocks by the digest of their content, so that a changed file costs only its own blocks ([`chunks`]). The
//! resulting bytes do not depend on reuse.
//!
//! Not written: hard links (equal files share their blocks anyway), devices, the table for NFS exports,
//! directory indexes.

mod chunks;
mod data;
mod inodes;
mod metadata;
mod xattrs;

pub(crate) use chunks::{Chunks, compressor};

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Doing, Kind, Result};
use crate::progress::Step;
use crate::tree::Tree;

/// Format version, changed when the same tree produces different bytes.
const VERSION: &str = "squashfs 1";
/// Size of data blocks in bytes.
const BLOCK: usize = 128 << 10;
/// zstd level: one level higher takes a third more time to save 1 % of the size.
const LEVEL: i32 = 3;
/// Marks a data block that is stored uncompressed.
const UNCOMPRESSED: u32 = 1 << 24;
/// The image is padded to a multiple of this size, for loop devices and dm-verity.
const PADDING: u64 = 4096;
/// Size of the superblock in bytes.
const SUPERBLOCK: usize = 96;
/// Marks a table in the superblock as absent.
const ABSENT: u64 = u64::MAX;

/// Superblock flags.
const DUPLICATES: u16 = 0x40;
const NO_XATTRS: u16 = 0x200;
const COMPRESSOR_OPTIONS: u16 = 0x400;
/// Number of the compressor.
const ZSTD: u16 = 6;

/// Writes `tree` into an empty file; no timestamp in it is later than `epoch`, in seconds since 1970. Blocks
/// in `known` are not compressed again. Returns the image's own blocks, for the next image.
///
/// # Errors
///
/// [`Kind::Io`] if a file's content can't be read or the image can't be written; [`Kind::Input`] for an
/// attribute or size that squashfs does not support.
pub(crate) fn write(tree: &Tree, epoch: u64, out: &File, known: &Chunks, step: &dyn Step) -> Result<Chunks> {
    let mut image = Image { out, at: SUPERBLOCK as u64 };
    // The compressor's options: one metadata block, never compressed.
    image.append(&metadata::stored(&LEVEL.to_le_bytes()))?;
    let data = data::write(tree, &mut image, known, step)?;
    let tables = inodes::write(tree, epoch, &data)?;
    let inode_table = image.append(&tables.inodes)?;
    let directory_table = image.append(&tables.directories)?;
    let fragment_table = lookup_table(&mut image, &data.fragment_entries())?;
    let id_table =
        lookup_table(&mut image, &tables.ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>())?;
    let xattr_table = if tables.xattrs.is_empty() { ABSENT } else { tables.xattrs.write(&mut image)? };
    let used = image.at;
    let flags = DUPLICATES | COMPRESSOR_OPTIONS | if xattr_table == ABSENT { NO_XATTRS } else { 0 };
    let mut superblock = Record::default();
    superblock
        .u32(0x7371_7368)
        .u32(tables.inode_count)
        .u32(clamped(epoch))
        .u32(u32_of(BLOCK))
        .u32(data.fragments());
    superblock
        .u16(ZSTD)
        .u16(u16_of(BLOCK.ilog2() as usize))
        .u16(flags)
        .u16(u16_of(tables.ids.len()))
        .u16(4)
        .u16(0);
    superblock.u64(tables.root).u64(used).u64(id_table).u64(xattr_table);
    superblock.u64(inode_table).u64(directory_table).u64(fragment_table).u64(ABSENT);
    let step = || "writing the squashfs image".into();
    out.write_all_at(&superblock.0, 0).doing(Kind::Io, step)?;
    out.set_len(used.next_multiple_of(PADDING)).doing(Kind::Io, step)?;
    Ok(data.chunks)
}

/// Image file and its write position.
struct Image<'a> {
    out: &'a File,
    at: u64,
}

impl Image<'_> {
    /// Appends bytes and returns their offset.
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let begin = self.at;
        self.out.write_all_at(bytes, begin).doing(Kind::Io, || "writing the squashfs image".into())?;
        self.at += bytes.len() as u64;
        Ok(begin)
    }
}

/// Appends a table of records in metadata blocks, followed by the list of block offsets. Returns the offset
/// of the list.
fn lookup_table(image: &mut Image<'_>, records: &[u8]) -> Result<u64> {
    let mut list = Vec::new();
    for block in records.chunks(metadata::BLOCK) {
        list.extend(image.append(&metadata::block(block)?)?.to_le_bytes());
    }
    image.append(&list)
}

/// Little-endian fields, one after another.
#[derive(Debug, Default)]
struct Record(Vec<u8>);

impl Record {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Clamps seconds since 1970 to the range of squashfs.
fn clamped(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn u32_of(value: usize) -> u32 {
    u32::try_from(value).expect("sizes of tables and blocks fit in 32 bits")
}

fn u16_of(value: usize) -> u16 {
    u16::try_from(value).expect("the format's limits were checked")
}

#[cfg(test)]
mod tests;
