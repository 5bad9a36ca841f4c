//! Copies between files: holes are kept, and bytes are shared where the filesystem supports it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};
use rustix::io::Errno;

/// Smallest hole in bytes: the block size of most filesystems.
const BLOCK: usize = 4096;
/// Bytes per read and write where the kernel can't copy.
const PIECE: usize = 1 << 20;

/// Returns the parts of the first `size` bytes of a file that contain data, in order. The rest reads as
/// zeros.
///
/// # Errors
///
/// Kernel errors.
pub(crate) fn extents(file: &File, size: u64) -> io::Result<Vec<Range<u64>>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            // A filesystem without holes has data everywhere.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(err) => return Err(err.into()),
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NXIO) => size,
            Err(err) => return Err(err.into()),
        };
        extents.push(start.min(size)..end.min(size));
        at = end;
    }
    extents.retain(|extent| !extent.is_empty());
    Ok(extents)
}

/// Makes `to` share all bytes of `from`; returns false if the filesystem does not support that.
///
/// # Errors
///
/// Kernel errors, except when sharing is not supported.
pub(crate) fn share(from: &File, to: &File) -> io::Result<bool> {
    match ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
            Ok(false)
        }
        Err(err) => Err(err.into()),
    }
}

/// Copies `size` bytes in the kernel, which shares them where possible.
///
/// # Errors
///
/// Kernel errors; [`io::ErrorKind::UnexpectedEof`] if `from` is shorter.
pub(crate) fn copy(from: &File, from_offset: u64, to: &File, to_offset: u64, size: u64) -> io::Result<()> {
    let (mut from_at, mut to_at, mut left) = (from_offset, to_offset, size);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), most) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => left -= copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return copy_through_memory(from, from_at, to, to_at, left);
            }
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// Writes `bytes` into an empty file and leaves a hole for each block of zeros.
///
/// # Errors
///
/// Kernel errors.
pub(crate) fn write(file: &File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(bytes.len() as u64)?;
    let is_data = |block: &[u8]| block != &[0; BLOCK][..block.len()];
    for (offset, block) in (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK)).filter(|(_, block)| is_data(block)) {
        file.write_all_at(block, offset)?;
    }
    Ok(())
}

fn copy_through_memory(
    from: &File,
    mut from_at: u64,
    to: &File,
    mut to_at: u64,
    size: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let end = from_at + size;
    while from_at < end {
        let length = usize::try_from(end - from_at).unwrap_or(PIECE).min(PIECE);
        from.read_exact_at(&mut buffer[..length], from_at)?;
        to.write_all_at(&buffer[..length], to_at)?;
        from_at += length as u64;
        to_at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::Path;

    use super::{copy, copy_through_memory, extents, share, write};
    use crate::host;

    const MIB: u64 = 1 << 20;

    fn sparse(path: &Path) -> File {
        let file = host::fs::create(path, host::fs::PUBLIC).unwrap();
        file.set_len(64 * MIB).unwrap();
        file.write_all_at(&[1; 4096], 8 * MIB).unwrap();
        file.write_all_at(&[2; 8192], 32 * MIB).unwrap();
        file
    }

    #[test]
    fn the_extents_of_a_sparse_file_are_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let file = sparse(&dir.path().join("sparse"));
        assert_eq!(extents(&file, 64 * MIB).unwrap(), [8 * MIB..8 * MIB + 4096, 32 * MIB..32 * MIB + 8192]);
        assert_eq!(extents(&file, 8 * MIB + 100).unwrap(), vec![8 * MIB..8 * MIB + 100; 1]);
        assert!(extents(&file, 8 * MIB).unwrap().is_empty());
    }

    #[test]
    fn a_copy_has_the_same_bytes_whoever_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let from = sparse(&dir.path().join("from"));
        type Copy = fn(&File, u64, &File, u64, u64) -> io::Result<()>;
        for (name, by) in [("kernel", copy as Copy), ("memory", copy_through_memory)] {
            let to = host::fs::create(&dir.path().join(name), host::fs::PUBLIC).unwrap();
            by(&from, 8 * MIB - 10, &to, 5, 3 * MIB).unwrap();
            let (mut want, mut got) = (vec![0; 3 << 20], vec![0; 3 << 20]);
            from.read_exact_at(&mut want, 8 * MIB - 10).unwrap();
            to.read_exact_at(&mut got, 5).unwrap();
            assert!(want == got, "{name} copies wrongly");
            assert_eq!(by(&from, 64 * MIB - 1, &to, 0, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn bytes_are_written_as_they_are_and_zeros_take_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; 3 << 20];
        bytes[5..9000].fill(7);
        bytes.extend([0, 1]);
        let path = dir.path().join("written");
        write(&host::fs::create(&path, host::fs::PUBLIC).unwrap(), &bytes).unwrap();
        assert!(host::fs::read(&path).unwrap() == bytes, "other bytes");
        assert!(
            path.metadata().unwrap().blocks() * 512 <= 16 << 10,
            "{} sectors",
            path.metadata().unwrap().blocks()
        );
    }

    #[test]
    fn sharing_gives_the_same_bytes_or_says_that_it_can_not() {
        let dir = tempfile::tempdir().unwrap();
        let from = sparse(&dir.path().join("from"));
        let to = host::fs::create(&dir.path().join("to"), host::fs::PUBLIC).unwrap();
        let size = if share(&from, &to).unwrap() { 64 * MIB } else { 0 };
        assert_eq!(to.metadata().unwrap().size(), size);
    }
}
