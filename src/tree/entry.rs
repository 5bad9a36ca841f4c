//! Entries of a tree: type, owner, attributes and origin.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::Result;
use crate::host;

/// One entry of a [`super::Tree`].
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky: 0o0000 to 0o7777.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Time in seconds since 1970; formats clamp it to the build's timestamp.
    pub(crate) mtime: u64,
    /// Extended attributes by full name, such as `security.capability`.
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    /// Layer of the entry: name of an overlay or package.
    pub(crate) origin: Arc<str>,
    /// True if the content is private: never shown, never in a role image.
    pub(crate) secret: bool,
}

/// Type of an entry.
#[derive(Clone, Debug)]
pub(crate) enum EntryKind {
    Directory,
    File(Content),
    /// Link target, relative or absolute; never resolved on the host.
    Symlink(String),
}

/// Content of a file.
#[derive(Clone)]
pub(crate) enum Content {
    Inline(Arc<[u8]>),
    /// A range of a file in the store.
    Stored {
        file: Arc<Path>,
        offset: u64,
        size: u64,
        sha256: Digest,
    },
}

impl Entry {
    pub(crate) fn directory(mode: u32, origin: &Arc<str>) -> Self {
        Self::new(EntryKind::Directory, mode, origin)
    }

    pub(crate) fn file(bytes: impl Into<Arc<[u8]>>, mode: u32, origin: &Arc<str>) -> Self {
        Self::new(EntryKind::File(Content::Inline(bytes.into())), mode, origin)
    }

    pub(crate) fn symlink(target: impl Into<String>, origin: &Arc<str>) -> Self {
        Self::new(EntryKind::Symlink(target.into()), 0o777, origin)
    }

    /// Creates an entry owned by root with mtime 0.
    pub(crate) fn new(kind: EntryKind, mode: u32, origin: &Arc<str>) -> Self {
        Self {
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
            origin: Arc::clone(origin),
            secret: false,
        }
    }

    #[must_use]
    pub(crate) fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.uid = uid;
        self.gid = gid;
        self
    }

    #[must_use]
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Returns the size of the content in bytes; 0 unless it is a file.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            EntryKind::File(content) => content.size(),
            EntryKind::Directory | EntryKind::Symlink(_) => 0,
        }
    }
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }

    pub(crate) fn sha256(&self) -> Digest {
        match self {
            Self::Inline(bytes) => Digest::of(bytes),
            Self::Stored { sha256, .. } => *sha256,
        }
    }

    /// Reads the whole content.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if the store's file can't be read.
    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Inline(bytes) => Ok(bytes.to_vec()),
            Self::Stored { file, offset, size, .. } => {
                host::fs::read_at(file, *offset, usize::try_from(*size).expect("a file fits in memory"))
            }
        }
    }
}

/// Prints only the size, because the content may be a key.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}
