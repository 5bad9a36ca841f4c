//! Reads raw files and qcow2 files written by [`super::qcow2`], with their backing files, as disks.

use std::path::Path;
use std::sync::Arc;

use crate::disk::segments::{Disk, Source};
use crate::error::{Error, Kind, Result, Within};
use crate::host;

const MAGIC: &[u8; 4] = b"QFI\xfb";
const HEADER: usize = 104;
const CLUSTER: u64 = 1 << 16;
/// Host offset in an L1 or L2 entry (QEMU `docs/interop/qcow2.rst`).
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Flags of special entries: compressed, all zeros.
const SPECIAL: u64 = 1 << 62 | 1;
/// Maximum length of a backing chain; a longer chain is a loop.
const DEEPEST: usize = 8;

/// Opens a disk of either format.
///
/// # Errors
///
/// [`Kind::Input`] if it is a qcow2 file with features that kiln does not write; [`Kind::Io`] if a file can't
/// be read.
pub(crate) fn open(path: &Path) -> Result<Disk> {
    open_at_depth(path, 0).within(|| format!("opening the disk `{}`", path.display()))
}

fn open_at_depth(path: &Path, depth: usize) -> Result<Disk> {
    let size = host::fs::size(path)?;
    if size < HEADER as u64 || host::fs::read_at(path, 0, MAGIC.len())? != MAGIC {
        let mut disk = Disk::new(size);
        disk.put_file(0, path)?;
        return Ok(disk);
    }
    if depth == DEEPEST {
        return Err(Error::new(Kind::Input, "the chain of backing files is too long"));
    }
    let header = Header(host::fs::read_at(path, 0, HEADER)?);
    header.check()?;
    let mut disk = backing(path, &header, depth)?.unwrap_or_else(|| Disk::new(header.u64(24)));
    lay_over(path, &header, &mut disk)?;
    Ok(disk)
}

struct Header(Vec<u8>);

impl Header {
    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.0[at..at + 4].try_into().expect("the range has 4 bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.0[at..at + 8].try_into().expect("the range has 8 bytes"))
    }

    fn check(&self) -> Result<()> {
        let plain = self.u32(4) == 3 && self.u32(20) == 16 && self.u32(32) == 0 && self.u64(72) == 0;
        if plain && self.u32(36) <= 1 << 20 && self.u32(16) <= 1023 {
            return Ok(());
        }
        Err(Error::new(Kind::Input, "this qcow2 file uses features that kiln does not support")
            .hint("convert it first: `qemu-img convert -O raw FILE.qcow2 FILE.raw`"))
    }
}

/// Opens the backing disk, if there is one.
fn backing(path: &Path, header: &Header, depth: usize) -> Result<Option<Disk>> {
    if header.u64(8) == 0 {
        return Ok(None);
    }
    let name = host::fs::read_at(path, header.u64(8), header.u32(16) as usize)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let below = path.parent().unwrap_or(Path::new(".")).join(name);
    open_at_depth(&below, depth + 1).map(Some)
}

fn lay_over(path: &Path, header: &Header, disk: &mut Disk) -> Result<()> {
    let file: Arc<Path> = Arc::from(path);
    for (index, l2) in (0..).zip(table(path, header.u64(40), header.u32(36) as usize)?) {
        if l2 & OFFSET == 0 {
            continue;
        }
        for (entry, cluster) in (0..).zip(table(path, l2 & OFFSET, (CLUSTER / 8) as usize)?) {
            if cluster & SPECIAL != 0 {
                return Err(Error::new(
                    Kind::Input,
                    "this qcow2 file has compressed clusters, which kiln does not support",
                ));
            }
            let at = (index * (CLUSTER / 8) + entry) * CLUSTER;
            if cluster & OFFSET != 0 && at < disk.size() {
                let size = CLUSTER.min(disk.size() - at);
                disk.cover(at, Source::File { path: Arc::clone(&file), offset: cluster & OFFSET, size })?;
            }
        }
    }
    Ok(())
}

fn table(path: &Path, at: u64, entries: usize) -> Result<Vec<u64>> {
    let bytes = host::fs::read_at(path, at, entries * 8)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|entry| u64::from_be_bytes(entry.try_into().expect("the chunk has 8 bytes")))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::open;
    use crate::disk::qcow2::{self, Backing};
    use crate::disk::segments::Disk;
    use crate::host;
    use crate::progress::Silent;

    fn disk(segments: &[(u64, usize, u8)]) -> Disk {
        let mut disk = Disk::new(40 << 20);
        segments.iter().for_each(|(at, size, byte)| disk.put_bytes(*at, vec![*byte; *size]).unwrap());
        disk
    }

    #[test]
    fn an_overlay_is_read_with_what_lies_below() {
        let dir = tempfile::tempdir().unwrap();
        let write = |disk: &Disk, name: &str| {
            let path = dir.path().join(name);
            disk.write(&host::fs::create(&path, host::fs::PUBLIC).unwrap(), &Silent).unwrap();
            path
        };
        let below = disk(&[(0, 100_000, 1), (5 << 20, 1 << 20, 2)]);
        let raw = write(&below, "below.raw");
        let whole = write(&qcow2::file(&below, None).unwrap(), "whole.qcow2");
        assert_eq!(open(&raw).unwrap().digest().unwrap(), below.digest().unwrap());
        assert_eq!(open(&whole).unwrap().digest().unwrap(), below.digest().unwrap());
        let seed = disk(&[(8 << 20, 1000, 3)]);
        let overlay = open(&write(
            &qcow2::file(&seed, Some(Backing { path: "below.raw", format: "raw" })).unwrap(),
            "overlay.qcow2",
        ))
        .unwrap();
        let both = disk(&[(0, 100_000, 1), (5 << 20, 1 << 20, 2), (8 << 20, 1000, 3)]);
        assert_eq!(overlay.digest().unwrap(), both.digest().unwrap());
    }

    #[test]
    fn a_file_that_is_laid_over_itself_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loop.qcow2");
        let file = qcow2::file(&disk(&[]), Some(Backing { path: "loop.qcow2", format: "qcow2" })).unwrap();
        file.write(&host::fs::create(&path, host::fs::PUBLIC).unwrap(), &Silent).unwrap();
        assert!(open(&path).unwrap_err().to_string().ends_with("the chain of backing files is too long"));
    }
}
