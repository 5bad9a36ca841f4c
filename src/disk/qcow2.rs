//! qcow2 version 3 (QEMU `docs/interop/qcow2.rst`): converts a disk to a file, with or without a backing
//! file.
//!
//! Clusters are not compressed, because the data already is. Tables come first, then data in the guest's
//! order.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::disk::segments::{Disk, Source};
use crate::error::{Error, Kind, Result};

/// Cluster size of 64 KiB, the default of `qemu-img`.
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries in one cluster of an L1, L2 or refcount table.
const TABLE: u64 = CLUSTER / 8;
/// Counters in one refcount block: 16 bits each.
const COUNTERS: u64 = CLUSTER / 2;
/// Flag of entries whose cluster is used once, so that it may be written in place.
const COPIED: u64 = 1 << 63;
const HEADER: u32 = 104;
/// Header extension: name of the backing file's format.
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// Maximum length of a backing file's name in bytes.
const LONGEST_NAME: usize = 1023;

/// Backing file of an overlay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backing<'a> {
    /// Path relative to the overlay's directory.
    pub(crate) path: &'a str,
    /// Format, `raw` or `qcow2`. Without it, QEMU would guess the format from content that a guest can write.
    pub(crate) format: &'static str,
}

/// Position of each part of the file, in clusters.
struct Layout {
    l1: u64,
    l1_clusters: u64,
    refcounts: u64,
    refcount_clusters: u64,
    blocks: u64,
    block_clusters: u64,
    l2: u64,
    data: u64,
    end: u64,
}

/// Creates the file for `disk`. With `backing`, it contains only the disk's segments; the rest is read from
/// the backing file.
///
/// # Errors
///
/// [`Kind::Internal`] if the path is too long.
pub(crate) fn file(disk: &Disk, backing: Option<Backing<'_>>) -> Result<Disk> {
    let runs = runs(disk);
    let tables = tables(&runs);
    let layout =
        Layout::new(disk.size(), tables.len() as u64, runs.iter().map(|run| run.end - run.start).sum());
    let mut file = Disk::new(layout.end * CLUSTER);
    file.put_bytes(0, header(disk.size(), &layout, backing)?)?;
    file.put_bytes(layout.l1 * CLUSTER, l1(&tables, &layout))?;
    file.put_bytes(layout.refcounts * CLUSTER, refcount_table(&layout))?;
    file.put_bytes(layout.blocks * CLUSTER, refcount_blocks(&layout))?;
    file.put_bytes(layout.l2 * CLUSTER, l2(&runs, &tables, &layout))?;
    put_data(disk, &runs, &layout, &mut file)?;
    Ok(file)
}

/// Returns the ranges of guest clusters that contain data, in order and disjoint.
fn runs(disk: &Disk) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in disk.ranges() {
        let (start, end) = (range.start / CLUSTER, range.end.div_ceil(CLUSTER));
        match runs.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => runs.push(start..end),
        }
    }
    runs
}

/// Returns the required L2 tables, keyed by their index in the L1 table, each with its number in the file.
fn tables(runs: &[Range<u64>]) -> BTreeMap<u64, u64> {
    let needed = runs.iter().flat_map(|run| run.start / TABLE..run.end.div_ceil(TABLE));
    let mut tables: BTreeMap<u64, u64> = needed.map(|table| (table, 0)).collect();
    for (number, table) in (0..).zip(tables.values_mut()) {
        *table = number;
    }
    tables
}

impl Layout {
    fn new(size: u64, l2_clusters: u64, data_clusters: u64) -> Self {
        let l1_clusters = size.div_ceil(CLUSTER * TABLE).div_ceil(TABLE).max(1);
        let fixed = 1 + l1_clusters + l2_clusters + data_clusters;
        // Refcount tables count themselves: grow until they cover the whole file.
        let (mut block_clusters, mut refcount_clusters) = (1, 1);
        while block_clusters * COUNTERS < fixed + block_clusters + refcount_clusters {
            block_clusters += 1;
            refcount_clusters = block_clusters.div_ceil(TABLE);
        }
        let refcounts = 1 + l1_clusters;
        let blocks = refcounts + refcount_clusters;
        let l2 = blocks + block_clusters;
        let data = l2 + l2_clusters;
        Self {
            l1: 1,
            l1_clusters,
            refcounts,
            refcount_clusters,
            blocks,
            block_clusters,
            l2,
            data,
            end: data + data_clusters,
        }
    }
}

