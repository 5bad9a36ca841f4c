//! Files and directories; every error names the path. Written files appear complete or not at all.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};

/// Mode of files that every user can read.
pub(crate) const PUBLIC: u32 = 0o644;
/// Mode of files that contain a secret.
pub(crate) const PRIVATE: u32 = 0o600;

/// Reads a whole file.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).doing(Kind::Io, || format!("reading `{}`", path.display()))
}

/// Reads a whole UTF-8 file.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn read_to_string(path: &Path) -> Result<String> {
    fs::read_to_string(path).doing(Kind::Io, || format!("reading `{}`", path.display()))
}

/// Reads a file, or returns `None` if it does not exist.
pub(crate) fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

/// Returns the target of a symbolic link.
pub(crate) fn read_link(path: &Path) -> Result<String> {
    let target = fs::read_link(path).doing(Kind::Io, || format!("reading the link `{}`", path.display()))?;
    target
        .into_os_string()
        .into_string()
        .map_err(|_| Error::new(Kind::Io, format!("the link `{}` is not UTF-8", path.display())))
}

/// Opens a file for reading.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).doing(Kind::Io, || format!("opening `{}`", path.display()))
}

/// Lists a directory, sorted by name.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut entries = entries.doing(Kind::Io, || format!("listing `{}`", path.display()))?;
    entries.sort();
    Ok(entries)
}

/// Creates a directory and its parents.
pub(crate) fn create_directories(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(Kind::Io, || format!("creating the directory `{}`", path.display()))
}

/// Creates a directory that only its owner can enter, from the moment of its creation, and its parents.
pub(crate) fn create_private_directory(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_directories(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.doing(Kind::Io, || format!("creating the directory `{}`", path.display()))?,
    }
    set_mode(path, 0o700)
}

/// Returns the permission bits of a file or directory.
pub(crate) fn mode(path: &Path) -> Result<u32> {
    let metadata = path.metadata().doing(Kind::Io, || format!("reading the mode of `{}`", path.display()))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

/// Makes renames in a directory survive a power cut.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    open(path)?.sync_all().doing(Kind::Io, || format!("syncing the directory `{}`", path.display()))
}

/// Waits until all data written to the filesystem of `path` is on the device; for thousands of files, this is
/// faster than syncing one by one.
pub(crate) fn sync_filesystem(path: &Path) -> Result<()> {
    rustix::fs::syncfs(open(path)?)
        .doing(Kind::Io, || format!("flushing the filesystem of `{}`", path.display()))
}

/// Sets permission bits, regardless of the umask.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .doing(Kind::Io, || format!("setting the mode of `{}`", path.display()))
}

/// Changes the owner of a file or directory to the owner of `model`; a process that is not allowed to do so
/// already runs as that owner.
pub(crate) fn give(path: &Path, model: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let step = || format!("setting the owner of `{}`", path.display());
    let (wanted, own) = (model.metadata().doing(Kind::Io, step)?, path.metadata().doing(Kind::Io, step)?);
    if (wanted.uid(), wanted.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(wanted.uid()), Some(wanted.gid())).doing(Kind::Io, step)
}

/// Returns the modification time of a file, in seconds since 1970.
pub(crate) fn modified(path: &Path) -> Result<u64> {
    let modified = path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .doing(Kind::Io, || format!("reading the modification time of `{}`", path.display()))?;
    Ok(modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Returns the digest and size of a file.
pub(crate) fn digest(path: &Path) -> Result<(Digest, u64)> {
    Digest::of_reader(open(path)?).doing(Kind::Io, || format!("reading `{}`", path.display()))
}

/// Returns the total size in bytes of all files below a directory.
pub(crate) fn size_of_all(path: &Path) -> Result<u64> {
    let of = |entry: PathBuf| if entry.is_dir() { size_of_all(&entry) } else { size(&entry) };
    list(path)?.into_iter().map(of).sum()
}

/// Removes a file or a whole directory; it is not an error if the path does not exist.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing(Kind::Io, || format!("removing `{}`", path.display())),
    }
}

/// Renames within one filesystem.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).doing(Kind::Io, || format!("renaming `{}` to `{}`", from.display(), to.display()))
}

/// Writes a file completely or not at all, through a temporary file next to it, fsync and rename. `mode`
/// applies regardless of the umask.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_atomic_with(path, mode, |out| out.write_all(bytes))
}

/// Like [`write_atomic`], with the bytes streamed by `fill`.
pub(crate) fn write_atomic_with(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let step = || format!("writing `{}`", path.display());
    let file = write_beside(path, mode, fill)?;
    file.as_file().sync_all().doing(Kind::Io, step)?;
    file.persist(path).map_err(|err| err.error).doing(Kind::Io, step)?;
    Ok(())
}

/// Like [`write_atomic`], but `fill` writes and checks the file: a rejected file is never renamed to `path`.
pub(crate) fn write_checked(path: &Path, mode: u32, fill: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let step = || format!("writing `{}`", path.display());
    let file = write_beside(path, mode, |_| Ok(()))?;
    fill(file.as_file())?;
    file.as_file().sync_all().doing(Kind::Io, step)?;
    file.persist(path).map_err(|err| err.error).doing(Kind::Io, step)?;
    Ok(())
}

/// Writes a temporary file in the directory of `path`, which is created if missing.
pub(super) fn write_beside(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<NamedTempFile> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let step = || format!("writing `{}`", path.display());
    create_directories(parent)?;
    let file = tempfile::Builder::new()
        .prefix(".kiln-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent)
        .doing(Kind::Io, step)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, file);
    fill(&mut buffered).doing(Kind::Io, step)?;
    let file = buffered.into_inner().map_err(io::IntoInnerError::into_error).doing(Kind::Io, step)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).doing(Kind::Io, step)?;
    Ok(file)
}

