//! A root filesystem as a value: a map of paths to entries, composed of layers, audited, and written in every
//! format.
//!
//! A tree never accesses the host's filesystem; contents are inline or a range of a file in the store.

pub(crate) mod audit;
mod compose;
mod dump;
mod entry;
mod path;

pub(crate) use compose::conflict;
pub(crate) use entry::{Content, Entry, EntryKind};
pub(crate) use path::ImagePath;

use std::collections::BTreeMap;

/// A root filesystem. Iteration is in path order, parents before children.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<ImagePath, Entry>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn get(&self, path: &ImagePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ImagePath, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Inserts an entry, replacing an existing one. Missing parents become directories 0755 root:root of the
    /// same origin.
    pub(crate) fn insert(&mut self, path: ImagePath, entry: Entry) {
        let mut parent = path.parent();
        while let Some(directory) = parent {
            parent = directory.parent();
            self.entries.entry(directory).or_insert_with(|| Entry::directory(0o755, &entry.origin));
        }
        self.entries.insert(path, entry);
    }

    pub(crate) fn remove(&mut self, path: &ImagePath) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// Keeps the entries for which `keep` returns true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&ImagePath, &Entry) -> bool) {
        self.entries.retain(|path, entry| keep(path, entry));
    }

    /// Returns the total size of all file contents in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.entries.values().map(Entry::size).sum()
    }
}
