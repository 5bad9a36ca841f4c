//! Inodes and directories.

use std::collections::BTreeMap;

use crate::disk::squashfs::data::{Data, Place};
use crate::disk::squashfs::metadata::{Position, Table};
use crate::disk::squashfs::xattrs::{self, Xattrs};
use crate::disk::squashfs::{Record, clamped, u16_of, u32_of};
use crate::error::{Error, Kind, Result, Within};
use crate::tree::{Content, Entry, EntryKind, ImagePath, Tree};

/// Numbers of the inode types; the numbers of extended inodes are [`EXTENDED`] higher.
const DIRECTORY: u16 = 1;
const FILE: u16 = 2;
const SYMLINK: u16 = 3;
const EXTENDED: u16 = 7;
/// Marks a file without a fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// Maximum number of entries after one directory header.
const RUN: usize = 256;
/// Part of a directory's size for `.` and `..`.
const DOTS: usize = 3;

/// Tables that describe a tree.
pub(super) struct Tables {
    pub(super) inodes: Vec<u8>,
    pub(super) directories: Vec<u8>,
    /// Owners and groups, by index.
    pub(super) ids: Vec<u32>,
    pub(super) xattrs: Xattrs,
    pub(super) inode_count: u32,
    /// Reference to the inode of the root directory.
    pub(super) root: u64,
}

/// Writes the tables of `tree`, whose contents are already written.
pub(super) fn write(tree: &Tree, epoch: u64, data: &Data) -> Result<Tables> {
    let mut children: BTreeMap<Option<&ImagePath>, Vec<(&ImagePath, &Entry)>> = BTreeMap::new();
    let parents: BTreeMap<ImagePath, &ImagePath> =
        tree.iter().map(|(path, _)| (path.clone(), path)).collect();
    for (path, entry) in tree.iter() {
        let parent = path.parent().and_then(|parent| parents.get(&parent).copied());
        children.entry(parent).or_default().push((path, entry));
    }
    children.values_mut().for_each(|entries| entries.sort_by_key(|(path, _)| path.file_name().as_bytes()));
    let count = u32::try_from(tree.len() + 1)
        .map_err(|_| Error::new(Kind::Input, "squashfs does not support that many files"))?;
    let mut writer = Writer {
        children,
        data,
        epoch,
        numbers: 0,
        inodes: Table::default(),
        directories: Table::default(),
        ids: Vec::new(),
        xattrs: Xattrs::default(),
    };
    // The root has no parent, so it is given a number beyond all others.
    let root = Entry { mtime: epoch, ..Entry::directory(0o755, &"".into()) };
    let root = writer.directory(None, &root, count, count + 1)?;
    Ok(Tables {
        inodes: writer.inodes.finish()?,
        directories: writer.directories.finish()?,
        ids: writer.ids,
        xattrs: writer.xattrs,
        inode_count: count,
        root: root.reference(),
    })
}

struct Writer<'a> {
    children: BTreeMap<Option<&'a ImagePath>, Vec<(&'a ImagePath, &'a Entry)>>,
    data: &'a Data,
    epoch: u64,
    /// Last assigned inode number.
    numbers: u32,
    inodes: Table,
    directories: Table,
    ids: Vec<u32>,
    xattrs: Xattrs,
}

/// One entry of a directory.
struct Line<'a> {
    name: &'a str,
    kind: u16,
    number: u32,
    inode: Position,
}

impl<'a> Writer<'a> {
    /// Writes the entries of a directory, then its list, then its inode, which has the number `own`.
    fn directory(
        &mut self,
        path: Option<&'a ImagePath>,
        entry: &Entry,
        own: u32,
        parent: u32,
    ) -> Result<Position> {
        let children = self.children.remove(&path).unwrap_or_default();
        // All entries are numbered before anything below is written: a directory refers to its parent.
        let first = self.numbers + 1;
        self.numbers += u32_of(children.len());
        let mut lines = Vec::with_capacity(children.len());
        for ((path, entry), number) in children.iter().zip(first..) {
            let (kind, inode) =
                self.child(path, entry, number, own).within(|| format!("packing `{path}`"))?;
            lines.push(Line { name: path.file_name(), kind, number, inode });
        }
        let below = lines.iter().filter(|line| line.kind == DIRECTORY).count();
        let list = self.directories.position();
        let size = self.list(&lines)? + DOTS;
        let (links, xattrs) = (u32_of(2 + below), self.xattrs.number(&entry.xattrs)?);
        let fits = xattrs == xattrs::NONE && u16::try_from(size).is_ok();
        let mut inode = self.head(if fits { DIRECTORY } else { DIRECTORY + EXTENDED }, entry, own)?;
        if fits {
            inode.u32(list.block).u32(links).u16(u16_of(size)).u16(list.offset).u32(parent);
        } else {
            inode
                .u32(links)
                .u32(u32_of(size))
                .u32(list.block)
                .u32(parent)
                .u16(0)
                .u16(list.offset)
                .u32(xattrs);
        }
        self.put(&inode)
    }

