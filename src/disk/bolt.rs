//! Database files of bbolt, etcd's storage engine: every page in use is read and checked.
//!
//! bbolt's own check is <https://github.com/etcd-io/bbolt/blob/v1.3.10/tx_check.go>; the format is in its
//! `page.go`, `db.go` and `bucket.go`. Numbers are little-endian, as on every platform that kiln supports.
//!
//! ```text
//! page     id u64, flags u16, count u16, overflow u32 (number of continuation pages); then the elements, then their data
//! branch   position u32, key size u32, page u64       position is relative to the element
//! leaf     flags u32, position u32, key size u32, value size u32
//! meta     magic u32, version u32, page size u32, flags u32, root u64, sequence u64, free list u64, pages u64, transaction u64, FNV-1a u64
//! bucket   root u64, sequence u64; with root 0, an inline page follows
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Kind, Result};

/// Length of a page header, and of an element of either kind.
const HEADER: usize = 16;
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const FREE: u16 = 0x10;
/// Flag of a leaf element that is a bucket.
const BUCKET: u32 = 1;
/// Marks a free list that is not in the file: etcd rebuilds the list at each start.
const NOWHERE: u64 = u64::MAX;
/// Maximum number of continuation pages of one page: 1 GiB, more than etcd accepts for a value.
const LONGEST: u32 = 1 << 18;
/// Maximum depth of a page tree; real trees have a few levels.
const DEEPEST: usize = 64;

/// Meta page of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meta {
    page_size: usize,
    root: u64,
    free: u64,
    /// Number of pages that are or were in use.
    pages: u64,
    transaction: u64,
}

/// A database whose pages are all valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// Size in bytes up to the end of the last page.
    pub(crate) size: u64,
}

/// Callback for the name of a root bucket, a key and its value.
type Visit<'a> = dyn FnMut(&[u8], &[u8], &[u8]) -> Result<()> + 'a;

/// Walks all pages, and calls `visit` with each key and value of a root bucket, and the bucket's name.
///
/// # Errors
///
/// [`Kind::Verify`] naming the page; [`Kind::Io`]; errors of `visit`.
pub(crate) fn walk(file: &File, size: u64, visit: &mut Visit<'_>) -> Result<Sound> {
    let meta = meta(file, size)?;
    let end = meta.pages.checked_mul(meta.page_size as u64).filter(|end| *end <= size);
    let Some(end) = end else {
        return Err(damaged(format!(
            "it ends after {size} bytes, but has {} pages of {} bytes",
            meta.pages, meta.page_size
        )));
    };
    let words = usize::try_from(meta.pages.div_ceil(64))
        .map_err(|_| damaged("it is too large for this machine".into()))?;
    let mut walk = Walk { file, meta, seen: vec![0; words], visit };
    walk.see(0, 2)?;
    let free = walk.free_list()?;
    walk.bucket(meta.root, None, 0)?;
    if let Some(free) = free {
        free.into_iter().try_for_each(|id| walk.see(id, 1))?;
        if let Some(id) = (0..meta.pages).find(|id| !walk.has_seen(*id)) {
            return Err(damaged(format!("page {id} is neither free nor referenced")));
        }
    }
    Ok(Sound { size: end })
}

fn damaged(how: String) -> Error {
    Error::new(Kind::Verify, format!("the database is damaged: {how}"))
}

fn read(file: &File, offset: u64, size: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(err) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(damaged(format!("it ends before byte {}", offset + size as u64)))
        }
        Err(err) => Err(Error::new(Kind::Io, format!("reading {size} bytes at offset {offset}: {err}"))),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Returns the newer of the valid meta pages. There are two, because a power failure may leave one
/// incomplete.
fn meta(file: &File, size: u64) -> Result<Meta> {
    let first = read(file, 0, HEADER + 64)?;
    let first = decode(&first[HEADER..]);
    // The first meta page determines the position of the second; without it, each usual page size is tried.
    let sizes = first.map_or_else(|| (9..=16).map(|bits| 1 << bits).collect(), |meta| vec![meta.page_size]);
    let second = sizes.into_iter().filter(|page| (*page + HEADER + 64) as u64 <= size).find_map(|page| {
        let bytes = read(file, page as u64, HEADER + 64).ok()?;
        decode(&bytes[HEADER..]).filter(|meta| meta.page_size == page)
    });
    let newest = [first, second].into_iter().flatten().max_by_key(|meta| meta.transaction);
    newest.ok_or_else(|| {
        Error::new(Kind::Verify, "this is not an etcd database: it contains no valid meta page")
    })
}

