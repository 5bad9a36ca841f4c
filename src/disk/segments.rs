//! A disk as a value: segments of bytes at offsets, with zeros between them. It is written sparsely, and
//! digested without being read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::digest::{Digest, Hasher};
use crate::disk::sparse;
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::progress::Step;

/// Bytes per read while digesting.
const PIECE: usize = 1 << 20;
/// Bytes per copy, so that progress is visible.
const COPY: u64 = 64 << 20;

/// A disk, or any file of known content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    size: u64,
    /// Segments, keyed by offset, without overlaps.
    segments: BTreeMap<u64, Source>,
}

/// Source of a segment's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bytes(Arc<[u8]>),
    /// A range of a file.
    File {
        path: Arc<Path>,
        offset: u64,
        size: u64,
    },
}

impl Source {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    fn part(&self, from: u64, length: u64) -> Self {
        match self {
            Self::Bytes(bytes) => {
                let from = usize::try_from(from).expect("it is in memory");
                Self::Bytes(bytes[from..from + usize::try_from(length).expect("it is in memory")].into())
            }
            Self::File { path, offset, .. } => {
                Self::File { path: Arc::clone(path), offset: offset + from, size: length }
            }
        }
    }
}

impl Disk {
    /// Creates a disk of zeros.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, segments: BTreeMap::new() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the ranges that contain data, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.segments.iter().map(|(at, source)| *at..at + source.size())
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, &Source)> {
        self.segments.iter().map(|(at, source)| (*at, source))
    }

    /// Returns the size of the data in bytes, without holes.
    pub(crate) fn data(&self) -> u64 {
        self.segments.values().map(Source::size).sum()
    }

    /// Adds a segment.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if it exceeds the disk or overlaps another segment.
    pub(crate) fn put(&mut self, at: u64, source: Source) -> Result<()> {
        let end = at + source.size();
        let before =
            self.segments.range(..end).next_back().map_or(0, |(start, source)| start + source.size());
        if end > self.size || before > at {
            return Err(Error::new(
                Kind::Internal,
                format!("bytes {at} to {end} of a disk of {} bytes are not free", self.size),
            ));
        }
        if end > at {
            self.segments.insert(at, source);
        }
        Ok(())
    }

    pub(crate) fn put_bytes(&mut self, at: u64, bytes: impl Into<Arc<[u8]>>) -> Result<()> {
        self.put(at, Source::Bytes(bytes.into()))
    }

    /// Adds a segment, replacing overlapped data.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if it exceeds the disk.
    pub(crate) fn cover(&mut self, at: u64, source: Source) -> Result<()> {
        let end = at + source.size();
        let under: Vec<u64> = self
            .segments
            .range(..end)
            .filter(|(start, under)| **start + under.size() > at)
            .map(|(start, _)| *start)
            .collect();
        for start in under {
            let under = self.segments.remove(&start).expect("it was just found");
            let under_end = start + under.size();
            if start < at {
                self.segments.insert(start, under.part(0, at - start));
            }
            if under_end > end {
                self.segments.insert(end, under.part(end - start, under_end - end));
            }
        }
        self.put(at, source)
    }

    /// Returns a reader for the disk.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { disk: self, at: 0, open: Opened::default() }
    }

    /// Reads `size` bytes at `offset`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the disk ends before that.
    pub(crate) fn read_at(&self, offset: u64, size: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = Reader { at: offset, ..self.reader() }.take(size);
        let read = reader
            .read_to_end(&mut bytes)
            .doing(Kind::Io, || format!("reading {size} bytes at offset {offset} of a disk"))?;
        if read as u64 == size {
            Ok(bytes)
        } else {
            Err(Error::new(Kind::Io, format!("the disk ends before byte {}", offset + size)))
        }
    }

    /// Adds a whole file, without its holes, and returns its size.
    ///
    /// # Errors
    ///
    /// Same as [`Disk::put`]; [`Kind::Io`] if the file can't be read.
    pub(crate) fn put_file(&mut self, at: u64, path: &Path) -> Result<u64> {
        let file = host::fs::open(path)?;
        let step = || format!("reading `{}`", path.display());
        let size = file.metadata().doing(Kind::Io, step)?.len();
        let shared: Arc<Path> = Arc::from(path);
        for extent in sparse::extents(&file, size).doing(Kind::Io, step)? {
            let source = Source::File {
                path: Arc::clone(&shared),
                offset: extent.start,
                size: extent.end - extent.start,
            };
            self.put(at + extent.start, source)?;
        }
        Ok(size)
    }

    /// Writes the disk into an empty file and digests it at the same time.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if reading or writing fails.
    pub(crate) fn write(&self, out: &File, step: &dyn Step) -> Result<Digest> {
        let (written, digest) = rayon::join(|| self.write_only(out, step), || self.digest());
        written.and(digest)
    }

    fn write_only(&self, out: &File, step: &dyn Step) -> Result<()> {
        let doing = || "writing a disk image".into();
        out.set_len(self.size).doing(Kind::Io, doing)?;
        let mut open = Opened::default();
        for (at, source) in &self.segments {
            match source {
                Source::Bytes(bytes) => {
                    out.write_all_at(bytes, *at).doing(Kind::Io, doing)?;
                    step.advance(bytes.len() as u64);
                }
                Source::File { path, offset, size } => {
                    copy_in_parts(open.at(path)?, *offset, out, *at, *size, step)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the digest of the whole disk, zeros included.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if a file can't be read.
    pub(crate) fn digest(&self) -> Result<Digest> {
        let mut hasher = Hasher::default();
        self.hash(0..self.size, &mut hasher)?;
        Ok(hasher.finish())
    }

    /// Adds a range of the disk to a digest; disks with the same beginning can share its digest.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if a file can't be read.
    pub(crate) fn hash(&self, range: Range<u64>, hasher: &mut Hasher) -> Result<()> {
        let mut reader = Reader { at: range.start, ..self.reader() };
        let mut buffer = vec![0; PIECE];
        while reader.at < range.end {
            let most = buffer.len().min(usize::try_from(range.end - reader.at).unwrap_or(usize::MAX));
            let read = reader.read(&mut buffer[..most]).doing(Kind::Io, || "reading a disk image".into())?;
            if read == 0 {
                return Err(Error::new(
                    Kind::Internal,
                    format!("a disk of {} bytes has no byte at {}", self.size, reader.at),
                ));
            }
            hasher.update(&buffer[..read]);
        }
        Ok(())
    }
}

/// Reader with a position on a disk.
pub(crate) struct Reader<'a> {
    disk: &'a Disk,
    at: u64,
    open: Opened,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.disk.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let under = self
            .disk
            .segments
            .range(..=self.at)
            .next_back()
            .filter(|(start, source)| *start + source.size() > self.at);
        let read = match under {
            Some((start, source)) => {
                let most = most.min(usize::try_from(start + source.size() - self.at).unwrap_or(usize::MAX));
                read_source(source, self.at - start, &mut buffer[..most], &mut self.open)?
            }
            None => {
                let next =
                    self.disk.segments.range(self.at..).next().map_or(self.disk.size, |(start, _)| *start);
                let most = most.min(usize::try_from(next - self.at.min(next)).unwrap_or(usize::MAX));
                buffer[..most].fill(0);
                most
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.disk.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn read_source(source: &Source, skip: u64, buffer: &mut [u8], open: &mut Opened) -> io::Result<usize> {
    match source {
        Source::Bytes(bytes) => {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            buffer.copy_from_slice(&bytes[skip..skip + buffer.len()]);
            Ok(buffer.len())
        }
        Source::File { path, offset, .. } => {
            let file = open.at(path).map_err(|err| io::Error::other(err.to_string()))?;
            file.read_exact_at(buffer, offset + skip)?;
            Ok(buffer.len())
        }
    }
}

/// Open files, each opened once.
#[derive(Default)]
struct Opened(BTreeMap<Arc<Path>, File>);

impl Opened {
    fn at(&mut self, path: &Arc<Path>) -> Result<&File> {
        if !self.0.contains_key(path) {
            self.0.insert(Arc::clone(path), host::fs::open(path)?);
        }
        Ok(&self.0[path])
    }
}

fn copy_in_parts(from: &File, offset: u64, out: &File, at: u64, size: u64, step: &dyn Step) -> Result<()> {
    let mut done = 0;
    while done < size {
        let part = COPY.min(size - done);
        sparse::copy(from, offset + done, out, at + done, part)
            .doing(Kind::Io, || "writing a disk image".into())?;
        step.advance(part);
        done += part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::Disk;
    use crate::host;
    use crate::progress::Silent;

    #[test]
    fn a_disk_is_written_sparse_with_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (part, image) = (dir.path().join("part"), dir.path().join("image"));
        host::fs::write_atomic(&part, &[3; 100_000], host::fs::PUBLIC).unwrap();
        let mut disk = Disk::new(32 << 20);
        disk.put_bytes(0, *b"head").unwrap();
        disk.put_file(1 << 20, &part).unwrap();
        disk.put_bytes((32 << 20) - 4, *b"tail").unwrap();
        let file = host::fs::create(&image, host::fs::PUBLIC).unwrap();
        let digest = disk.write(&file, &Silent).unwrap();
        let bytes = host::fs::read(&image).unwrap();
        assert_eq!(host::fs::digest(&image).unwrap(), (digest, 32 << 20));
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"head"[..], &b"tail"[..]));
        assert_eq!(bytes[(1 << 20)..(1 << 20) + 100_000], [3; 100_000]);
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20, "the image is not sparse");
    }

    #[test]
    fn what_covers_a_disk_is_read_and_the_rest_is_what_was_there() {
        let mut disk = Disk::new(1000);
        let mut expected = vec![0; 1000];
        for (at, size, byte) in [
            (100, 300, 1),
            (500, 100, 2),
            (350, 200, 3),
            (120, 10, 4),
            (0, 100, 5),
            (90, 20, 6),
            (999, 1, 7),
            (500, 100, 8),
        ] {
            disk.cover(at as u64, super::Source::Bytes(vec![byte; size].into())).unwrap();
            expected[at..at + size].fill(byte);
        }
        assert_eq!(disk.read_at(0, 1000).unwrap(), expected);
        assert_eq!(disk.read_at(345, 10).unwrap(), expected[345..355]);
        assert!(disk.read_at(995, 6).is_err());
        assert_eq!(disk.digest().unwrap(), crate::digest::Digest::of(&expected));
    }

    #[test]
    fn segments_that_overlap_or_stick_out_are_refused() {
        let mut disk = Disk::new(100);
        disk.put_bytes(10, [1; 10]).unwrap();
        for (at, size) in [(0, 11), (10, 1), (19, 5), (5, 50), (99, 2)] {
            assert!(disk.put_bytes(at, vec![0; size]).is_err(), "{size} bytes at {at} were accepted");
        }
        disk.put_bytes(0, [1; 10]).unwrap();
        disk.put_bytes(20, [1; 80]).unwrap();
    }
}
