//! FAT volumes (Microsoft FAT specification 1.03) with given serial, label and time: the EFI system partition
//! and NoCloud volumes.

use std::collections::BTreeMap;

use hadris_fat::sync::FatFs;
use hadris_fat::{FatKind, FatOptions, VolumeLabel};
use hadris_fs::sync::Volume;
use hadris_fs::{Content, DateTime, FileType, MountOptions, Node, OpenOptions, Tree};

use crate::error::{Doing, Error, Kind, Result};

const MIB: u64 = 1 << 20;
/// Smallest FAT32 volume: at least 65525 clusters (specification section 3.5) of 512 bytes each, with tables.
const SMALLEST_FAT32: u64 = 34 * MIB;

/// Size of a directory entry in bytes (specification section 6).
const ENTRY: usize = 32;

/// Maximum length of a path in characters (specification section 7).
const LONGEST_PATH: usize = 260;

/// Variant of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Variant chosen by size.
    Any,
    /// FAT32, which UEFI requires on fixed disks (UEFI 2.10 section 13.3.1.1).
    Fat32,
}

/// Properties of the volume besides its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    pub(crate) variant: Variant,
    /// Label of at most 11 characters; stored in upper case.
    pub(crate) label: &'a str,
    pub(crate) serial: u32,
    /// Time of every entry, in seconds since 1970; FAT begins at 1980.
    pub(crate) epoch: u64,
    /// Minimum size in bytes; the volume is larger if its files need more.
    pub(crate) size: u64,
}

/// Creates a volume with the files, named by paths such as `EFI/BOOT/BOOTX64.EFI`. Its size is a whole number
/// of MiB.
///
/// # Errors
///
/// [`Kind::Internal`] if a name, the label or the time does not fit the format.
pub(crate) fn write(files: &BTreeMap<String, Vec<u8>>, options: &Options<'_>) -> Result<Vec<u8>> {
    let step = || format!("writing the FAT volume `{}`", options.label);
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.insert(path, Node::file(Content::bytes(bytes.clone()))).doing(Kind::Internal, step)?;
    }
    let label = VolumeLabel::new(options.label).map_err(|_| Error::new(Kind::Internal, step()))?;
    // FAT times have a resolution of two seconds and start in 1980.
    let seconds = i64::try_from(options.epoch.max(315_532_800) & !1).unwrap_or(i64::MAX);
    let time = DateTime::from_unix_seconds(seconds).doing(Kind::Internal, step)?;
    let smallest = if options.variant == Variant::Fat32 { SMALLEST_FAT32 } else { MIB };
    let size = needed(files).max(options.size).max(smallest).next_multiple_of(MIB);
    let mut format =
        FatOptions::new().with_label(label).with_serial(options.serial).with_time(time).with_size(size);
    if options.variant == Variant::Fat32 {
        format = format.with_kind(FatKind::Fat32);
    }
    let mut volume = Vec::new();
    hadris_fat::sync::write(&mut volume, &tree, &format).doing(Kind::Internal, step)?;
    Ok(volume)
}

/// Reads every file of a volume.
///
/// # Errors
///
/// [`Kind::Verify`] if it is not a FAT volume or is damaged: a directory that contains itself has more
/// entries than the volume has space for, or a longer path than the format allows.
pub(crate) fn read(volume: Vec<u8>) -> Result<BTreeMap<String, Vec<u8>>> {
    let step = || "reading a FAT volume".into();
    let repeats =
        || Error::new(Kind::Verify, "a directory or file on the FAT volume occurs in several places");
    let mut space = volume.len();
    let mut take = |size: usize| -> Result<()> {
        space = space.checked_sub(size).ok_or_else(repeats)?;
        Ok(())
    };
    let mounted = FatFs::mount(volume, MountOptions::new().read_only())
        .map_err(|err| Error::new(Kind::Verify, format!("this is not a FAT volume: {err}")))?;
    let volume = Volume::new(mounted);
    let mut files = BTreeMap::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for entry in volume.read_dir(format!("/{directory}")).doing(Kind::Verify, step)? {
            let entry = entry.doing(Kind::Verify, step)?;
            take(ENTRY)?;
            let name = String::from_utf8_lossy(entry.name().as_bytes()).into_owned();
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            if entry.file_type() == FileType::Dir {
                if path.chars().count() > LONGEST_PATH {
                    return Err(repeats());
                }
                directories.push(path);
                continue;
            }
            let mut bytes = Vec::new();
            let mut file =
                volume.open(format!("/{path}"), OpenOptions::new().read()).doing(Kind::Verify, step)?;
            std::io::Read::read_to_end(&mut file, &mut bytes).doing(Kind::Verify, step)?;
            take(bytes.len())?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}

/// Returns a size that fits the files at any cluster size: each is rounded up, plus 1 % and 1 MiB for tables
/// and directories.
fn needed(files: &BTreeMap<String, Vec<u8>>) -> u64 {
    let content: u64 =
        files.values().map(|bytes| (bytes.len() as u64).next_multiple_of(32 << 10) + (32 << 10)).sum();
    content + content / 100 + MIB
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Options, Variant, read, write};
    use crate::host;
    use crate::judge::{accepts, judge};

    fn options(variant: Variant) -> Options<'static> {
        Options { variant, label: "CIDATA", serial: 0x1234_5678, epoch: 1_700_000_001, size: 0 }
    }

    #[test]
    fn fsck_accepts_the_volume_and_mtools_reads_the_files_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume");
        let cases = [
            (10, Variant::Any),
            (10, Variant::Fat32),
            (20 << 20, Variant::Any),
            (20 << 20, Variant::Fat32),
            (70 << 20, Variant::Fat32),
        ];
        for (size, variant) in cases {
            let (Some(mut fsck), Some(mut mtype), Some(mut mdir)) =
                (judge("fsck.fat"), judge("mtype"), judge("mdir"))
            else {
                return;
            };
            let files = BTreeMap::from([
                ("EFI/BOOT/BOOTX64.EFI".to_owned(), (0..size).map(|i| (i % 251) as u8).collect::<Vec<u8>>()),
                ("EFI/Linux/kiln-control-plane.efi".to_owned(), b"long name".to_vec()),
                ("user-data".to_owned(), b"#cloud-config\n".to_vec()),
            ]);
            let volume = write(&files, &options(variant)).unwrap();
            host::fs::write_atomic(&path, &volume, host::fs::PUBLIC).unwrap();
            let verdict = accepts(fsck.args(["-n", "-v"]).arg(&path));
            assert!(!verdict.to_lowercase().contains("error") && verdict.contains("7 files"), "{verdict}");
            assert_eq!(verdict.contains("32 bit entries"), variant == Variant::Fat32, "{verdict}");
            let listing = accepts(mdir.arg("-i").arg(&path).args(["-/", "::"]));
            assert!(
                listing.contains("CIDATA") && listing.contains("1234-5678") && listing.contains("2023-11-14"),
                "{listing}"
            );
            let typed = mtype.arg("-i").arg(&path).arg("::EFI/BOOT/BOOTX64.EFI").output().unwrap();
            assert!(typed.stdout == files["EFI/BOOT/BOOTX64.EFI"], "{size} bytes read back differ");
            assert!(read(volume.clone()).unwrap() == files, "{size} bytes: we read other files");
            assert!(write(&files, &options(variant)).unwrap() == volume, "{size} bytes: two runs differ");
        }
    }
}
