//! File contents: blocks of 128 KiB, and fragments shared by smaller files.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::digest::{Digest, Hasher};
use crate::disk::squashfs::chunks::Chunk;
use crate::disk::squashfs::{BLOCK, Chunks, Image, LEVEL, Record, UNCOMPRESSED, u32_of};
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::progress::Step;
use crate::tree::{Content, EntryKind, Tree};

/// Number of blocks in memory at once, before and after compression.
const BATCH: usize = 256;
/// Minimum size at which a fragment may end.
const SHORTEST_FRAGMENT: usize = BLOCK / 2;
/// A fragment of that size ends after one file in this many, chosen by digest, so that a changed file changes
/// one fragment and not all that follow.
const ONE_IN: u8 = 16;

/// Location of one file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Empty,
    /// Position in the image, and the size field of each block.
    Blocks {
        start: u64,
        sizes: Vec<u32>,
    },
    Fragment {
        index: u32,
        offset: u32,
    },
}

/// Contents of a tree, as written.
#[derive(Debug, Default)]
pub(super) struct Data {
    places: BTreeMap<Digest, Planned>,
    /// Position and size field of each block and fragment, in the order of the image.
    written: Vec<(u64, u32)>,
    /// Indexes in `written` of the fragments.
    fragments: Vec<usize>,
    pub(super) chunks: Chunks,
}

/// Planned location of one file's content, as piece numbers.
#[derive(Clone, Debug)]
enum Planned {
    Empty,
    Blocks { first: usize, count: usize },
    Fragment { index: usize, offset: usize },
}

/// Content of one block.
struct Piece<'a> {
    parts: Vec<Part<'a>>,
}

/// A range of one file's content.
struct Part<'a> {
    content: &'a Content,
    sha256: Digest,
    offset: u64,
    size: usize,
}

/// Writes the content of every file in `tree`, each distinct content once.
pub(super) fn write(tree: &Tree, image: &mut Image<'_>, known: &Chunks, step: &dyn Step) -> Result<Data> {
    let mut plan = Plan::default();
    for (_, entry) in tree.iter() {
        if let EntryKind::File(content) = &entry.kind {
            plan.add(content);
        }
    }
    plan.close_fragment();
    let Plan { pieces, mut data, .. } = plan;
    for batch in pieces.chunks(BATCH) {
        let packed: Vec<Packed> = batch.par_iter().map(|piece| piece.pack(known)).collect::<Result<_>>()?;
        for (piece, packed) in batch.iter().zip(packed) {
            let offset = image.append(&packed.bytes)?;
            data.written.push((offset, packed.chunk.size));
            data.chunks.insert(piece.key(), Chunk { offset, ..packed.chunk });
            step.advance(piece.size() as u64);
        }
    }
    Ok(data)
}

impl Data {
    /// Returns the location of one file's content.
    pub(super) fn place(&self, content: &Content) -> Place {
        match &self.places[&content.sha256()] {
            Planned::Empty => Place::Empty,
            Planned::Blocks { first, count } => {
                let blocks = &self.written[*first..first + count];
                Place::Blocks { start: blocks[0].0, sizes: blocks.iter().map(|(_, size)| *size).collect() }
            }
            Planned::Fragment { index, offset } => {
                Place::Fragment { index: u32_of(*index), offset: u32_of(*offset) }
            }
        }
    }

    pub(super) fn fragments(&self) -> u32 {
        u32_of(self.fragments.len())
    }

    /// Returns the records of the fragment table.
    pub(super) fn fragment_entries(&self) -> Vec<u8> {
        let mut entries = Record::default();
        for index in &self.fragments {
            let (offset, size) = self.written[*index];
            entries.u64(offset).u32(size).u32(0);
        }
        entries.0
    }
}

/// Plan of the pieces to write.
#[derive(Default)]
struct Plan<'a> {
    pieces: Vec<Piece<'a>>,
    open: Vec<Part<'a>>,
    data: Data,
}

