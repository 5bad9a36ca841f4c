//! Archive members: digested while they are read; small members are kept.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Result, copy, sink};

use flate2::read::MultiGzDecoder;

use crate::digest::{Digest, Hasher};

/// Largest member kept in memory: indexes, manifests and configurations are smaller, but most layers are not.
const KEPT: u64 = 4 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One member of the archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) sha256: Digest,
    /// Digest of the decompressed content, if the member is compressed.
    pub(super) unpacked: Option<Digest>,
    /// Content, only for small members.
    pub(super) bytes: Vec<u8>,
}

impl Member {
    pub(super) fn read(member: impl Read) -> Result<Self> {
        let mut raw = Tee { inner: member, hasher: Hasher::default(), size: 0, kept: Vec::new() };
        let mut buffered = BufReader::new(&mut raw);
        let unpacked = if buffered.fill_buf()?.starts_with(&GZIP) {
            Some(Digest::of_reader(MultiGzDecoder::new(&mut buffered)).map(|(digest, _)| digest)?)
        } else {
            None
        };
        copy(&mut buffered, &mut sink())?;
        let kept = if raw.size <= KEPT { raw.kept } else { Vec::new() };
        Ok(Self { sha256: raw.hasher.finish(), unpacked, bytes: kept })
    }
}

/// Reader that digests its input and keeps the beginning of it.
struct Tee<R> {
    inner: R,
    hasher: Hasher,
    size: u64,
    kept: Vec<u8>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        if self.size <= KEPT {
            self.kept.extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}

pub(super) fn unpacked(mut file: BufReader<File>) -> Result<Box<dyn Read>> {
    let magic = file.fill_buf()?;
    if magic.starts_with(&ZSTD) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?));
    }
    Ok(if magic.starts_with(&GZIP) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Resolves the target of a link in an archive, relative to the link.
pub(super) fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}
