//! Owners and modes that files on the host can't have: an ordinary user can't change a file's owner.
//!
//! The text form is the format of `faked`, so that maintainer scripts see the ownership recorded in packages,
//! and kiln sees the scripts' changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::{Error, Kind, Result};
use crate::host::scoped::Identity;

/// File types of `st_mode`, inode(7).
pub(super) const TYPE: u32 = 0o170_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const SYMLINK: u32 = 0o120_000;

/// Recorded owners and modes of files, keyed by identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership {
    known: BTreeMap<Identity, Owned>,
}

/// Recorded owner and mode of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    identity: Identity,
    /// File type and permission bits as in `st_mode`.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owned {
    pub(super) fn file(identity: Identity, mode: u32, uid: u32, gid: u32) -> Self {
        Self { identity, mode: REGULAR | mode, uid, gid }
    }

    pub(super) fn directory(identity: Identity, mode: u32, uid: u32, gid: u32) -> Self {
        Self { identity, mode: DIRECTORY | mode, uid, gid }
    }
}

impl Ownership {
    /// Returns the permission bits of a file on the host: no special bits, readable and writable by its
    /// owner.
    pub(super) fn file_mode(wanted: u32) -> u32 {
        wanted & 0o777 | 0o600
    }

    /// Returns the permission bits of a directory, as [`Ownership::file_mode`] does for a file.
    pub(super) fn directory_mode(wanted: u32) -> u32 {
        wanted & 0o777 | 0o700
    }

    pub(super) fn insert(&mut self, owned: Owned) {
        self.known.insert(owned.identity, owned);
    }

    pub(super) fn get(&self, identity: &Identity) -> Option<&Owned> {
        self.known.get(identity)
    }

    /// Forgets a file that was removed or is new, because identities are reused.
    pub(super) fn forget(&mut self, identity: &Identity) {
        self.known.remove(identity);
    }

    /// Keeps only the files on one device, so that file systems that no longer exist are forgotten.
    pub(super) fn retain_device(&mut self, device: u64) {
        self.known.retain(|identity, _| identity.device == device);
    }

    /// Returns one line per file, in the format of `faked --load`.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for Owned { identity, mode, uid, gid } in self.known.values() {
            let Identity { device, inode } = identity;
            let _ =
                writeln!(text, "dev={device:x},ino={inode},mode={mode:o},uid={uid},gid={gid},nlink=1,rdev=0");
        }
        text
    }

    /// Parses the output of `faked --save-file`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut ownership = Self::default();
        for line in text.lines() {
            let owned = parse_line(line)
                .ok_or_else(|| Error::new(Kind::Tool, format!("`faked` wrote an invalid line: `{line}`")))?;
            ownership.insert(owned);
        }
        Ok(ownership)
    }
}

fn parse_line(line: &str) -> Option<Owned> {
    let field = |name: &str| line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let identity =
        Identity { device: u64::from_str_radix(field("dev")?, 16).ok()?, inode: field("ino")?.parse().ok()? };
    let mode = u32::from_str_radix(field("mode")?, 8).ok()?;
    Some(Owned { identity, mode, uid: field("uid")?.parse().ok()?, gid: field("gid")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{Identity, Owned, Ownership};

    #[test]
    fn what_faked_saves_is_what_it_loads() {
        let mut ownership = Ownership::default();
        let identity = Identity { device: 0xfe00, inode: 12 };
        ownership.insert(Owned::file(identity, 0o2755, 0, 42));
        let text = ownership.to_text();
        assert_eq!(text, "dev=fe00,ino=12,mode=102755,uid=0,gid=42,nlink=1,rdev=0\n");
        assert_eq!(
            Ownership::parse(&text).unwrap().get(&identity),
            Some(&Owned::file(identity, 0o2755, 0, 42))
        );
        assert!(Ownership::parse("dev=fe00").is_err());
    }
}
