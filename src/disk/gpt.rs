//! GUID partition tables (UEFI 2.10 chapter 5) with 512-byte sectors: writes both copies and the protective
//! MBR, and reads them back.

use std::io::{self, Cursor, Seek, SeekFrom, Write};

use gptman::{GPT, GPTHeader, GPTPartitionEntry};
use serde::{Deserialize, Serialize};

use crate::disk::guid::Guid;
use crate::error::{Doing, Kind, Result};

/// Sector size in bytes.
pub(crate) const SECTOR: u64 = 512;
/// Sectors of the partition array: 128 entries of 128 bytes.
const ARRAY: u64 = 32;
const ENTRIES: u32 = 128;
/// Minimum number of bytes before the first partition: MBR, header, array.
pub(crate) const HEAD: u64 = (2 + ARRAY) * SECTOR;
/// Minimum number of bytes after the last partition: array, header.
pub(crate) const TAIL: u64 = (1 + ARRAY) * SECTOR;

/// Attribute bit 60: read-only (UAPI.2).
pub(crate) const READ_ONLY: u64 = 1 << 60;
/// Attribute bit 63: not mounted automatically (UAPI.2).
pub(crate) const NO_AUTO: u64 = 1 << 63;
/// Attribute bit 59: grow the file system to the partition's size (UAPI.2).
pub(crate) const GROW: u64 = 1 << 59;

/// One partition; start and size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Partition {
    pub(crate) label: String,
    pub(crate) kind: Guid,
    pub(crate) id: Guid,
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) attributes: u64,
}

/// Partition table of one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) id: Guid,
    /// Size of the whole disk in bytes, a multiple of the sector size.
    pub(crate) size: u64,
    pub(crate) partitions: Vec<Partition>,
}

impl Table {
    /// Returns the first [`HEAD`] bytes of the disk.
    pub(crate) fn head(&self) -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(zeros(HEAD));
        let step = || "writing the partition table".into();
        // A disk larger than 2 TiB is covered as far as an MBR allows (UEFI 2.10 table 5.4).
        let sectors = u32::try_from(self.size / SECTOR - 1).unwrap_or(u32::MAX);
        bytes.get_mut()[446..462].copy_from_slice(&protective_entry(sectors));
        bytes.get_mut()[510..512].copy_from_slice(&[0x55, 0xaa]);
        self.write(1, 2, &mut bytes).doing(Kind::Internal, step)?;
        Ok(bytes.into_inner())
    }

    /// Returns the last [`TAIL`] bytes of the disk.
    pub(crate) fn tail(&self) -> Result<Vec<u8>> {
        let mut bytes = Behind { start: self.size - TAIL, bytes: Cursor::new(zeros(TAIL)) };
        let last = self.size / SECTOR - 1;
        self.write(last, last - ARRAY, &mut bytes)
            .doing(Kind::Internal, || "writing the backup partition table".into())?;
        Ok(bytes.bytes.into_inner())
    }

    /// Writes one copy: the header at sector `at`, the array at sector `array`.
    fn write(&self, at: u64, array: u64, out: &mut (impl Write + Seek)) -> Result<(), gptman::Error> {
        let last = self.size / SECTOR - 1;
        let mut entries: Vec<GPTPartitionEntry> = self.partitions.iter().map(entry).collect();
        entries.resize_with(ENTRIES as usize, GPTPartitionEntry::empty);
        let mut header = GPTHeader {
            signature: *b"EFI PART",
            revision: [0, 0, 1, 0],
            header_size: 92,
            crc32_checksum: 0,
            reserved: [0; 4],
            primary_lba: at,
            backup_lba: if at == 1 { last } else { 1 },
            first_usable_lba: HEAD / SECTOR,
            last_usable_lba: last - TAIL / SECTOR,
            disk_guid: self.id.to_disk(),
            partition_entry_lba: array,
            number_of_partition_entries: ENTRIES,
            size_of_partition_entry: 128,
            partition_entry_array_crc32: 0,
        };
        header.write_into(out, SECTOR, &entries)
    }

    /// Reads the table of a disk, from the second copy if the first is damaged.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if there is no valid table.
    pub(crate) fn read(disk: &mut (impl io::Read + Seek)) -> Result<Self> {
        let step = || "reading the partition table".into();
        let size = disk.seek(SeekFrom::End(0)).doing(Kind::Io, step)?;
        let table = GPT::read_from(disk, SECTOR).doing(Kind::Verify, step)?;
        let used =
            table.iter().filter(|(_, entry)| entry.is_used() && entry.ending_lba >= entry.starting_lba);
        let partitions = used.map(|(_, entry)| partition(entry)).collect();
        Ok(Self { id: Guid::from_disk(table.header.disk_guid), size, partitions })
    }

    /// Returns the partition with this label.
    pub(crate) fn find(&self, label: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.label == label)
    }
}

