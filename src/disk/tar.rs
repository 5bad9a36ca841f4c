//! Canonical tar: equal trees produce equal bytes. mkfs.erofs reads it, and then needs neither root
//! privileges nor a directory.
//!
//! POSIX.1-2017 pax format: `./` first, sorted, times clamped, numeric owners, extended attributes as
//! `SCHILY.xattr.*`, never sparse (mkfs.erofs unpacks sparse entries under a wrong name).

use std::io::Write;

use tar::{EntryType, Header};

use crate::disk::contents::Contents;
use crate::error::{Doing, Kind, Result, Within};
use crate::tree::{Entry, EntryKind, Tree};

/// Block size of an archive in bytes.
const BLOCK: usize = 512;
/// Longest name or link target that fits into the header, in bytes.
const NAME: usize = 100;
/// Largest owner id that fits into seven octal digits.
const OWNER: u32 = 0o7_777_777;
/// Largest size that fits into eleven octal digits.
const SIZE: u64 = 0o77_777_777_777;

/// Writes `tree`; no timestamp in it is later than `epoch`, in seconds since 1970.
///
/// # Errors
///
/// [`Kind::Io`] if a file's content can't be read or `out` fails, naming the path inside the image.
pub(crate) fn write(tree: &Tree, epoch: u64, out: &mut dyn Write) -> Result<()> {
    let mut contents = Contents::default();
    let root = Entry::directory(0o755, &"".into());
    let root = Entry { mtime: epoch, ..root };
    write_entry("./", &root, epoch, &mut contents, out)?;
    for (path, entry) in tree.iter() {
        let slash = if matches!(entry.kind, EntryKind::Directory) { "/" } else { "" };
        write_entry(&format!("./{}{slash}", path.relative()), entry, epoch, &mut contents, out)
            .within(|| format!("packing `{path}`"))?;
    }
    write_all(out, &[0; 2 * BLOCK])
}

fn write_entry(
    name: &str,
    entry: &Entry,
    epoch: u64,
    contents: &mut Contents,
    out: &mut dyn Write,
) -> Result<()> {
    let records = records(name, entry);
    if !records.is_empty() {
        let header = header("./PaxHeaders", EntryType::XHeader, records.len() as u64, epoch);
        write_all(out, header.as_bytes())?;
        write_all(out, &records)?;
        pad(out, records.len() as u64)?;
    }
    write_all(out, header_of(name, entry, epoch).as_bytes())?;
    if let EntryKind::File(content) = &entry.kind {
        contents.copy(content, out)?;
        pad(out, content.size())?;
    }
    Ok(())
}

fn header_of(name: &str, entry: &Entry, epoch: u64) -> Header {
    let kind = match entry.kind {
        EntryKind::Directory => EntryType::Directory,
        EntryKind::File(_) => EntryType::Regular,
        EntryKind::Symlink(_) => EntryType::Symlink,
    };
    let mut header = header(name, kind, entry.size().min(SIZE), entry.mtime.min(epoch));
    header.set_mode(entry.mode);
    header.set_uid(entry.uid.min(OWNER).into());
    header.set_gid(entry.gid.min(OWNER).into());
    if let EntryKind::Symlink(target) = &entry.kind {
        let link = &mut header.as_ustar_mut().expect("the header is ustar").linkname;
        fill(link, target);
    }
    header.set_cksum();
    header
}

/// Returns a header with owner root and mode 0644. Values that do not fit are truncated; pax records contain
/// them in full.
fn header(name: &str, kind: EntryType, size: u64, mtime: u64) -> Header {
    let mut header = Header::new_ustar();
    fill(&mut header.as_ustar_mut().expect("the header is ustar").name, name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_cksum();
    header
}

fn fill(field: &mut [u8; NAME], text: &str) {
    let length = text.len().min(NAME);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Returns pax records for values that do not fit into the header, sorted.
fn records(name: &str, entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    for (attribute, value) in &entry.xattrs {
        record(&mut records, &format!("SCHILY.xattr.{attribute}"), value);
    }
    if entry.gid > OWNER {
        record(&mut records, "gid", entry.gid.to_string().as_bytes());
    }
    if let EntryKind::Symlink(target) = &entry.kind
        && target.len() > NAME
    {
        record(&mut records, "linkpath", target.as_bytes());
    }
    if name.len() > NAME {
        record(&mut records, "path", name.as_bytes());
    }
    if entry.size() > SIZE {
        record(&mut records, "size", entry.size().to_string().as_bytes());
    }
    if entry.uid > OWNER {
        record(&mut records, "uid", entry.uid.to_string().as_bytes());
    }
    records
}

/// Appends `LENGTH KEY=VALUE\n`, where the length includes its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn pad(out: &mut dyn Write, size: u64) -> Result<()> {
    let rest =
        usize::try_from(size.next_multiple_of(BLOCK as u64) - size).expect("padding is shorter than a block");
    write_all(out, &[0; BLOCK][..rest])
}

fn write_all(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).doing(Kind::Io, || "writing the archive".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::write;
    use crate::host;
    use crate::judge::{accepts, judge};
    use crate::tree::{Entry, ImagePath, Tree};

    /// Everything that is hard to put into a header.
    fn hard() -> Tree {
        let origin: Arc<str> = Arc::from("test");
        let mut tree = Tree::new();
        let mut put = |path: &str, entry: Entry| tree.insert(ImagePath::new(path).unwrap(), entry);
        let mut ping = Entry::file(*b"ping", 0o755, &origin);
        ping.xattrs
            .insert("security.capability".into(), b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec());
        ping.mtime = 1_800_000_000;
        put("/usr/bin/ping", ping);
        put("/usr/bin/su", Entry::file(*b"su", 0o4755, &origin));
        put("/etc/big owner", Entry::file(*b"x", 0o640, &origin).owned_by(4_000_000_000, 70_000));
        put(&format!("/usr/{}", "long/".repeat(50) + "ü"), Entry::file(vec![7; 1000], 0o644, &origin));
        put("/etc/link", Entry::symlink(format!("../{}", "t".repeat(300)), &origin));
        put("/tmp", Entry::directory(0o1777, &origin));
        tree
    }

    #[test]
    fn gnu_tar_reads_back_every_name_owner_mode_time_and_target() {
        let Some(mut tar) = judge("tar") else { return };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        let mut archive = Vec::new();
        write(&hard(), 1_700_000_000, &mut archive).unwrap();
        host::fs::write_atomic(&path, &archive, host::fs::PUBLIC).unwrap();
        let listing = accepts(tar.args(["--numeric-owner", "--full-time", "-tvf"]).arg(&path));
        let long = format!("./usr/{}ü", "long/".repeat(50));
        let target = format!("./etc/link -> ../{}", "t".repeat(300));
        assert!(listing.starts_with("drwxr-xr-x 0/0               0 2023-11-14 22:13:20 ./\n"), "{listing}");
        for part in [
            &long,
            &target,
            "4000000000/70000",
            "-rwsr-xr-x",
            "drwxrwxrwt",
            "2023-11-14 22:13:20 ./usr/bin/ping",
        ] {
            assert!(listing.contains(part), "{part} is not in\n{listing}");
        }
    }

    #[test]
    fn equal_trees_give_equal_bytes() {
        let pack = || {
            let mut out = Vec::new();
            write(&hard(), 1_700_000_000, &mut out).unwrap();
            out
        };
        assert_eq!(pack(), pack());
    }
}