/// Writes to an existing file that expects a single write, such as a file in `/proc`.
pub(crate) fn write_existing(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes));
    written.doing(Kind::Io, || format!("writing `{}`", path.display()))
}

/// Writes a file in a directory that is still private to this process, without syncing or renaming.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn write_scratch(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).doing(Kind::Io, || format!("writing `{}`", path.display()))
}

/// Empties a directory that is a mount point or must be kept.
pub(crate) fn empty(path: &Path) -> Result<()> {
    list(path)?.iter().try_for_each(|path| remove(path))
}

/// Removes an empty directory.
pub(crate) fn remove_empty_directory(path: &Path) -> Result<()> {
    fs::remove_dir(path).doing(Kind::Io, || format!("removing `{}`", path.display()))
}

/// Writes a new file; fails if it exists.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    if path.exists() {
        return Err(Error::new(
            Kind::Input,
            format!("`{}` already exists and is not overwritten", path.display()),
        ));
    }
    write_atomic(path, bytes, mode)
}

/// Creates a file for random-access writing in a staging directory; the caller publishes it by a rename.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .doing(Kind::Io, || format!("creating `{}`", path.display()))
}

/// Opens an existing file for reading and writing.
pub(crate) fn open_writable(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .doing(Kind::Io, || format!("opening `{}` for writing", path.display()))
}

/// Opens a file for appending; creates it if missing.
pub(crate) fn open_to_append(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(mode);
    options.open(path).doing(Kind::Io, || format!("opening `{}` for writing", path.display()))
}

/// Marks a file or directory as just used, by updating its modification time.
pub(crate) fn touch(path: &Path) -> Result<()> {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(super::clock::now());
    let touched = open(path)?.set_times(FileTimes::new().set_modified(now));
    touched.doing(Kind::Io, || format!("marking `{}` as used", path.display()))
}

/// Reads up to `size` bytes from the start of a file.
pub(crate) fn start(path: &Path, size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(size)
        .read_to_end(&mut bytes)
        .doing(Kind::Io, || format!("reading the start of `{}`", path.display()))?;
    Ok(bytes)
}

/// Reads exactly `size` bytes at `offset`.
pub(crate) fn read_at(path: &Path, offset: u64, size: usize) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; size];
    open(path)?
        .read_exact_at(&mut bytes, offset)
        .doing(Kind::Io, || format!("reading {size} bytes at offset {offset} in `{}`", path.display()))?;
    Ok(bytes)
}

/// Returns the size of a file in bytes.
pub(crate) fn size(path: &Path) -> Result<u64> {
    path.metadata()
        .map(|metadata| metadata.len())
        .doing(Kind::Io, || format!("reading the size of `{}`", path.display()))
}

/// Returns the number of bytes available to unprivileged users on the filesystem of `path`.
pub(crate) fn free_space(path: &Path) -> Result<u64> {
    let numbers = rustix::fs::statvfs(path)
        .doing(Kind::Io, || format!("reading the free space of `{}`", path.display()))?;
    Ok(numbers.f_bavail.saturating_mul(numbers.f_frsize))
}

/// Makes a file occupy all free space on its filesystem, without writing data; an existing file grows.
///
/// # Errors
///
/// [`Kind::Io`] if the filesystem can't reserve space (fallocate(2)).
pub(crate) fn fill(path: &Path, mode: u32) -> Result<()> {
    const BLOCK: u64 = 4096;
    let file = open_to_append(path, mode)?;
    let doing = || format!("filling the filesystem of `{}`", path.display());
    let mut step = free_space(path)?;
    loop {
        let size = file.metadata().doing(Kind::Io, doing)?.len();
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), size, step.max(BLOCK)) {
            Err(rustix::io::Errno::NOSPC) if step <= BLOCK => return Ok(()),
            Err(rustix::io::Errno::NOSPC) => step /= 2,
            other => other.doing(Kind::Io, doing)?,
        }
    }
}

/// Creates a sparse file of `size` bytes, which occupies no space until it is written to.
pub(crate) fn create_sparse(path: &Path, size: u64, mode: u32) -> Result<()> {
    create(path, mode)?.set_len(size).doing(Kind::Io, || format!("creating `{}`", path.display()))
}

/// Returns the device of the filesystem of `path`, as `MAJOR:MINOR`.
pub(crate) fn device(path: &Path) -> Result<String> {
    use std::os::unix::fs::MetadataExt;
    let device = path.metadata().doing(Kind::Io, || format!("inspecting `{}`", path.display()))?.dev();
    Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Copies `reader` into `writer` through one large buffer.
pub(crate) fn copy(mut reader: impl Read, writer: &mut impl Write, step: impl Fn() -> String) -> Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let read = reader.read(&mut buffer).doing(Kind::Io, &step)?;
        if read == 0 {
            return Ok(total);
        }
        writer.write_all(&buffer[..read]).doing(Kind::Io, &step)?;
        total += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::{PRIVATE, write_atomic, write_new};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_written_0600_and_never_replaced_silently() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        write_new(&path, b"first", PRIVATE).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(&path, b"second", PRIVATE).unwrap_err().to_string().contains("not overwritten"));
        write_atomic(&path, b"third", PRIVATE).unwrap();
        assert_eq!(super::read(&path).unwrap(), b"third");
    }
}