fn zeros(size: u64) -> Vec<u8> {
    vec![0; usize::try_from(size).expect("a partition table fits in memory")]
}

/// Returns the only entry of the MBR: the whole disk, type 0xee.
fn protective_entry(sectors: u32) -> [u8; 16] {
    let mut entry = [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0];
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
    entry
}

fn entry(partition: &Partition) -> GPTPartitionEntry {
    GPTPartitionEntry {
        partition_type_guid: partition.kind.to_disk(),
        unique_partition_guid: partition.id.to_disk(),
        starting_lba: partition.start / SECTOR,
        ending_lba: (partition.start + partition.size) / SECTOR - 1,
        attribute_bits: partition.attributes,
        partition_name: partition.label.as_str().into(),
    }
}

fn partition(entry: &GPTPartitionEntry) -> Partition {
    Partition {
        label: entry.partition_name.as_str().to_owned(),
        kind: Guid::from_disk(entry.partition_type_guid),
        id: Guid::from_disk(entry.unique_partition_guid),
        start: entry.starting_lba.saturating_mul(SECTOR),
        size: (entry.ending_lba - entry.starting_lba).saturating_add(1).saturating_mul(SECTOR),
        attributes: entry.attribute_bits,
    }
}

/// Writer for the end of a disk, addressed as if the rest existed.
struct Behind {
    start: u64,
    bytes: Cursor<Vec<u8>>,
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Behind {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => {
                SeekFrom::Start(at.checked_sub(self.start).ok_or(io::ErrorKind::InvalidInput)?)
            }
            relative => relative,
        };
        Ok(self.bytes.seek(to)? + self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::os::unix::fs::FileExt;

    use super::{HEAD, NO_AUTO, Partition, READ_ONLY, TAIL, Table};
    use crate::digest::Digest;
    use crate::disk::guid::Guid;
    use crate::host;
    use crate::judge::{accepts, judge};

    fn table() -> Table {
        let digest = Digest::of(b"disk");
        let partition = |label: &str, kind: u128, start: u64, attributes| Partition {
            label: label.to_owned(),
            kind: Guid::from_u128(kind),
            id: Guid::derived(&digest, label),
            start: start << 20,
            size: 1 << 20,
            attributes,
        };
        let esp = partition("kiln-esp", 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b, 1, 0);
        let root = partition("kiln-root", 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709, 2, READ_ONLY | NO_AUTO);
        Table { id: Guid::derived(&digest, "disk"), size: 4 << 20, partitions: vec![esp, root] }
    }

    fn disk(table: &Table) -> Vec<u8> {
        let mut disk = table.head().unwrap();
        disk.extend(super::zeros(table.size - TAIL - HEAD));
        disk.extend(table.tail().unwrap());
        disk
    }

    #[test]
    fn sfdisk_and_sgdisk_find_nothing_to_complain_about() {
        let (Some(mut sfdisk), Some(mut sgdisk)) = (judge("sfdisk"), judge("sgdisk")) else { return };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let file = host::fs::create(&path, host::fs::PUBLIC).unwrap();
        file.write_all_at(&disk(&table()), 0).unwrap();
        let verdict = accepts(sfdisk.arg("--verify").arg(&path));
        assert!(verdict.contains("No errors detected."), "{verdict}");
        let verdict = accepts(sgdisk.arg("--verify").arg(&path));
        assert!(verdict.contains("No problems found.") && !verdict.contains("Warning"), "{verdict}");
        let dump = accepts(judge("sfdisk").unwrap().arg("--dump").arg(&path));
        let root = Guid::derived(&Digest::of(b"disk"), "kiln-root").to_string().to_uppercase();
        let line = format!(
            "type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid={root}, name=\"kiln-root\", attrs=\"GUID:60,63\""
        );
        assert!(dump.contains(&line), "{line} is not in\n{dump}");
    }

    #[test]
    fn the_table_is_read_back_and_its_copy_serves_when_the_first_is_damaged() {
        let mut disk = disk(&table());
        assert_eq!(Table::read(&mut Cursor::new(&disk)).unwrap(), table());
        disk[512..1024].fill(0);
        assert_eq!(Table::read(&mut Cursor::new(&disk)).unwrap(), table());
        disk.fill(0);
        assert!(Table::read(&mut Cursor::new(&disk)).is_err());
    }
}
