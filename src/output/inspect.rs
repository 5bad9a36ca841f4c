//! Contents of an artifact: a disk's partitions, root, boot entries and seed; a seed's node and files. Never
//! shows secrets.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use crate::digest::Digest;
use crate::disk::gpt::{Partition, Table};
use crate::disk::pe::Image;
use crate::disk::segments::Disk;
use crate::disk::verity::{self, BLOCK, Superblock};
use crate::disk::{fat, virtual_disk};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::output::manifest::Manifest;
use crate::seed::{self, Identity, Seed};
use crate::words::artifacts::MANIFEST;
use crate::words::{CONFIG, ESP, ROOT, ROOT_VERITY};

/// Kind and contents of an artifact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum Inspected {
    Disk(DiskReport),
    Seed(SeedReport),
    /// An output directory.
    Output(Box<Manifest>),
}

/// One disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DiskReport {
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) partitions: Vec<PartitionReport>,
    pub(crate) root: RootReport,
    pub(crate) boot: Vec<BootReport>,
    pub(crate) seed: Option<SeedReport>,
}

/// One partition; start and size in bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PartitionReport {
    pub(crate) label: String,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// The read-only root, as its hash device describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RootReport {
    /// The hash that the partition IDs are derived from.
    pub(crate) root_hash: String,
    /// `squashfs`, `erofs` or `unknown`.
    pub(crate) filesystem: &'static str,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) salt: String,
}

/// One entry of the boot menu.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BootReport {
    pub(crate) file: String,
    pub(crate) kernel: String,
    pub(crate) system: String,
    pub(crate) command_line: String,
    /// Sizes of the kernel and the initrd in bytes.
    pub(crate) kernel_size: usize,
    pub(crate) initrd_size: usize,
}

/// One node's seed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SeedReport {
    pub(crate) identity: Identity,
    pub(crate) sha256: Digest,
    /// In bytes.
    pub(crate) size: usize,
    /// Dump of the tree, with secrets by name only.
    pub(crate) files: Vec<String>,
}

/// Inspects an output directory, a seed or a disk.
///
/// # Errors
///
/// [`Kind::Input`] if it is none of these, [`Kind::Verify`] if it is damaged, [`Kind::Io`] if it can't be
/// read.
pub(crate) fn inspect(path: &Path) -> Result<Inspected> {
    if path.is_dir() {
        let manifest = Manifest::read(path);
        let hint = format!("an output directory contains `{MANIFEST}`; inspect other files one by one");
        return manifest.map(|manifest| Inspected::Output(Box::new(manifest))).map_err(|err| err.hint(hint));
    }
    let carrier = seed::read_carrier(host::fs::open(path)?)
        .doing(Kind::Io, || format!("reading `{}`", path.display()))?;
    let report = match carrier {
        Some(bytes) => seed_report(&bytes).map(Inspected::Seed),
        None => virtual_disk::open(path).and_then(|disk| disk_report(&disk)).map(Inspected::Disk),
    };
    report.within(|| format!("inspecting `{}`", path.display()))
}

fn disk_report(disk: &Disk) -> Result<DiskReport> {
    let parts = Parts::open(disk)?;
    Ok(DiskReport {
        size: disk.size(),
        partitions: parts.table.partitions.iter().map(partition_report).collect(),
        root: root_report(&parts)?,
        boot: parts
            .boot_entries()?
            .into_iter()
            .map(|(file, entry)| boot_report(file, &entry))
            .collect::<Result<_>>()?,
        seed: parts.seed()?.map(|bytes| seed_report(&bytes)).transpose()?,
    })
}

fn partition_report(partition: &Partition) -> PartitionReport {
    let Partition { label, kind, id, start, size, .. } = partition;
    PartitionReport {
        label: label.clone(),
        kind: kind.to_string(),
        id: id.to_string(),
        start: *start,
        size: *size,
    }
}

fn root_report(parts: &Parts<'_>) -> Result<RootReport> {
    let (root, superblock) = (parts.find(ROOT)?, parts.superblock()?);
    let start = parts.disk.read_at(root.start, BLOCK as u64)?;
    let filesystem = match (&start[..4], &start[1024..1028]) {
        (b"hsqs", _) => "squashfs",
        (_, [0xe2, 0xe1, 0xf5, 0xe0]) => "erofs",
        _ => "unknown",
    };
    let salt = superblock.parameters.salt.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(RootReport {
        root_hash: parts.named_root_hash()?,
        filesystem,
        size: superblock.data_blocks * BLOCK as u64,
        salt,
    })
}

