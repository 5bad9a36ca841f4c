//! A root tarball as a tree: read once to digest it; contents stay where they are in the archive.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use tar::{Archive, EntryType};

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::tree::{Content, Entry, EntryKind, ImagePath, Tree};

impl Tree {
    /// Reads an uncompressed tar archive; every entry is of the layer `origin`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if it is no archive, or holds a name that could leave the tree; [`Kind::Io`] if it can't be read.
    pub(crate) fn from_tar(archive: &Path, origin: &str) -> Result<Self> {
        let file: Arc<Path> = Arc::from(archive);
        let origin: Arc<str> = Arc::from(origin);
        let step = || format!("reading the archive `{}`", archive.display());
        let mut reader = Archive::new(BufReader::with_capacity(1 << 20, host::fs::open(archive)?));
        let mut tree = Self::new();
        for entry in reader.entries().doing(Kind::Input, step)? {
            let mut entry = entry.doing(Kind::Input, step)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(path) = image_path(&name).within(step)? else { continue };
            if let Some(read) =
                read_entry(&tree, &mut entry, &file, &origin).within(|| format!("reading `{name}` of `{}`", archive.display()))?
            {
                tree.insert(path, read);
            }
        }
        Ok(tree)
    }
}

/// `./usr/bin/` is `/usr/bin`; the root itself has no path.
fn image_path(name: &str) -> Result<Option<ImagePath>> {
    let name = name.trim_start_matches("./").trim_end_matches('/');
    if matches!(name, "" | ".") { Ok(None) } else { ImagePath::new(&format!("/{name}")).map(Some) }
}

fn read_entry<R: Read>(tree: &Tree, entry: &mut tar::Entry<'_, R>, file: &Arc<Path>, origin: &Arc<str>) -> Result<Option<Entry>> {
    let header = entry.header();
    let link = || entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
    let kind = match header.entry_type() {
        EntryType::Directory => EntryKind::Directory,
        EntryType::Symlink => EntryKind::Symlink(link()),
        EntryType::Link => return linked(tree, &link()).map(Some),
        EntryType::Regular | EntryType::Continuous => EntryKind::File(Content::Stored {
            file: Arc::clone(file),
            offset: entry.raw_file_position(),
            size: entry.size(),
            sha256: Digest::of_reader(&mut *entry).doing(Kind::Io, || "digesting it".into())?.0,
        }),
        // Devices and pipes appear at run time; an image holds none.
        _ => return Ok(None),
    };
    attributes(entry, kind, origin).map(Some)
}

fn attributes<R: Read>(entry: &mut tar::Entry<'_, R>, kind: EntryKind, origin: &Arc<str>) -> Result<Entry> {
    let header = entry.header();
    let number = |value: std::io::Result<u64>| value.doing(Kind::Input, || "reading its header".into());
    let id = |value: u64| u32::try_from(value).doing(Kind::Input, || "reading its owner".into());
    let mode = header.mode().doing(Kind::Input, || "reading its mode".into())? & 0o7777;
    let (uid, gid, mtime) = (id(number(header.uid())?)?, id(number(header.gid())?)?, number(header.mtime())?);
    let mut read = Entry { uid, gid, mtime, ..Entry::new(kind, mode, origin) };
    for extension in entry.pax_extensions().doing(Kind::Input, || "reading its attributes".into())?.into_iter().flatten() {
        let extension = extension.doing(Kind::Input, || "reading its attributes".into())?;
        if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) {
            read.xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
        }
    }
    Ok(read)
}

/// A hard link is one more name for a file that came earlier.
fn linked(tree: &Tree, target: &str) -> Result<Entry> {
    let entry = image_path(target)?.and_then(|path| tree.get(&path).cloned());
    entry.ok_or_else(|| Error::new(Kind::Input, format!("it is a hard link to `{target}`, which is not in the archive before it")))
}

#[cfg(test)]
mod tests {
    use crate::host::fs::{PUBLIC, write_atomic};
    use crate::tree::Tree;

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(7);
            header.set_gid(0);
            let is_file = kind.is_file();
            header.set_size(if is_file { text.len() as u64 } else { 0 });
            if !is_file {
                header.set_link_name_literal(text).unwrap();
            }
            header.set_cksum();
            builder.append(&header, if is_file { text.as_bytes() } else { b"" }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> crate::error::Result<Tree> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.tar");
        write_atomic(&path, bytes, PUBLIC).unwrap();
        Tree::from_tar(&path, "base")
    }

    #[test]
    fn files_and_both_kinds_of_links_are_read_with_their_owners() {
        use tar::EntryType::{Link, Regular, Symlink};
        let tree = read(&archive(&[("./a", Regular, "text"), ("./b", Link, "./a"), ("./c", Symlink, "../a")])).unwrap();
        insta::assert_snapshot!(tree.dump(), @r"
        0644 982d9e3eb996         4 /a 7:0 [base]
        0644 982d9e3eb996         4 /b 7:0 [base]
        0644 symlink              0 /c -> ../a 7:0 [base]
        ");
    }

    #[test]
    fn a_name_that_could_leave_the_tree_is_refused() {
        for name in ["../x", "a/../../x", "/etc/passwd"] {
            let err = read(&archive(&[(name, tar::EntryType::Regular, "x")])).unwrap_err();
            assert!(err.to_string().contains("is not a path inside an image"), "{name}: {err}");
        }
    }
}