impl<'a> Plan<'a> {
    fn add(&mut self, content: &'a Content) {
        let sha256 = content.sha256();
        if self.data.places.contains_key(&sha256) {
            return;
        }
        let size = content.size();
        let planned = match usize::try_from(size) {
            Ok(0) => Planned::Empty,
            Ok(size) if size < BLOCK => self.add_to_fragment(content, sha256, size),
            _ => self.add_blocks(content, sha256, size),
        };
        self.data.places.insert(sha256, planned);
    }

    fn add_blocks(&mut self, content: &'a Content, sha256: Digest, size: u64) -> Planned {
        let first = self.pieces.len();
        for offset in (0..size).step_by(BLOCK) {
            let size = usize::try_from(size - offset).map_or(BLOCK, |rest| rest.min(BLOCK));
            self.pieces.push(Piece { parts: vec![Part { content, sha256, offset, size }] });
        }
        Planned::Blocks { first, count: self.pieces.len() - first }
    }

    fn add_to_fragment(&mut self, content: &'a Content, sha256: Digest, size: usize) -> Planned {
        let filled = |open: &[Part<'_>]| open.iter().map(|part| part.size).sum::<usize>();
        if filled(&self.open) + size > BLOCK {
            self.close_fragment();
        }
        let planned = Planned::Fragment { index: self.data.fragments.len(), offset: filled(&self.open) };
        self.open.push(Part { content, sha256, offset: 0, size });
        if filled(&self.open) >= SHORTEST_FRAGMENT && sha256.as_bytes()[0].is_multiple_of(ONE_IN) {
            self.close_fragment();
        }
        planned
    }

    fn close_fragment(&mut self) {
        if !self.open.is_empty() {
            self.data.fragments.push(self.pieces.len());
            self.pieces.push(Piece { parts: std::mem::take(&mut self.open) });
        }
    }
}

/// A packed block; the chunk's offset is not known yet.
struct Packed {
    bytes: Vec<u8>,
    chunk: Chunk,
}

impl Piece<'_> {
    fn size(&self) -> usize {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Returns the digest of its content.
    fn key(&self) -> Digest {
        let mut hasher = Hasher::default();
        for part in &self.parts {
            hasher.field("part", part.sha256.as_bytes());
            hasher
                .field("offset", &part.offset.to_le_bytes())
                .field("size", &(part.size as u64).to_le_bytes());
        }
        hasher.finish()
    }

    fn pack(&self, known: &Chunks) -> Result<Packed> {
        if let Some((bytes, chunk)) = known.find(&self.key()) {
            return Ok(Packed { bytes, chunk });
        }
        let raw = self.read()?;
        // A block of zeros takes no space; in a fragment, it could not be found.
        if self.parts.len() == 1 && raw.len() == BLOCK && raw.iter().all(|byte| *byte == 0) {
            return Ok(Packed {
                bytes: Vec::new(),
                chunk: Chunk { offset: 0, size: 0, sha256: Digest::of(b"") },
            });
        }
        let compressed =
            zstd::bulk::compress(&raw, LEVEL).doing(Kind::Internal, || "compressing a block".into())?;
        let (bytes, mark) = if compressed.len() < raw.len() { (compressed, 0) } else { (raw, UNCOMPRESSED) };
        let chunk = Chunk { offset: 0, size: u32_of(bytes.len()) | mark, sha256: Digest::of(&bytes) };
        Ok(Packed { bytes, chunk })
    }

    fn read(&self) -> Result<Vec<u8>> {
        let mut raw = Vec::with_capacity(self.size());
        for part in &self.parts {
            match part.content {
                Content::Inline(bytes) => {
                    let begin = usize::try_from(part.offset).expect("the content is in memory");
                    raw.extend_from_slice(&bytes[begin..begin + part.size]);
                }
                Content::Stored { file, offset, .. } => {
                    raw.extend(host::fs::read_at(file, offset + part.offset, part.size)?);
                }
            }
        }
        Ok(raw)
    }
}