fn header(size: u64, layout: &Layout, backing: Option<Backing<'_>>) -> Result<Vec<u8>> {
    let name = backing.map_or("", |backing| backing.path);
    if name.len() > LONGEST_NAME {
        return Err(Error::new(Kind::Internal, format!("the path `{name}` is too long for a qcow2 file")));
    }
    let extensions =
        backing.map(|backing| extension(BACKING_FORMAT, backing.format.as_bytes())).unwrap_or_default();
    let name_offset = if backing.is_some() { u64::from(HEADER) + extensions.len() as u64 + 8 } else { 0 };
    let l1_size = u32::try_from(size.div_ceil(CLUSTER * TABLE))
        .map_err(|_| Error::new(Kind::Internal, "the disk is too large"))?;
    let mut header = b"QFI\xfb".to_vec();
    let mut put = |bytes: &[u8]| header.extend_from_slice(bytes);
    put(&3_u32.to_be_bytes()); // version
    put(&name_offset.to_be_bytes());
    put(&small(name.len() as u64).to_be_bytes());
    put(&CLUSTER_BITS.to_be_bytes());
    put(&size.to_be_bytes());
    put(&0_u32.to_be_bytes()); // not encrypted
    put(&l1_size.to_be_bytes());
    put(&(layout.l1 * CLUSTER).to_be_bytes());
    put(&(layout.refcounts * CLUSTER).to_be_bytes());
    put(&small(layout.refcount_clusters).to_be_bytes());
    put(&[0; 12]); // no snapshots
    put(&[0; 24]); // no feature bits
    put(&4_u32.to_be_bytes()); // refcounts of 1 << 4 bits
    put(&HEADER.to_be_bytes());
    put(&extensions);
    put(&[0; 8]); // end of the extensions
    put(name.as_bytes());
    Ok(header)
}

