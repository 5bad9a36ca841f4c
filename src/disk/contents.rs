//! Reader for a tree's file contents in the tree's order: opens each store file once and reads neighbouring
//! contents together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::tree::Content;

/// Bytes per read. Contents of a packed store file are in the tree's order, so that one read serves dozens of
/// small files.
const WINDOW: usize = 1 << 20;

/// Reader of file contents.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    files: BTreeMap<Arc<Path>, File>,
    window: Window,
}

/// The most recently read bytes.
#[derive(Debug, Default)]
struct Window {
    file: Option<Arc<Path>>,
    start: u64,
    bytes: Vec<u8>,
}

impl Contents {
    /// Writes the bytes of `content` to `out`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the store's file is unreadable or shorter than recorded in the tree, or if `out`
    /// fails.
    pub(crate) fn copy(&mut self, content: &Content, out: &mut dyn Write) -> Result<()> {
        match content {
            Content::Inline(bytes) => {
                out.write_all(bytes).doing(Kind::Io, || "writing a file's content".into())
            }
            Content::Stored { file, offset, size, .. } => self.copy_stored(file, *offset, *size, out),
        }
    }

    fn copy_stored(&mut self, file: &Arc<Path>, offset: u64, size: u64, out: &mut dyn Write) -> Result<()> {
        let mut done = 0;
        while done < size {
            let bytes = self.at(file, offset + done)?;
            let length = bytes.len().min(usize::try_from(size - done).unwrap_or(usize::MAX));
            if length == 0 {
                return Err(Error::new(
                    Kind::Io,
                    format!("`{}` ends before byte {}", file.display(), offset + size),
                ));
            }
            out.write_all(&bytes[..length]).doing(Kind::Io, || "writing a file's content".into())?;
            done += length as u64;
        }
        Ok(())
    }

    /// Returns the bytes of the file from `offset` to the end of the window; empty at the end of the file.
    fn at(&mut self, file: &Arc<Path>, offset: u64) -> Result<&[u8]> {
        if let Some(skip) = self.window.holds(file, offset) {
            return Ok(&self.window.bytes[skip..]);
        }
        if !self.files.contains_key(file) {
            self.files.insert(Arc::clone(file), host::fs::open(file)?);
        }
        self.window.file = None;
        self.window.bytes.resize(WINDOW, 0);
        let read = self.files[file]
            .read_at(&mut self.window.bytes, offset)
            .doing(Kind::Io, || format!("reading `{}` at {offset}", file.display()))?;
        self.window = Window {
            file: Some(Arc::clone(file)),
            start: offset,
            bytes: std::mem::take(&mut self.window.bytes),
        };
        self.window.bytes.truncate(read);
        Ok(&self.window.bytes)
    }
}

impl Window {
    fn holds(&self, file: &Arc<Path>, offset: u64) -> Option<usize> {
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (self.file.as_ref() == Some(file) && skip < self.bytes.len()).then_some(skip)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Contents, WINDOW};
    use crate::digest::Digest;
    use crate::host;
    use crate::tree::Content;

    #[test]
    fn contents_of_a_packed_file_come_out_whole_in_any_order_and_a_short_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packed");
        let packed: Vec<u8> = (0..=250).cycle().take(3 * WINDOW + 17).collect();
        host::fs::write_atomic(&path, &packed, host::fs::PUBLIC).unwrap();
        let file = Arc::from(path.as_path());
        let mut contents = Contents::default();
        for (offset, size) in
            [(0, 10), (10, 0), (10, 100), (WINDOW - 5, 10), (5, 2 * WINDOW), (0, 4), (packed.len() - 3, 3)]
        {
            let content = Content::Stored {
                file: Arc::clone(&file),
                offset: offset as u64,
                size: size as u64,
                sha256: Digest::of(b""),
            };
            let mut out = Vec::new();
            contents.copy(&content, &mut out).unwrap();
            assert!(out == packed[offset..offset + size], "{size} bytes at {offset} differ");
        }
        let beyond =
            Content::Stored { file, offset: packed.len() as u64 - 3, size: 4, sha256: Digest::of(b"") };
        assert!(
            contents.copy(&beyond, &mut Vec::new()).unwrap_err().to_string().contains("ends before byte")
        );
    }
}
