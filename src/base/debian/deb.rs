//! Reader for Debian package files, deb(5): an `ar` archive of a control archive and a data archive.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::base::debian::control::Control;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;

const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Size of an `ar` member's header in bytes.
const HEADER: u64 = 60;
/// Minimum size in bytes of a data archive that is decompressed on all processors.
const LARGE: u64 = 8 << 20;

/// An opened package: the control files are in memory, but the data is not.
#[derive(Debug)]
pub(super) struct Deb {
    path: PathBuf,
    pub(super) control: Control,
    /// The other control files: maintainer scripts, conffiles, triggers.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    control_member: Member,
    data_member: Member,
}

/// One member of the `ar` archive.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    /// Offset of its content in the file.
    offset: u64,
    size: u64,
}

impl Deb {
    /// Opens the package at `path`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if the file is not a package.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::read(path).within(|| format!("opening the package `{}`", path.display()))
    }

    fn read(path: &Path) -> Result<Self> {
        let members = members(path)?;
        let find = |prefix: &str| members.iter().find(|member| member.name.starts_with(prefix)).cloned();
        let missing = |what: &str| wrong(format!("it contains no `{what}`"));
        let control_member = find("control.tar").ok_or_else(|| missing("control.tar"))?;
        let data_member = find("data.tar").ok_or_else(|| missing("data.tar"))?;
        let mut files = control_files(decompress(path, &control_member)?)?;
        let control = files.remove("control").ok_or_else(|| missing("control"))?;
        Ok(Self {
            path: path.to_owned(),
            control: Control::parse(&control)?,
            files,
            control_member,
            data_member,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the packed data in bytes.
    pub(super) fn size(&self) -> u64 {
        self.data_member.size
    }

    /// Returns the decompressed data archive.
    pub(super) fn data(&self) -> Result<Box<dyn Read + Send>> {
        decompress(&self.path, &self.data_member)
    }

    /// Returns a package with the same control archive and no data, so that dpkg runs `preinst` without
    /// unpacking.
    pub(super) fn without_data(&self) -> Result<Vec<u8>> {
        /// End of a tar archive: two zero blocks.
        const EMPTY: [u8; 1024] = [0; 1024];
        let member = &self.control_member;
        let size = usize::try_from(member.size).expect("a control archive fits in memory");
        let mut bytes = MAGIC.to_vec();
        append(&mut bytes, "debian-binary", b"2.0\n");
        append(&mut bytes, &member.name, &host::fs::read_at(&self.path, member.offset, size)?);
        append(&mut bytes, "data.tar", &EMPTY);
        Ok(bytes)
    }
}

fn members(path: &Path) -> Result<Vec<Member>> {
    let mut file = host::fs::open(path)?;
    let step = || "reading the member list".to_owned();
    let end = file.seek(SeekFrom::End(0)).doing(Kind::Io, step)?;
    let read = |offset: u64, size: u64| {
        host::fs::read_at(path, offset, usize::try_from(size).expect("a header is small"))
    };
    if end < MAGIC.len() as u64 || read(0, MAGIC.len() as u64)? != MAGIC {
        return Err(wrong("it is not an `ar` archive"));
    }
    let mut members = Vec::new();
    let mut offset = MAGIC.len() as u64;
    while offset + HEADER <= end {
        let header = read(offset, HEADER)?;
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range]).unwrap_or_default().trim_end()
        };
        let size = text(48..58).parse().map_err(|_| wrong("the size of a member is invalid"))?;
        let member =
            Member { name: text(0..16).trim_end_matches('/').to_owned(), offset: offset + HEADER, size };
        offset = member
            .offset
            .checked_add(size)
            .filter(|next| *next <= end)
            .ok_or_else(|| wrong("it is truncated"))?;
        // Members begin at even offsets.
        offset += offset % 2;
        members.push(member);
    }
    Ok(members)
}

fn decompress(path: &Path, member: &Member) -> Result<Box<dyn Read + Send>> {
    let mut file = host::fs::open(path)?;
    file.seek(SeekFrom::Start(member.offset)).doing(Kind::Io, || format!("reading `{}`", member.name))?;
    let packed = BufReader::with_capacity(1 << 18, file.take(member.size));
    Ok(match member.name.rsplit_once(".tar").map(|(_, suffix)| suffix) {
        Some(".xz") => Box::new(liblzma::bufread::XzDecoder::new_stream(packed, xz(member.size)?)),
        Some(".zst") => Box::new(
            zstd::Decoder::with_buffer(packed)
                .doing(Kind::Verify, || format!("reading `{}`", member.name))?,
        ),
        Some(".gz") => Box::new(flate2::bufread::GzDecoder::new(packed)),
        Some("") => Box::new(packed),
        _ => return Err(wrong(format!("`{}` has an unknown compression format", member.name))),
    })
}

