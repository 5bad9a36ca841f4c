//! A directory that written files can't escape: every path is resolved through its handle, without following
//! links (openat2(2)).
//!
//! Each call brings one path into the requested state and reports whether anything changed, so that writing
//! twice changes nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::error::{Doing, Error, Kind, Result};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

/// Permission bits, owner and time of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: u64,
}

/// Result of a call: whether a path had to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Written,
}

impl Root {
    /// Opens the directory at `path`, following links on the host.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .doing(Kind::Io, || format!("opening `{}`", path.display()))?;
        Ok(Self { directory, path: path.to_owned() })
    }

    /// Ensures that `path` is a directory with these attributes. With `keep`, an existing directory keeps its
    /// own attributes.
    pub(crate) fn directory(&self, path: &str, attributes: Attributes, keep: bool) -> Result<Change> {
        let (parent, name) = self.parent(path)?;
        let step = || self.writing(path);
        let there = status(&parent, name).doing(Kind::Io, step)?;
        let is_directory = there.as_ref().is_some_and(|stat| kind(stat) == FileType::Directory);
        if is_directory && (keep || same(there.as_ref().expect("the directory exists"), attributes)) {
            return Ok(Change::None);
        }
        // A new directory is given its final name after its attributes, so that a later run may leave it
        // unchanged.
        let made = if is_directory { name.to_owned() } else { temporary(name) };
        if !is_directory {
            match rustix::fs::mkdirat(&parent, &made, Mode::from(0o700)) {
                Err(Errno::EXIST) => {}
                other => other.doing(Kind::Io, step)?,
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&parent, &made, flags, Mode::empty()).doing(Kind::Io, step)?;
        dress(&directory, attributes).doing(Kind::Io, step)?;
        if !is_directory {
            rustix::fs::renameat(&parent, &made, &parent, name).doing(Kind::Io, step)?;
        }
        Ok(Change::Written)
    }

    /// Ensures that `path` is a file with this content, through a rename, so that it is never visible
    /// half-written. Until [`Root::sync`], which covers all files at once, a power cut may undo the write or
    /// leave the file empty.
    pub(crate) fn file(&self, path: &str, content: &[u8], attributes: Attributes) -> Result<Change> {
        self.write(path, content, attributes, |_| Ok(()))
    }

    /// Like [`Root::file`], but a power cut leaves either the old or the new content.
    pub(crate) fn durable_file(&self, path: &str, content: &[u8], attributes: Attributes) -> Result<Change> {
        self.write(path, content, attributes, File::sync_all)
    }

    fn write(
        &self,
        path: &str,
        content: &[u8],
        attributes: Attributes,
        flush: impl Fn(&File) -> std::io::Result<()>,
    ) -> Result<Change> {
        let (parent, name) = self.parent(path)?;
        let step = || self.writing(path);
        if let Some(stat) = status(&parent, name).doing(Kind::Io, step)?
            && kind(&stat) == FileType::RegularFile
            && same(&stat, attributes)
            && u64::try_from(stat.st_size) == Ok(content.len() as u64)
            && read(&parent, name).doing(Kind::Io, step)? == content
        {
            return Ok(Change::None);
        }
        let temporary = temporary(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        remove(&parent, &temporary).doing(Kind::Io, step)?;
        let file = rustix::fs::openat(&parent, &temporary, flags, Mode::from(0o600)).doing(Kind::Io, step)?;
        let mut file = File::from(file);
        file.write_all(content).doing(Kind::Io, step)?;
        dress(&file, attributes).doing(Kind::Io, step)?;
        flush(&file).doing(Kind::Io, step)?;
        rustix::fs::renameat(&parent, &temporary, &parent, name).doing(Kind::Io, step)?;
        Ok(Change::Written)
    }

    /// Ensures that `path` is a symbolic link to `target`.
    pub(crate) fn symlink(&self, path: &str, target: &str, attributes: Attributes) -> Result<Change> {
        let (parent, name) = self.parent(path)?;
        let step = || self.writing(path);
        if rustix::fs::readlinkat(&parent, name, Vec::new())
            .is_ok_and(|there| there.as_bytes() == target.as_bytes())
        {
            return Ok(Change::None);
        }
        let temporary = temporary(name);
        remove(&parent, &temporary).doing(Kind::Io, step)?;
        rustix::fs::symlinkat(target, &parent, &temporary).doing(Kind::Io, step)?;
        let (uid, gid) = owner(attributes);
        rustix::fs::chownat(&parent, &temporary, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .doing(Kind::Io, step)?;
        rustix::fs::utimensat(&parent, &temporary, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .doing(Kind::Io, step)?;
        rustix::fs::renameat(&parent, &temporary, &parent, name).doing(Kind::Io, step)?;
        Ok(Change::Written)
    }

    /// Checks whether `path` exists; a link counts, wherever it points.
    pub(crate) fn has(&self, path: &str) -> Result<bool> {
        let (parent, name) = self.parent(path)?;
        status(&parent, name)
            .map(|there| there.is_some())
            .doing(Kind::Io, || format!("checking for `{}`", self.shown(path)))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
            .doing(Kind::Io, || format!("removing `{}`", self.shown(path)))
    }

    /// Waits until everything written to the filesystem is on the device.
    pub(crate) fn sync(&self) -> Result<()> {
        let step = || format!("flushing `{}`", self.path.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::openat(&self.directory, ".", flags, Mode::empty()).doing(Kind::Io, step)?;
        rustix::fs::syncfs(&directory).doing(Kind::Io, step)
    }

    /// Opens the parent directory of `path`, relative to the root, and returns it with the last component.
    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        if matches!(name, "" | "." | "..") {
            return Err(Error::new(
                Kind::Internal,
                format!("`{path}` does not name a file below `{}`", self.path.display()),
            ));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let directory = rustix::fs::openat2(&self.directory, parent, flags, Mode::empty(), resolve);
        Ok((
            directory
                .doing(Kind::Io, || format!("opening the parent directory of `{}`", self.shown(path)))?,
            name,
        ))
    }

    fn shown(&self, path: &str) -> String {
        self.path.join(path).display().to_string()
    }

    fn writing(&self, path: &str) -> String {
        format!("writing `{}`", self.shown(path))
    }
}

/// Returns the type and attributes of the file at `path`; links are not followed.
pub(crate) fn attributes(path: &Path) -> Result<(FileType, Attributes)> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .doing(Kind::Io, || format!("inspecting `{}`", path.display()))?;
    let mtime = u64::try_from(stat.st_mtime).unwrap_or(0);
    Ok((kind(&stat), Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime }))
}

fn status(parent: &OwnedFd, name: &str) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(err) => Err(err),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Checks whether mode and owner are as requested; times are not compared, since programs may touch files
/// without changing them.
fn same(stat: &Stat, attributes: Attributes) -> bool {
    (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (attributes.mode, attributes.uid, attributes.gid)
}

fn read(parent: &OwnedFd, name: &str) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut content = Vec::new();
    File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?).read_to_end(&mut content)?;
    Ok(content)
}

/// Sets owner, then mode, then time: chown(2) clears setuid bits, and every change updates the time.
fn dress(file: impl std::os::fd::AsFd, attributes: Attributes) -> rustix::io::Result<()> {
    let (uid, gid) = owner(attributes);
    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&file, Mode::from(attributes.mode))?;
    rustix::fs::futimens(&file, &times(attributes.mtime))
}