    fn child(
        &mut self,
        path: &'a ImagePath,
        entry: &Entry,
        number: u32,
        parent: u32,
    ) -> Result<(u16, Position)> {
        Ok(match &entry.kind {
            EntryKind::Directory => (DIRECTORY, self.directory(Some(path), entry, number, parent)?),
            EntryKind::File(content) => (FILE, self.file(entry, content, number)?),
            EntryKind::Symlink(target) => (SYMLINK, self.symlink(entry, target, number)?),
        })
    }

    fn file(&mut self, entry: &Entry, content: &Content, number: u32) -> Result<Position> {
        let (start, sizes, fragment, offset) = match self.data.place(content) {
            Place::Empty => (0, Vec::new(), NO_FRAGMENT, 0),
            Place::Blocks { start, sizes } => (start, sizes, NO_FRAGMENT, 0),
            Place::Fragment { index, offset } => (0, Vec::new(), index, offset),
        };
        let xattrs = self.xattrs.number(&entry.xattrs)?;
        let mut inode = match (u32::try_from(start), u32::try_from(content.size()), xattrs) {
            (Ok(start), Ok(size), xattrs::NONE) => {
                let mut inode = self.head(FILE, entry, number)?;
                inode.u32(start).u32(fragment).u32(offset).u32(size);
                inode
            }
            _ => {
                let mut inode = self.head(FILE + EXTENDED, entry, number)?;
                // Start, size, bytes in holes, links.
                inode.u64(start).u64(content.size()).u64(0).u32(1).u32(fragment).u32(offset).u32(xattrs);
                inode
            }
        };
        inode.bytes(&sizes.iter().flat_map(|size| size.to_le_bytes()).collect::<Vec<_>>());
        self.put(&inode)
    }

    fn symlink(&mut self, entry: &Entry, target: &str, number: u32) -> Result<Position> {
        let xattrs = self.xattrs.number(&entry.xattrs)?;
        let plain = xattrs == xattrs::NONE;
        let mut inode = self.head(if plain { SYMLINK } else { SYMLINK + EXTENDED }, entry, number)?;
        inode.u32(1).u32(u32_of(target.len())).bytes(target.as_bytes());
        if !plain {
            inode.u32(xattrs);
        }
        self.put(&inode)
    }

    /// Returns the common header of an inode.
    fn head(&mut self, kind: u16, entry: &Entry, number: u32) -> Result<Record> {
        let (owner, group) = (self.id(entry.uid)?, self.id(entry.gid)?);
        let mut head = Record::default();
        let mode = u16::try_from(entry.mode & 0o7777).expect("twelve bits fit");
        head.u16(kind).u16(mode).u16(owner).u16(group).u32(clamped(entry.mtime.min(self.epoch))).u32(number);
        Ok(head)
    }

    fn id(&mut self, id: u32) -> Result<u16> {
        let index = self.ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        u16::try_from(index)
            .map_err(|_| Error::new(Kind::Input, "squashfs does not support that many owners"))
    }

    fn put(&mut self, inode: &Record) -> Result<Position> {
        let position = self.inodes.position();
        self.inodes.push(&inode.0)?;
        Ok(position)
    }

    /// Writes a directory's list and returns its size in bytes.
    fn list(&mut self, lines: &[Line<'_>]) -> Result<usize> {
        let mut record = Record::default();
        let mut rest = lines;
        while let Some(first) = rest.first() {
            let (run, later) = rest.split_at(run(first, rest));
            record.u32(u32_of(run.len() - 1)).u32(first.inode.block).u32(first.number);
            for line in run {
                let difference =
                    u16_of(usize::try_from(line.number - first.number).expect("numbers of a run ascend"));
                record.u16(line.inode.offset).u16(difference).u16(line.kind);
                record.u16(u16_of(line.name.len() - 1)).bytes(line.name.as_bytes());
            }
            rest = later;
        }
        self.directories.push(&record.0)?;
        Ok(record.0.len())
    }
}

/// Returns the number of entries that share one header: their inodes are in one block, with numbers close to
/// the first inode's number.
fn run(first: &Line<'_>, lines: &[Line<'_>]) -> usize {
    let fits = |line: &&Line<'_>| {
        line.inode.block == first.inode.block && line.number - first.number <= i16::MAX.unsigned_abs().into()
    };
    lines.iter().take(RUN).take_while(fits).count()
}
