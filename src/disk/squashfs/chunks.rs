//! Blocks of earlier images, found by the digest of their content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk::squashfs::VERSION;
use crate::error::{Doing, Kind, Result};
use crate::host;

/// Blocks of one image. An index from another compressor version is ignored: the same data may result in
/// different bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    compressor: String,
    chunks: Vec<(Digest, Chunk)>,
}

/// One block of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// Offset in the image.
    pub(super) offset: u64,
    /// Stored size, with the flag for uncompressed blocks.
    pub(super) size: u32,
    /// Digest of the stored bytes.
    pub(super) sha256: Digest,
}

/// Known blocks of one image, or none.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    image: PathBuf,
    pub(super) known: BTreeMap<Digest, Chunk>,
}

impl Chunks {
    /// Reads the index at `index` of the image at `image`. If it is unusable, no blocks are known.
    pub(crate) fn load(index: &Path, image: &Path) -> Self {
        let read = || serde_json::from_slice::<Index>(&host::fs::read(index).ok()?).ok();
        let known = read()
            .filter(|index| index.compressor == compressor())
            .map(|index| index.chunks.into_iter().collect());
        Self { image: image.to_owned(), known: known.unwrap_or_default() }
    }

    /// Returns the index as bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut chunks: Vec<(Digest, Chunk)> = self.known.iter().map(|(key, chunk)| (*key, *chunk)).collect();
        chunks.sort_unstable_by_key(|(_, chunk)| chunk.offset);
        let index = Index { compressor: compressor(), chunks };
        serde_json::to_vec(&index).doing(Kind::Internal, || "writing the index of an image".into())
    }

    pub(super) fn insert(&mut self, key: Digest, chunk: Chunk) {
        self.known.insert(key, chunk);
    }

    /// Returns the stored form of the block with this key, with its size field; `None` if the bytes have
    /// changed.
    pub(super) fn find(&self, key: &Digest) -> Option<(Vec<u8>, Chunk)> {
        let chunk = self.known.get(key)?;
        let length = usize::try_from(chunk.size & !super::UNCOMPRESSED).ok()?;
        let bytes = host::fs::read_at(&self.image, chunk.offset, length).ok()?;
        (Digest::of(&bytes) == chunk.sha256).then_some((bytes, *chunk))
    }
}

/// Returns the identity of the compressor, which, together with the tree, determines the bytes of an image.
pub(crate) fn compressor() -> String {
    format!("{VERSION}, zstd {}", zstd::zstd_safe::version_number())
}