fn boot_report(file: String, entry: &Image) -> Result<BootReport> {
    let missing = || Error::new(Kind::Verify, format!("`{file}` is not a unified kernel image"));
    let text = |name: &str| {
        entry.section(name).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned()).ok_or_else(missing)
    };
    let size = |name: &str| entry.section(name).map(<[u8]>::len).ok_or_else(missing);
    let os_release = text(".osrel")?;
    let system = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned();
    let (kernel, command_line) = (text(".uname")?, text(".cmdline")?);
    let (kernel_size, initrd_size) = (size(".linux")?, size(".initrd")?);
    Ok(BootReport { kernel, system, command_line, kernel_size, initrd_size, file })
}

fn seed_report(bytes: &[u8]) -> Result<SeedReport> {
    let seed = Seed::unpack(bytes)?;
    let files = seed.tree.dump().lines().map(str::to_owned).collect();
    Ok(SeedReport { identity: seed.identity, sha256: Seed::digest(bytes)?, size: bytes.len(), files })
}

/// A disk and its partition table.
pub(super) struct Parts<'a> {
    pub(super) disk: &'a Disk,
    table: Table,
}

impl<'a> Parts<'a> {
    pub(super) fn open(disk: &'a Disk) -> Result<Self> {
        let table = Table::read(&mut disk.reader())
            .map_err(|err| err.hint("kiln inspects disks, seeds and output directories"))?;
        Ok(Self { disk, table })
    }

    fn find(&self, label: &str) -> Result<&Partition> {
        self.table
            .find(label)
            .ok_or_else(|| Error::new(Kind::Verify, format!("the disk contains no partition `{label}`")))
    }

    fn superblock(&self) -> Result<Superblock> {
        Superblock::read(&self.disk.read_at(self.find(ROOT_VERITY)?.start, BLOCK as u64)?)
    }

    /// Returns the root hash that the identifiers of the two partitions encode.
    pub(super) fn named_root_hash(&self) -> Result<String> {
        let halves = [self.find(ROOT)?.id, self.find(ROOT_VERITY)?.id];
        Ok(halves.iter().map(|half| half.to_string().replace('-', "")).collect())
    }

    /// Returns the root hash computed from the root's blocks, and whether the hash device contains the
    /// matching hash tree.
    pub(super) fn actual_root_hash(&self) -> Result<(Digest, bool)> {
        let (root, tree, superblock) = (self.find(ROOT)?, self.find(ROOT_VERITY)?, self.superblock()?);
        let size = superblock.data_blocks.saturating_mul(BLOCK as u64);
        if size > root.size {
            return Err(Error::new(Kind::Verify, "the hash device covers more than the root partition"));
        }
        let mut data = self.disk.reader();
        data.seek(SeekFrom::Start(root.start)).doing(Kind::Io, || "reading the root partition".into())?;
        let mut hashes = Vec::new();
        let root_hash = verity::format(&mut data.take(size), &superblock.parameters, &mut hashes)?;
        let is_same =
            hashes.len() as u64 <= tree.size && self.disk.read_at(tree.start, hashes.len() as u64)? == hashes;
        Ok((root_hash, is_same))
    }

    /// Returns the unified kernel images on the EFI system partition.
    pub(super) fn boot_entries(&self) -> Result<BTreeMap<String, Image>> {
        let esp = self.find(ESP)?;
        let files = fat::read(self.disk.read_at(esp.start, esp.size)?)?;
        let entries = files.into_iter().filter(|(path, _)| path.starts_with("EFI/Linux/"));
        entries.map(|(path, bytes)| Ok((path, Image::parse(bytes)?))).collect()
    }

    /// Returns the packed seed in the config partition.
    pub(super) fn seed(&self) -> Result<Option<Vec<u8>>> {
        let config = self.find(CONFIG)?;
        let mut reader = self.disk.reader();
        reader
            .seek(SeekFrom::Start(config.start))
            .doing(Kind::Io, || "reading the config partition".into())?;
        seed::read_carrier(reader.take(config.size)).doing(Kind::Io, || "reading the config partition".into())
    }
}
