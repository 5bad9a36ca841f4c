//! A role image's root filesystem, read in place from the disk image that would be shipped, and only after its verity tree agreed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::gpt::{Partition, Table};
use crate::disk::guid::Guid;
use crate::disk::verity::{self, BLOCK, Superblock};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;

/// Mounts the root filesystem of the disk image `disk` read-only on `target`.
///
/// # Errors
///
/// [`Kind::Verify`] if its blocks do not lead to the root hash that its partitions are named after.
pub(super) fn mount(disk: &Path, target: &Path) -> Result<()> {
    let root = verified_root(disk).within(|| format!("verifying `{}`", disk.display()))?;
    host::fs::create_directories(target)?;
    let options = format!("ro,loop,offset={},sizelimit={}", root.start, root.size);
    let mut command = host::process::command("mount");
    host::process::run(command.args(["-o", &options]).arg(disk).arg(target)).map(|_| ())
}

/// Mounts the root filesystem of an image whose parts lie in `directory` as files of their own.
///
/// # Errors
///
/// As [`mount`].
pub(super) fn mount_parts(directory: &Path, target: &Path) -> Result<()> {
    let data = verified_parts(directory).within(|| format!("verifying `{}`", directory.display()))?;
    host::fs::create_directories(target)?;
    host::process::run(host::process::command("mount").args(["-o", "ro,loop"]).arg(data).arg(target)).map(|_| ())
}

fn verified_parts(directory: &Path) -> Result<PathBuf> {
    let data = ["root.squashfs", "root.erofs"].iter().map(|name| directory.join(name)).find(|path| path.exists());
    let data = data.ok_or_else(|| Error::new(Kind::Verify, "it has no root filesystem"))?;
    let superblock = Superblock::read(&host::fs::read_at(&directory.join("root.verity"), 0, BLOCK)?)?;
    let hash = root_hash(host::fs::open(&data)?, &superblock)?;
    let expected = host::fs::read_to_string(&directory.join("root.hash"))?;
    if hash.to_string() == expected.trim() { Ok(data) } else { Err(changed(&hash)) }
}

/// The root partition, every block of which has the hash it should.
fn verified_root(disk: &Path) -> Result<Partition> {
    let mut file = host::fs::open(disk)?;
    let table = Table::read(&mut file)?;
    let find = |label: &str| {
        let missing = || Error::new(Kind::Verify, format!("it has no partition `{label}`"));
        table.find(label).cloned().ok_or_else(missing)
    };
    let (root, tree) = (find("kiln-root")?, find("kiln-root-verity")?);
    let superblock = Superblock::read(&host::fs::read_at(disk, tree.start, BLOCK)?)?;
    file.seek(SeekFrom::Start(root.start)).doing(Kind::Io, || "reading the root partition".into())?;
    let hash = root_hash(file, &superblock)?;
    if (root.id, tree.id) == (Guid::of_root(&hash), Guid::of_root_verity(&hash)) { Ok(root) } else { Err(changed(&hash)) }
}

/// The hash that the blocks from the reader's place on lead to.
fn root_hash(data: File, superblock: &Superblock) -> Result<Digest> {
    let mut blocks = data.take(superblock.data_blocks * BLOCK as u64);
    verity::format(&mut blocks, &superblock.parameters, &mut std::io::sink())
}

fn changed(hash: &Digest) -> Error {
    Error::new(Kind::Verify, format!("the root partition is changed: its root hash is {}", hash.short()))
        .hint("build it again: `kiln build`")
}