fn decode(bytes: &[u8]) -> Option<Meta> {
    let is_right =
        u32_at(bytes, 0) == MAGIC && u32_at(bytes, 4) == VERSION && u64_at(bytes, 56) == fnv1a(&bytes[..56]);
    let page_size = u32_at(bytes, 8) as usize;
    let is_right = is_right && page_size.is_power_of_two() && (512..=65536).contains(&page_size);
    is_right.then(|| Meta {
        page_size,
        root: u64_at(bytes, 16),
        free: u64_at(bytes, 32),
        pages: u64_at(bytes, 40),
        transaction: u64_at(bytes, 48),
    })
}

/// Computes the 64-bit FNV-1a hash (RFC 9923).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A page with its continuation pages.
struct Page {
    name: String,
    flags: u16,
    count: usize,
    bytes: Vec<u8>,
}

impl Page {
    /// Parses the header at the start of `bytes`.
    fn new(name: String, bytes: Vec<u8>) -> Self {
        Self { name, flags: u16_at(&bytes, 8), count: usize::from(u16_at(&bytes, 10)), bytes }
    }

    fn damaged(&self, how: &str) -> Error {
        damaged(format!("{} {how}", self.name))
    }

    /// Returns the offset of an element.
    fn element(&self, index: usize) -> usize {
        HEADER * (index + 1)
    }

    /// Returns the data of an element, of `sizes` bytes: after all elements, and within the page.
    fn at(&self, index: usize, position: u32, sizes: [u32; 2]) -> Result<(&[u8], &[u8])> {
        let begin = self.element(index) + position as usize;
        let [key, value] = sizes.map(|size| size as usize);
        let is_inside = begin >= self.element(self.count)
            && begin.saturating_add(key).saturating_add(value) <= self.bytes.len();
        if !is_inside {
            return Err(self.damaged(&format!("contains element {index}, whose data is outside the page")));
        }
        Ok((&self.bytes[begin..begin + key], &self.bytes[begin + key..begin + key + value]))
    }
}

/// Bounds of the keys below an element: first key inclusive, last exclusive.
#[derive(Clone, Debug, Default)]
struct Bounds {
    from: Option<Vec<u8>>,
    below: Option<Vec<u8>>,
}

struct Walk<'a> {
    file: &'a File,
    meta: Meta,
    /// Bitmap of referenced pages.
    seen: Vec<u64>,
    visit: &'a mut Visit<'a>,
}

