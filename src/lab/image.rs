//! Root filesystem of a role image, mounted from the disk image that would be shipped, after verification
//! against its verity tree.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::gpt::{Partition, Table};
use crate::disk::guid::Guid;
use crate::disk::verity::{self, BLOCK, Superblock};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::words::{ROOT, ROOT_VERITY};

/// Mounts the root filesystem of the disk image `disk` read-only on `target`.
///
/// # Errors
///
/// [`Kind::Verify`] if the blocks do not match the root hash in the partition UUIDs.
pub(super) fn mount(disk: &Path, target: &Path) -> Result<()> {
    let root = verified_root(disk).within(|| format!("verifying `{}`", disk.display()))?;
    host::fs::create_directories(target)?;
    let options = format!("ro,loop,offset={},sizelimit={}", root.start, root.size);
    let mut command = host::process::command("mount");
    host::process::run(command.args(["-o", &options]).arg(disk).arg(target)).map(|_| ())
}

/// Mounts the root filesystem of an image whose parts are separate files in `directory`.
///
/// # Errors
///
/// Same as [`mount`].
pub(super) fn mount_parts(directory: &Path, target: &Path) -> Result<()> {
    let data = verified_parts(directory).within(|| format!("verifying `{}`", directory.display()))?;
    host::fs::create_directories(target)?;
    host::process::run(host::process::command("mount").args(["-o", "ro,loop"]).arg(data).arg(target))
        .map(|_| ())
}

fn verified_parts(directory: &Path) -> Result<PathBuf> {
    let data =
        ["root.squashfs", "root.erofs"].iter().map(|name| directory.join(name)).find(|path| path.exists());
    let data = data.ok_or_else(|| Error::new(Kind::Verify, "the image contains no root filesystem"))?;
    let superblock = Superblock::read(&host::fs::read_at(&directory.join("root.verity"), 0, BLOCK)?)?;
    let hash = root_hash(host::fs::open(&data)?, &superblock)?;
    let expected = host::fs::read_to_string(&directory.join("root.hash"))?;
    if hash.to_string() == expected.trim() { Ok(data) } else { Err(changed(&hash)) }
}

/// Returns the root partition after verifying the hash of every block.
fn verified_root(disk: &Path) -> Result<Partition> {
    let mut file = host::fs::open(disk)?;
    let table = Table::read(&mut file)?;
    let find = |label: &str| {
        let missing = || Error::new(Kind::Verify, format!("the image contains no `{label}` partition"));
        table.find(label).cloned().ok_or_else(missing)
    };
    let (root, tree) = (find(ROOT)?, find(ROOT_VERITY)?);
    let superblock = Superblock::read(&host::fs::read_at(disk, tree.start, BLOCK)?)?;
    file.seek(SeekFrom::Start(root.start)).doing(Kind::Io, || "reading the root partition".into())?;
    let hash = root_hash(file, &superblock)?;
    if (root.id, tree.id) == (Guid::of_root(&hash), Guid::of_root_verity(&hash)) {
        Ok(root)
    } else {
        Err(changed(&hash))
    }
}

/// Returns the root hash of the blocks that begin at the reader's position.
fn root_hash(data: File, superblock: &Superblock) -> Result<Digest> {
    let mut blocks = data.take(superblock.data_blocks * BLOCK as u64);
    verity::format(&mut blocks, &superblock.parameters, &mut std::io::sink())
}

fn changed(hash: &Digest) -> Error {
    Error::new(Kind::Verify, format!("the root partition was modified: its root hash is {}", hash.short()))
        .hint("run `kiln build` to rebuild the image")
}