fn xz(size: u64) -> Result<liblzma::stream::Stream> {
    let threads =
        if size < LARGE { 1 } else { std::thread::available_parallelism().map_or(1, std::num::NonZero::get) };
    let threads = u32::try_from(threads).unwrap_or(1);
    let mut builder = liblzma::stream::MtStreamBuilder::new();
    let stream = builder.threads(threads).memlimit_threading(256 << 20).memlimit_stop(u64::MAX).decoder();
    stream.doing(Kind::Internal, || "preparing to decompress xz".into())
}

fn control_files(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>> {
    let step = || "reading the control archive".to_owned();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().doing(Kind::Verify, step)? {
        let mut entry = entry.doing(Kind::Verify, step)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_file() && !name.contains('/') {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).doing(Kind::Verify, step)?;
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

fn append(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let size = bytes.len();
    archive.extend_from_slice(
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).as_bytes(),
    );
    archive.extend_from_slice(bytes);
    if size % 2 == 1 {
        archive.push(b'\n');
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Verify, message)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Deb, MAGIC, append};
    use crate::host;
    use std::path::{Path, PathBuf};

    /// One entry in a package's data: path, mode, owner, and bytes or a link's target.
    pub(in crate::base) enum Item<'a> {
        Directory(&'a str, u32),
        File(&'a str, u32, u64, &'a [u8]),
        Link(&'a str, &'a str),
        HardLink(&'a str, &'a str),
    }

    /// Writes a package file, as `dpkg-deb` would.
    pub(in crate::base) fn package(
        directory: &Path,
        control: &str,
        scripts: &[(&str, &str)],
        items: &[Item],
    ) -> PathBuf {
        let mut files = vec![Item::File("./control", 0o644, 0, control.as_bytes())];
        files.extend(scripts.iter().map(|(name, text)| Item::File(name, 0o755, 0, text.as_bytes())));
        let mut bytes = MAGIC.to_vec();
        append(&mut bytes, "debian-binary", b"2.0\n");
        append(&mut bytes, "control.tar", &archive(&files));
        append(&mut bytes, "data.tar.zst", &zstd::encode_all(&archive(items)[..], 1).unwrap());
        let name = control.lines().next().unwrap().trim_start_matches("Package: ");
        let path = directory.join(format!("{name}.deb"));
        host::fs::write_atomic(&path, &bytes, host::fs::PUBLIC).unwrap();
        path
    }

    fn archive(items: &[Item]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for item in items {
            let mut header = tar::Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_mode(0o777);
            header.set_size(0);
            let mut put = |header: &mut tar::Header, path: &str, bytes: &[u8]| {
                let name = &mut header.as_old_mut().name;
                name[..path.len()].copy_from_slice(path.as_bytes());
                header.set_cksum();
                builder.append(header, bytes).unwrap();
            };
            match item {
                Item::Directory(path, mode) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    put(&mut header, path, b"");
                }
                Item::File(path, mode, group, bytes) => {
                    header.set_mode(*mode);
                    header.set_gid(*group);
                    header.set_size(bytes.len() as u64);
                    put(&mut header, path, bytes);
                }
                Item::Link(path, target) | Item::HardLink(path, target) => {
                    let hard = matches!(item, Item::HardLink(..));
                    header.set_entry_type(if hard { tar::EntryType::Link } else { tar::EntryType::Symlink });
                    header.set_link_name_literal(target).unwrap();
                    put(&mut header, path, b"");
                }
            }
        }
        builder.into_inner().unwrap()
    }

    const CONTROL: &str = "Package: x\nVersion: 1\nArchitecture: all\n";

    #[test]
    fn a_package_is_read_and_its_shell_is_what_dpkg_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = package(
            directory.path(),
            CONTROL,
            &[("./preinst", "#!/bin/sh\n")],
            &[Item::File("./x", 0o644, 0, b"x")],
        );
        let deb = Deb::open(&path).unwrap();
        assert_eq!((deb.control.name(), deb.files.keys().next().unwrap().as_str()), ("x", "preinst"));
        let shell = directory.path().join("shell.deb");
        host::fs::write_atomic(&shell, &deb.without_data().unwrap(), host::fs::PUBLIC).unwrap();
        if let Some(mut judge) = crate::judge::judge("dpkg-deb") {
            let said = crate::judge::accepts(judge.arg("--info").arg(&shell));
            assert!(said.contains("Package: x") && said.contains("preinst"), "{said}");
        }
    }

    #[test]
    fn a_truncated_package_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = package(directory.path(), CONTROL, &[], &[]);
        let whole = host::fs::read(&path).unwrap();
        for size in [0, 7, 100, whole.len() - 2] {
            host::fs::write_atomic(&path, &whole[..size], host::fs::PUBLIC).unwrap();
            let err = Deb::open(&path).unwrap_err().to_string();
            assert!(err.starts_with(&format!("opening the package `{}`", path.display())), "{err}");
        }
    }
}