impl Walk<'_> {
    fn has_seen(&self, id: u64) -> bool {
        usize::try_from(id / 64).is_ok_and(|word| self.seen[word] >> (id % 64) & 1 == 1)
    }

    /// Marks pages as referenced; each may be referenced only once.
    fn see(&mut self, id: u64, count: u64) -> Result<()> {
        if id.checked_add(count).is_none_or(|end| end > self.meta.pages) {
            return Err(damaged(format!(
                "page {id} is referenced, but the file has only {} pages",
                self.meta.pages
            )));
        }
        for id in id..id + count {
            if self.has_seen(id) {
                return Err(damaged(format!("page {id} is referenced twice")));
            }
            self.seen[usize::try_from(id / 64).expect("it is in the file")] |= 1 << (id % 64);
        }
        Ok(())
    }

    fn page(&mut self, id: u64) -> Result<Page> {
        let name = format!("page {id}");
        if id >= self.meta.pages {
            return Err(damaged(format!(
                "page {id} is referenced, but the file has only {} pages",
                self.meta.pages
            )));
        }
        let offset = id * self.meta.page_size as u64;
        let mut bytes = read(self.file, offset, self.meta.page_size)?;
        let (own, overflow) = (u64_at(&bytes, 0), u32_at(&bytes, 12));
        if own != id {
            return Err(damaged(format!("{name} has the number {own} in its header")));
        }
        if overflow > LONGEST {
            return Err(damaged(format!("{name} has too many continuation pages: {overflow}")));
        }
        self.see(id, 1 + u64::from(overflow))?;
        if overflow > 0 {
            let more = usize::try_from(overflow).expect("it is small") * self.meta.page_size;
            bytes.extend(read(self.file, offset + self.meta.page_size as u64, more)?);
        }
        Ok(Page::new(name, bytes))
    }

    /// Returns the free pages, if the file contains a free list.
    fn free_list(&mut self) -> Result<Option<Vec<u64>>> {
        if self.meta.free == NOWHERE {
            return Ok(None);
        }
        let page = self.page(self.meta.free)?;
        if page.flags != FREE {
            return Err(page.damaged("is not a free list"));
        }
        // A count that does not fit its field is the first entry of the list.
        let (count, begin) = if page.count == 0xFFFF {
            (u64_at(&page.bytes, HEADER), HEADER + 8)
        } else {
            (page.count as u64, HEADER)
        };
        let room = (page.bytes.len() - begin) / 8;
        let count = usize::try_from(count).ok().filter(|count| *count <= room);
        let count = count.ok_or_else(|| page.damaged("lists more free pages than fit in it"))?;
        Ok(Some((0..count).map(|index| u64_at(&page.bytes, begin + 8 * index)).collect()))
    }

    /// Walks a bucket; `name` is the name of a root bucket, or `None` for the root itself.
    fn bucket(&mut self, root: u64, name: Option<&[u8]>, depth: usize) -> Result<()> {
        let page = self.page(root)?;
        self.tree(&page, name, &Bounds::default(), depth)
    }

    fn tree(&mut self, page: &Page, name: Option<&[u8]>, bounds: &Bounds, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(page.damaged(&format!("is more than {DEEPEST} levels deep")));
        }
        if page.element(page.count) > page.bytes.len() {
            return Err(page.damaged(&format!("is too small for {} elements", page.count)));
        }
        match page.flags {
            BRANCH => self.branch(page, name, bounds, depth),
            LEAF => self.leaf(page, name, bounds, depth),
            other => Err(page.damaged(&format!("is neither a branch nor a leaf: its flags are {other:#x}"))),
        }
    }

    fn branch(&mut self, page: &Page, name: Option<&[u8]>, bounds: &Bounds, depth: usize) -> Result<()> {
        if page.count == 0 {
            return Err(page.damaged("is an empty branch"));
        }
        let mut children = Vec::with_capacity(page.count);
        for index in 0..page.count {
            let at = page.element(index);
            let (key, _) = page.at(index, u32_at(&page.bytes, at), [u32_at(&page.bytes, at + 4), 0])?;
            children.push((key, u64_at(&page.bytes, at + 8)));
        }
        in_order(page, children.iter().map(|(key, _)| *key), bounds)?;
        for (index, (key, id)) in children.iter().enumerate() {
            let below = children.get(index + 1).map(|(key, _)| key.to_vec()).or_else(|| bounds.below.clone());
            let child = self.page(*id)?;
            self.tree(&child, name, &Bounds { from: Some(key.to_vec()), below }, depth + 1)?;
        }
        Ok(())
    }

    fn leaf(&mut self, page: &Page, name: Option<&[u8]>, bounds: &Bounds, depth: usize) -> Result<()> {
        let mut elements = Vec::with_capacity(page.count);
        for index in 0..page.count {
            let at = page.element(index);
            let [flags, position, key, value] = [0, 4, 8, 12].map(|offset| u32_at(&page.bytes, at + offset));
            if flags & !BUCKET != 0 {
                return Err(
                    page.damaged(&format!("contains element {index}, which has invalid flags {flags:#x}"))
                );
            }
            let (key, value) = page.at(index, position, [key, value])?;
            elements.push((flags == BUCKET, key, value));
        }
        in_order(page, elements.iter().map(|(_, key, _)| *key), bounds)?;
        for (is_bucket, key, value) in elements {
            if is_bucket {
                self.nested(page, name.unwrap_or(key), value, depth + 1)?;
            } else if let Some(name) = name {
                (self.visit)(name, key, value)?;
            }
        }
        Ok(())
    }

    fn nested(&mut self, page: &Page, name: &[u8], value: &[u8], depth: usize) -> Result<()> {
        if value.len() < HEADER {
            return Err(page.damaged("has a bucket without a root"));
        }
        match (u64_at(value, 0), &value[HEADER..]) {
            (0, inline) if inline.len() < HEADER => Err(page.damaged("has a bucket without a page")),
            (0, inline) => self.tree(
                &Page::new(format!("a bucket in {}", page.name), inline.to_vec()),
                Some(name),
                &Bounds::default(),
                depth,
            ),
            (root, _) => self.bucket(root, Some(name), depth),
        }
    }
}

/// Checks that the keys of a page are in ascending order and within the bounds set by its parent.
fn in_order<'a>(page: &Page, mut keys: impl Iterator<Item = &'a [u8]>, bounds: &Bounds) -> Result<()> {
    let mut before: Option<&[u8]> = None;
    let is_right = keys.all(|key| {
        let follows = before.is_none_or(|before| before < key);
        before = Some(key);
        let is_within = bounds.from.as_deref().is_none_or(|from| from <= key)
            && bounds.below.as_deref().is_none_or(|below| key < below);
        follows && is_within && !key.is_empty()
    });
    if is_right { Ok(()) } else { Err(page.damaged("has keys out of order")) }
}
