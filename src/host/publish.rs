//! Replaces one directory with another in one atomic step.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Doing, Kind, Result};
use crate::host::fs;

/// Moves `staged` to `target`. Afterwards, `staged` is the previous `target`, or does not exist if there was
/// none.
///
/// # Errors
///
/// [`Kind::Io`]; both are then left unchanged.
pub(crate) fn exchange(staged: &Path, target: &Path) -> Result<()> {
    let step = || format!("publishing `{}`", target.display());
    if !target.exists() {
        return renameat_with(CWD, staged, CWD, target, RenameFlags::NOREPLACE).doing(Kind::Io, step);
    }
    match renameat_with(CWD, staged, CWD, target, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => replace_in_two_steps(staged, target),
        other => other.doing(Kind::Io, step),
    }
}

/// Replaces the target in two steps, on filesystems that can't exchange names; nothing is lost, but the
/// target is missing for a moment.
fn replace_in_two_steps(staged: &Path, target: &Path) -> Result<()> {
    let aside = staged.with_extension("old");
    fs::rename(target, &aside)?;
    fs::rename(staged, target)?;
    fs::rename(&aside, staged)
}

/// Creates a hard link to a file; returns false if the filesystem does not support that.
///
/// # Errors
///
/// [`Kind::Io`] if the file is missing, or the name is taken.
pub(crate) fn link(file: &Path, name: &Path) -> Result<bool> {
    match rustix::fs::link(file, name) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::XDEV | Errno::MLINK) => Ok(false),
        Err(err) => {
            Err(err).doing(Kind::Io, || format!("linking `{}` to `{}`", name.display(), file.display()))
        }
    }
}

/// Finishes a staged file: sets permission bits, regardless of the umask, and a fixed modification time. The
/// publisher flushes it, together with everything else that is staged.
///
/// # Errors
///
/// [`Kind::Io`] if the file can't be changed.
pub(crate) fn seal(file: &File, mode: u32, modified: u64, path: &Path) -> Result<()> {
    let step = || format!("writing `{}`", path.display());
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(modified));
    file.set_permissions(Permissions::from_mode(mode)).doing(Kind::Io, step)?;
    file.set_times(times).doing(Kind::Io, step)
}

/// Checks whether a file is as [`seal`] left it; a write would change its modification time.
pub(crate) fn is_sealed(path: &Path, mode: u32, modified: u64, size: u64) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| {
        let times =
            (metadata.mtime(), metadata.mtime_nsec()) == (i64::try_from(modified).unwrap_or(i64::MAX), 0);
        metadata.is_file() && times && metadata.len() == size && metadata.mode() & 0o7777 == mode
    })
}

#[cfg(test)]
mod tests {
    use super::{exchange, is_sealed, link, seal};
    use crate::host::fs;
    use std::io::Write;

    #[test]
    fn exchanging_leaves_the_old_directory_under_the_staging_name() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, target) = (dir.path().join(".new"), dir.path().join("out"));
        let fill = |text: &str| {
            fs::create_directories(&staged).unwrap();
            fs::write_atomic(&staged.join("file"), text.as_bytes(), fs::PUBLIC).unwrap();
        };
        fill("first");
        exchange(&staged, &target).unwrap();
        assert!(!staged.exists());
        fill("second");
        exchange(&staged, &target).unwrap();
        assert_eq!(fs::read_to_string(&target.join("file")).unwrap(), "second");
        assert_eq!(fs::read_to_string(&staged.join("file")).unwrap(), "first");
    }

    #[test]
    fn a_sealed_file_is_known_until_somebody_writes_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, name) = (dir.path().join("file"), dir.path().join("name"));
        let mut file = fs::create(&path, fs::PUBLIC).unwrap();
        file.write_all(b"content").unwrap();
        seal(&file, 0o600, 1_700_000_000, &path).unwrap();
        assert!(link(&path, &name).unwrap());
        assert!(is_sealed(&name, 0o600, 1_700_000_000, 7));
        assert!(!is_sealed(&name, 0o644, 1_700_000_000, 7));
        fs::open_writable(&path).unwrap().write_all(b"C").unwrap();
        assert!(!is_sealed(&name, 0o600, 1_700_000_000, 7));
    }
}