fn extension(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend_from_slice(&small(data.len() as u64).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn l1(tables: &BTreeMap<u64, u64>, layout: &Layout) -> Vec<u8> {
    let mut l1 = clusters(layout.l1_clusters);
    for (index, number) in tables {
        put_entry(&mut l1, *index, ((layout.l2 + number) * CLUSTER) | COPIED);
    }
    l1
}

fn l2(runs: &[Range<u64>], tables: &BTreeMap<u64, u64>, layout: &Layout) -> Vec<u8> {
    let mut l2 = clusters(tables.len() as u64);
    for (host, guest) in (layout.data..).zip(runs.iter().cloned().flatten()) {
        let number = tables[&(guest / TABLE)];
        put_entry(&mut l2, number * TABLE + guest % TABLE, (host * CLUSTER) | COPIED);
    }
    l2
}

fn refcount_table(layout: &Layout) -> Vec<u8> {
    let mut table = clusters(layout.refcount_clusters);
    for block in 0..layout.block_clusters {
        put_entry(&mut table, block, (layout.blocks + block) * CLUSTER);
    }
    table
}

/// Returns refcount blocks in which every cluster up to the end is used once.
fn refcount_blocks(layout: &Layout) -> Vec<u8> {
    let mut blocks = clusters(layout.block_clusters);
    for counter in blocks.chunks_exact_mut(2).take(in_memory(layout.end)) {
        counter.copy_from_slice(&1_u16.to_be_bytes());
    }
    blocks
}

fn put_entry(table: &mut [u8], index: u64, entry: u64) {
    table[in_memory(index) * 8..][..8].copy_from_slice(&entry.to_be_bytes());
}

fn clusters(count: u64) -> Vec<u8> {
    vec![0; in_memory(count * CLUSTER)]
}

fn in_memory(number: u64) -> usize {
    usize::try_from(number).expect("tables fit in memory")
}

fn small(number: u64) -> u32 {
    u32::try_from(number).expect("names and tables are small")
}

/// Writes the disk's segments to the positions of their clusters in the file.
fn put_data(disk: &Disk, runs: &[Range<u64>], layout: &Layout, file: &mut Disk) -> Result<()> {
    let mut host = layout.data * CLUSTER;
    let mut runs = runs.iter().peekable();
    for (at, source) in disk.segments() {
        while let Some(run) = runs.next_if(|run| run.end * CLUSTER <= at) {
            host += (run.end - run.start) * CLUSTER;
        }
        let run = runs.peek().expect("every segment is in a run");
        file.put(host + at - run.start * CLUSTER, Source::clone(source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::{Backing, file};
    use crate::disk::segments::Disk;
    use crate::host;
    use crate::judge::{accepts, judge};
    use crate::progress::Silent;

    fn write(disk: &Disk, path: &Path) {
        let digest = disk.write(&host::fs::create(path, host::fs::PUBLIC).unwrap(), &Silent).unwrap();
        assert_eq!(host::fs::digest(path).unwrap().0, digest);
    }

    fn pattern(length: usize) -> Vec<u8> {
        (1..=253).cycle().take(length).collect()
    }

    fn disk(size: u64, segments: &[(u64, usize)]) -> Disk {
        let mut disk = Disk::new(size);
        for (at, length) in segments {
            disk.put_bytes(*at, pattern(*length)).unwrap();
        }
        disk
    }

    #[test]
    fn qemu_finds_no_error_and_reads_the_same_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (raw, qcow2) = (dir.path().join("raw"), dir.path().join("qcow2"));
        let cases: [(u64, &[(u64, usize)]); 5] = [
            (1 << 20, &[]),
            (3 << 20, &[(0, 100), (1000, 3), (65_536, 65_536), (200_000, 1), (3 << 20, 0)]),
            ((600 << 20) + 512, &[(0, 17_408), (512 << 20, 200_000), ((600 << 20) - 16_384, 16_896)]),
            (1100 << 20, &[(1 << 20, 1), ((1090 << 20) + 5, 70_000)]),
            (300 << 20, &[(1 << 20, 20 << 20)]),
        ];
        for (size, segments) in cases {
            let (Some(mut check), Some(mut compare)) = (judge("qemu-img"), judge("qemu-img")) else { return };
            let disk = disk(size, segments);
            write(&disk, &raw);
            write(&file(&disk, None).unwrap(), &qcow2);
            let verdict = accepts(check.args(["check", "-f", "qcow2"]).arg(&qcow2));
            assert!(verdict.contains("No errors were found"), "{verdict}");
            accepts(compare.args(["compare", "-f", "raw", "-F", "qcow2"]).arg(&raw).arg(&qcow2));
        }
    }

    #[test]
    fn an_overlay_changes_its_bytes_of_the_backing_file_and_no_other() {
        let (Some(mut check), Some(mut compare)) = (judge("qemu-img"), judge("qemu-img")) else { return };
        let dir = tempfile::tempdir().unwrap();
        let (images, nodes) = (dir.path().join("images"), dir.path().join("nodes/m1"));
        host::fs::create_directories(&images).unwrap();
        host::fs::create_directories(&nodes).unwrap();
        let role = disk(80 << 20, &[(0, 17_408), (1 << 20, 9 << 20)]);
        write(&role, &images.join("role.raw"));
        let seed = disk(80 << 20, &[(4 << 20, 300_000)]);
        write(
            &file(&seed, Some(Backing { path: "../../images/role.raw", format: "raw" })).unwrap(),
            &nodes.join("m1.qcow2"),
        );
        write(&role, &dir.path().join("expected"));
        let expected = host::fs::open_writable(&dir.path().join("expected")).unwrap();
        // Whole clusters of an overlay hide the backing file: a config partition is empty in a role image.
        expected.write_all_at(&vec![0; 5 * 65_536], 4 << 20).unwrap();
        expected.write_all_at(&pattern(300_000), 4 << 20).unwrap();
        let verdict = accepts(check.args(["check", "-f", "qcow2"]).arg(nodes.join("m1.qcow2")));
        assert!(verdict.contains("No errors were found"), "{verdict}");
        accepts(
            compare
                .args(["compare", "-f", "raw", "-F", "qcow2"])
                .arg(dir.path().join("expected"))
                .arg(nodes.join("m1.qcow2")),
        );
        assert!(host::fs::open(&nodes.join("m1.qcow2")).unwrap().metadata().unwrap().len() < 1 << 20);
    }
}
