//! cpio archive that the kernel unpacks as initramfs: `newc` (Linux
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::fmt::Write as _;
use std::io::Write;

use crate::disk::contents::Contents;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::tree::{Entry, EntryKind, Tree};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// Writes `tree`; no timestamp in it is later than `epoch`, in seconds since 1970. Extended attributes are
/// dropped: the format does not support them.
///
/// # Errors
///
/// [`Kind::Input`] if a file is 4 GiB or larger; [`Kind::Io`] if a file's content can't be read or `out`
/// fails.
pub(crate) fn write(tree: &Tree, epoch: u64, out: &mut dyn Write) -> Result<()> {
    let mut contents = Contents::default();
    for (inode, (path, entry)) in (1..).zip(tree.iter()) {
        write_entry(inode, path.relative(), entry, epoch, &mut contents, out)
            .within(|| format!("packing `{path}`"))?;
    }
    write_header(&[0, 0, 0, 0, 1, 0, 0], "TRAILER!!!", out)
}

fn write_entry(
    inode: u32,
    name: &str,
    entry: &Entry,
    epoch: u64,
    contents: &mut Contents,
    out: &mut dyn Write,
) -> Result<()> {
    let (kind, links, size) = match &entry.kind {
        EntryKind::Directory => (DIRECTORY, 2, 0),
        EntryKind::File(content) => (REGULAR, 1, content.size()),
        EntryKind::Symlink(target) => (SYMLINK, 1, target.len() as u64),
    };
    let size = u32::try_from(size)
        .map_err(|_| Error::new(Kind::Input, "a file in an initrd must be smaller than 4 GiB"))?;
    let mtime = u32::try_from(entry.mtime.min(epoch)).unwrap_or(u32::MAX);
    write_header(&[inode, kind | entry.mode, entry.uid, entry.gid, links, mtime, size], name, out)?;
    match &entry.kind {
        EntryKind::Directory => {}
        EntryKind::File(content) => contents.copy(content, out)?,
        EntryKind::Symlink(target) => write_all(out, target.as_bytes())?,
    }
    write_all(out, padding(size as usize))
}

/// Writes the header and the name. Device numbers and checksum are zero.
fn write_header(fields: &[u32; 7], name: &str, out: &mut dyn Write) -> Result<()> {
    let name_size = u32::try_from(name.len() + 1).expect("a path is shorter than 4 GiB");
    let [inode, mode, uid, gid, links, mtime, size] = fields;
    let mut header = String::from("070701");
    for field in [*inode, *mode, *uid, *gid, *links, *mtime, *size, 0, 0, 0, 0, name_size, 0] {
        let _ = write!(header, "{field:08X}");
    }
    header += name;
    header.push('\0');
    write_all(out, header.as_bytes())?;
    write_all(out, padding(header.len()))
}

/// Returns the zeros up to the next multiple of four.
fn padding(size: usize) -> &'static [u8] {
    &[0; 4][..size.next_multiple_of(4) - size]
}

fn write_all(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).doing(Kind::Io, || "writing the archive".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::write;
    use crate::host;
    use crate::judge::judge;
    use crate::tree::{Entry, ImagePath, Tree};

    #[test]
    fn gnu_cpio_lists_every_entry() {
        let Some(mut cpio) = judge("cpio") else { return };
        let origin: Arc<str> = Arc::from("test");
        let mut tree = Tree::new();
        let mut put = |path: &str, entry: Entry| tree.insert(ImagePath::new(path).unwrap(), entry);
        put("/init", Entry::symlink("usr/lib/systemd/systemd", &origin));
        put("/usr/bin/kiln", Entry { mtime: 1_800_000_000, ..Entry::file(vec![1; 4097], 0o755, &origin) });
        put("/etc/x", Entry::file(*b"x", 0o600, &origin).owned_by(7, 8));
        let mut archive = Vec::new();
        write(&tree, 1_700_000_000, &mut archive).unwrap();
        let output = host::process::run_with_input(cpio.args(["-tvn", "--quiet"]), &archive).unwrap();
        insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @r"
        drwxr-xr-x   2 0        0               0 Jan  1  1970 etc
        -rw-------   1 7        8               1 Jan  1  1970 etc/x
        lrwxrwxrwx   1 0        0              23 Jan  1  1970 init -> usr/lib/systemd/systemd
        drwxr-xr-x   2 0        0               0 Jan  1  1970 usr
        drwxr-xr-x   2 0        0               0 Jan  1  1970 usr/bin
        -rwxr-xr-x   1 0        0            4097 Nov 14  2023 usr/bin/kiln
        ");
    }
}
