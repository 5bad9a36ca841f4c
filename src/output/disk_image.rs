//! A role image as a disk: discoverable partitions (UAPI.2) for boot files, root, root hashes, seed and
//! state.

use crate::disk::gpt::{self, Partition, Table};
use crate::disk::guid::Guid;
use crate::disk::segments::Disk;
use crate::error::{Error, Kind, Result};
use crate::output::role::RoleImage;
use crate::output::state;
use crate::words::{CONFIG, ESP, ROOT, ROOT_VERITY, STATE};

/// Alignment of partitions and their sizes, in bytes.
const ALIGNMENT: u64 = 1 << 20;
/// Size of the config partition in bytes.
pub(crate) const CONFIG_SIZE: u64 = 4 << 20;

/// Partition types of UAPI.2 and, for the config partition, "Linux generic data". The types of the root
/// partitions depend on the architecture.
const ESP_TYPE: Guid = Guid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
const CONFIG_TYPE: Guid = Guid::from_u128(0x0fc63daf_8483_4772_8e79_3d69d8477de4);
const STATE_TYPE: Guid = Guid::from_u128(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);

/// A disk and its layout.
#[derive(Clone, Debug)]
pub(crate) struct DiskImage {
    pub(crate) disk: Disk,
    pub(crate) table: Table,
}

/// Lays out the disk of `image`, with an empty config partition.
///
/// # Errors
///
/// [`Kind::Io`] if a part can't be read.
pub(crate) fn compose(image: &RoleImage) -> Result<DiskImage> {
    let esp = image.boot.esp(&image.root.root_hash, image.epoch)?;
    let size_of = |path: &std::path::Path| crate::host::fs::size(path);
    let sizes = [
        esp.len() as u64,
        size_of(&image.root.data)?,
        size_of(&image.root.hashes)?,
        CONFIG_SIZE,
        state::SIZE,
    ];
    let table = table(image, sizes);
    let mut disk = Disk::new(table.size);
    let [esp_at, root_at, hashes_at, _, state_at] =
        table.partitions.iter().map(|partition| partition.start).collect::<Vec<_>>()[..]
    else {
        return Err(Error::new(Kind::Internal, "the disk has an unexpected number of partitions"));
    };
    disk.put_bytes(0, table.head()?)?;
    disk.put_bytes(esp_at, esp)?;
    disk.put_file(root_at, &image.root.data)?;
    disk.put_file(hashes_at, &image.root.hashes)?;
    disk.put_file(state_at, &image.state.path)?;
    disk.put_bytes(table.size - gpt::TAIL, table.tail()?)?;
    Ok(DiskImage { disk, table })
}

/// Returns the table of consecutive partitions. The state is last, so that it can grow.
fn table(image: &RoleImage, sizes: [u64; 5]) -> Table {
    let hash = &image.root.root_hash;
    let kinds = [
        (ESP, ESP_TYPE, Guid::derived(hash, ESP), 0),
        (ROOT, Guid::from_u128(image.arch.root), Guid::of_root(hash), gpt::READ_ONLY),
        (ROOT_VERITY, Guid::from_u128(image.arch.root_verity), Guid::of_root_verity(hash), gpt::READ_ONLY),
        (CONFIG, CONFIG_TYPE, Guid::derived(hash, CONFIG), gpt::NO_AUTO),
        (STATE, STATE_TYPE, Guid::derived(hash, STATE), gpt::GROW),
    ];
    let mut end = ALIGNMENT;
    let mut partitions = Vec::new();
    for ((label, kind, id, attributes), size) in kinds.into_iter().zip(sizes) {
        let (start, size) = (end, size.next_multiple_of(ALIGNMENT));
        end = start + size;
        partitions.push(Partition { label: label.to_owned(), kind, id, start, size, attributes });
    }
    Table { id: Guid::derived(hash, "disk"), size: end + ALIGNMENT, partitions }
}

/// Returns the offset of a disk's seed, in bytes.
pub(crate) fn config_offset(table: &Table) -> u64 {
    table.find(CONFIG).expect("every image has a config partition").start
}

/// Rejects a seed that does not fit.
///
/// # Errors
///
/// [`Kind::Input`], naming the node.
pub(crate) fn check_seed(node: &str, seed: &[u8]) -> Result<()> {
    let size = seed.len() as u64;
    if size <= CONFIG_SIZE {
        return Ok(());
    }
    let (size, most) = (size >> 10, CONFIG_SIZE >> 10);
    Err(Error::new(
        Kind::Input,
        format!(
            "the seed of `{node}` is {size} KiB long, but the config partition has room for only {most} KiB"
        ),
    )
    .hint("move large overlay files out of `/etc`: they then become part of the role image"))
}