fn owner(attributes: Attributes) -> (Uid, Gid) {
    (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid))
}

fn times(seconds: u64) -> Timestamps {
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns a name that no file in an image has; the next run replaces one left by a power cut.
fn temporary(name: &str) -> String {
    format!(".kiln-new.{name}")
}

fn remove(parent: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::{Attributes, Change, Root};

    fn mine(mode: u32) -> Attributes {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Attributes { mode, uid, gid, mtime: 1_700_000_000 }
    }

    #[test]
    fn a_link_never_leads_a_file_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("way-out")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        for path in ["way-out/file", "../file", "./../file", ".."] {
            assert!(root.file(path, b"x", mine(0o644)).is_err(), "{path} was written");
        }
        assert_eq!(outside.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn writing_the_same_again_changes_nothing_not_even_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let write = |content: &[u8]| {
            let directory = root.directory("etc", mine(0o750), false).unwrap();
            let file = root.file("etc/key", content, mine(0o400)).unwrap();
            let link = root.symlink("etc/link", "key", mine(0o777)).unwrap();
            (directory, file, link)
        };
        assert_eq!(write(b"one"), (Change::Written, Change::Written, Change::Written));
        let before = dir.path().join("etc/key").metadata().unwrap();
        assert_eq!((before.mode() & 0o7777, before.mtime()), (0o400, 1_700_000_000));
        assert_eq!(write(b"one"), (Change::None, Change::None, Change::None));
        let after = dir.path().join("etc/key").metadata().unwrap();
        assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
        assert_eq!(write(b"two"), (Change::None, Change::Written, Change::None));
    }

    #[test]
    fn a_link_in_the_way_is_replaced_and_its_target_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.file("target", b"precious", mine(0o644)).unwrap();
        root.symlink("resolv.conf", "target", mine(0o777)).unwrap();
        root.file("resolv.conf", b"nameserver", mine(0o644)).unwrap();
        assert_eq!(crate::host::fs::read(&dir.path().join("target")).unwrap(), b"precious");
        assert_eq!(crate::host::fs::read(&dir.path().join("resolv.conf")).unwrap(), b"nameserver");
    }
}
