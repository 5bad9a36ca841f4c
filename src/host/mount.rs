//! Mounts; every error names the target.

use std::ffi::CString;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::error::{Doing, Error, Kind, Result};

/// Mounts a new filesystem of `kind` with the comma-separated `options`.
pub(crate) fn filesystem(
    kind: &str,
    source: &str,
    target: &Path,
    flags: MountFlags,
    options: &str,
) -> Result<()> {
    let data = CString::new(options).doing(Kind::Internal, || "preparing mount options".into())?;
    rustix::mount::mount(source, target, kind, flags, data.as_c_str())
        .doing(Kind::Io, || format!("mounting {kind} on `{}`", target.display()))
}

/// Mounts a writable directory over a read-only one. `work` is a second directory beside `upper`, on the same
/// filesystem.
///
/// # Errors
///
/// [`Kind::Internal`] if a path contains a character that overlayfs interprets as a separator.
pub(crate) fn overlay(lower: &Path, upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let show = |path: &Path| {
        let text = path.display().to_string();
        let plain = !text.contains([',', ':', '\\', '"']);
        if plain {
            Ok(text)
        } else {
            Err(Error::new(Kind::Internal, format!("`{text}` can't be an overlay layer")))
        }
    };
    let options = format!("lowerdir={},upperdir={},workdir={}", show(lower)?, show(upper)?, show(work)?);
    filesystem("overlay", "kiln", target, MountFlags::empty(), &options)
}

/// Hides a directory behind an empty in-memory filesystem; `visible`, if it is below the directory, remains
/// visible at its path.
pub(crate) fn hide_but(directory: &Path, visible: &Path) -> Result<()> {
    use rustix::mount::{MoveMountFlags, OpenTreeFlags};
    if !visible.starts_with(directory) {
        return filesystem("tmpfs", "kiln", directory, MountFlags::NOSUID | MountFlags::NODEV, "mode=0755");
    }
    let step = || format!("keeping `{}` visible", visible.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let kept = rustix::mount::open_tree(CWD, visible, flags).doing(Kind::Io, step)?;
    filesystem("tmpfs", "kiln", directory, MountFlags::NOSUID | MountFlags::NODEV, "mode=0755")?;
    super::fs::create_directories(visible)?;
    rustix::mount::move_mount(&kept, "", CWD, visible, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .doing(Kind::Io, step)
}

/// Makes every mount in this mount namespace private.
pub(crate) fn make_all_private() -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).doing(Kind::Io, || "making all mounts private".into())
}

/// Unmounts lazily; the filesystem is released with its last user.
pub(crate) fn detach(target: &Path) -> Result<()> {
    rustix::mount::unmount(target, UnmountFlags::DETACH)
        .doing(Kind::Io, || format!("unmounting `{}`", target.display()))
}

/// Checks whether something is mounted exactly at `path`.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    let id = |path: &Path| {
        let wanted = rustix::fs::StatxFlags::MNT_ID;
        rustix::fs::statx(CWD, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW, wanted)
            .map(|stat| stat.stx_mnt_id)
    };
    let parent = path.join("..");
    matches!((id(path), id(&parent)), (Ok(own), Ok(above)) if own != above)
}
