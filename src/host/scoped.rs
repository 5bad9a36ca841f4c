//! A directory on the host that written files can't escape: paths are resolved component by component,
//! without following links.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, fchmod, fstat, linkat, mkdirat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Doing, Kind, Result};

/// Flags to open a directory itself, without following a link.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory to write into. Paths are relative to it, and all their components are plain names: not empty,
/// not `.`, not `..`. Each thread has its own instance.
#[derive(Debug)]
pub(crate) struct Scoped {
    path: PathBuf,
    root: OwnedFd,
    /// Most recently used directory, kept because archives list the files of a directory together.
    last: Option<(String, OwnedFd)>,
}

/// Identity of the file that a name refers to, valid as long as the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Scoped {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .doing(Kind::Io, || format!("opening `{}`", path.display()))?;
        Ok(Self { path: path.to_owned(), root, last: None })
    }

    /// Returns the device that the directory is on, as in [`Identity`].
    pub(crate) fn device(&self) -> Result<u64> {
        Ok(fstat(&self.root).doing(Kind::Io, || format!("inspecting `{}`", self.path.display()))?.st_dev)
    }

    /// Creates a directory with permission bits `mode`, and its parents. An existing one is not an error.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> Result<Identity> {
        let step = || format!("creating the directory `{path}` in `{}`", self.path.display());
        let directory = self.walk(path).doing(Kind::Io, step)?;
        fchmod(&directory, Mode::from_raw_mode(mode)).doing(Kind::Io, step)?;
        let identity = identity(&fstat(&directory).doing(Kind::Io, step)?);
        self.last = Some((path.to_owned(), directory));
        Ok(identity)
    }

    /// Writes a new file with permission bits `mode`.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &mut dyn Read) -> Result<Identity> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = |parent: &OwnedFd, name: &str| {
            let mut file = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
            copy(content, &mut file)?;
            fchmod(&file, Mode::from_raw_mode(mode))?;
            Ok(identity(&fstat(&file)?))
        };
        self.at("writing", path, write)
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.at("creating the link", path, |parent, name| Ok(symlinkat(target, parent, name)?))
    }

    /// Creates a hard link to the file `existing`.
    pub(crate) fn hard_link(&mut self, path: &str, existing: &str) -> Result<()> {
        let mut other = Self::open(&self.path)?;
        let (directory, old) = other.parent(existing).doing(Kind::Io, || format!("opening `{existing}`"))?;
        self.at("creating the link", path, |parent, name| {
            Ok(linkat(directory, old, parent, name, AtFlags::empty())?)
        })
    }

    /// Checks whether a path exists; a dangling link counts.
    pub(crate) fn exists(&mut self, path: &str) -> Result<bool> {
        self.at("checking for", path, |parent, name| match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(false),
            other => Ok(other.map(|_| true)?),
        })
    }

    /// Reads a whole file.
    pub(crate) fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        self.at("reading", path, |parent, name| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut bytes = Vec::new();
            File::from(openat(parent, name, flags, Mode::empty())?).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    /// Removes a file or link, and returns its identity; a missing file is not an error.
    pub(crate) fn remove(&mut self, path: &str) -> Result<Option<Identity>> {
        self.at("removing", path, |parent, name| match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            found => {
                let gone = identity(&found?);
                unlinkat(parent, name, AtFlags::empty())?;
                Ok(Some(gone))
            }
        })
    }

    fn at<T>(
        &mut self,
        verb: &str,
        path: &str,
        act: impl FnOnce(&OwnedFd, &str) -> io::Result<T>,
    ) -> Result<T> {
        let shown = self.path.display().to_string();
        let acted = self.parent(path).and_then(|(parent, name)| act(parent, name));
        acted.doing(Kind::Io, || format!("{verb} `{path}` in `{shown}`"))
    }

    /// Returns the parent directory of `path`, created if missing, and the last component.
    fn parent<'a>(&'a mut self, path: &'a str) -> io::Result<(&'a OwnedFd, &'a str)> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok((&self.root, component(path)?)) };
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let directory = self.walk(parent)?;
            self.last = Some((parent.to_owned(), directory));
        }
        Ok((&self.last.as_ref().expect("it was just set").1, component(name)?))
    }

    fn walk(&self, path: &str) -> io::Result<OwnedFd> {
        let mut directory = None;
        for name in path.split('/') {
            let at = directory.as_ref().unwrap_or(&self.root);
            directory = Some(open_or_make(at, component(name)?)?);
        }
        Ok(directory.expect("a path has at least one component"))
    }
}

fn component(name: &str) -> io::Result<&str> {
    if matches!(name, "" | "." | "..") { Err(Errno::INVAL.into()) } else { Ok(name) }
}

fn open_or_make(at: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
                // Another thread may have been faster.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(err) => return Err(err),
            }
            let directory = openat(at, name, DIRECTORY, Mode::empty())?;
            // Independent of the umask.
            fchmod(&directory, Mode::from_raw_mode(0o755))?;
            Ok(directory)
        }
        other => other,
    }
}

fn copy(content: &mut dyn Read, file: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(()),
            size => file.write_all(&buffer[..size])?,
        }
    }
}

fn identity(stat: &Stat) -> Identity {
    Identity { device: stat.st_dev, inode: stat.st_ino }
}

/// A directory entry; links are not followed.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// File type and permission bits as in `st_mode`.
    pub(crate) mode: u32,
    pub(crate) size: u64,
}

/// Lists everything below a directory, parents before children, without following links or entering other
/// filesystems.
pub(crate) fn scan(root: &Path) -> Result<Vec<Found>> {
    use std::os::unix::fs::MetadataExt;
    let found = |entry: walkdir::Result<walkdir::DirEntry>| {
        let entry = entry.and_then(|entry| entry.metadata().map(|metadata| (entry, metadata)));
        let (entry, metadata) = entry.doing(Kind::Io, || format!("listing `{}`", root.display()))?;
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        Ok(Found { path: entry.into_path(), identity, mode: metadata.mode(), size: metadata.len() })
    };
    walkdir::WalkDir::new(root).min_depth(1).same_file_system(true).into_iter().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::Scoped;
    use crate::host;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_written_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink(outside.path().join("x"), inside.path().join("file")).unwrap();
        let mut scoped = Scoped::open(inside.path()).unwrap();
        assert!(scoped.file("link/x", 0o644, &mut &b"x"[..]).is_err());
        assert!(scoped.file("file", 0o644, &mut &b"x"[..]).is_err());
        assert!(scoped.directory("link/d", 0o755).is_err());
        assert!(scoped.hard_link("link/h", "file").is_err());
        assert!(scoped.file("../x", 0o644, &mut &b"x"[..]).is_err());
        assert!(host::fs::list(outside.path()).unwrap().is_empty());
    }

    #[test]
    fn modes_do_not_depend_on_the_umask_and_parents_are_made() {
        use std::os::unix::fs::PermissionsExt;
        let inside = tempfile::tempdir().unwrap();
        let mut scoped = Scoped::open(inside.path()).unwrap();
        scoped.file("a/b/c", 0o666, &mut &b"x"[..]).unwrap();
        scoped.directory("a/d", 0o777).unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        scoped.directory("e/f", 0o755).unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let mode = |name: &str| inside.path().join(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("a/b/c"), mode("a/d"), mode("e"), mode("e/f")), (0o666, 0o777, 0o755, 0o755));
    }
}
