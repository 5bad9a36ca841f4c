//! Unpacks packages into a directory: in parallel, never outside the directory, and with a result that does
//! not depend on the order.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

use crate::base::debian::claims::{Claims, Verdict};
use crate::base::debian::deb::Deb;
use crate::base::debian::member::{Attributes, MERGED, attributes, link_name, place, refused};
use crate::base::debian::ownership::{Owned, Ownership};
use crate::error::{Doing, Kind, Result, Within};
use crate::host;
use crate::host::scoped::Scoped;
use crate::progress::Step;
use crate::tree::ImagePath;

/// Result of unpacking.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    pub(super) packages: Vec<Package>,
    /// Index of the package that owns each path; for a shared directory, the first package.
    pub(super) origins: BTreeMap<ImagePath, usize>,
    /// Owners and modes that an ordinary user can't set on the host.
    pub(super) ownership: Ownership,
}

/// One unpacked package.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) deb: Deb,
    /// Unpacked paths, in the package's own order.
    pub(super) paths: Vec<ImagePath>,
    /// Configuration files and their MD5 digests, for dpkg's status file.
    pub(super) conffiles: Vec<(String, String)>,
    directories: Vec<(ImagePath, Attributes)>,
    /// Owners and modes of files, by each of their names.
    owned: Vec<(ImagePath, Owned)>,
}

impl Package {
    /// Forgets every file for which `keeps` returns false.
    fn keep(&mut self, keeps: impl Fn(&ImagePath) -> bool) {
        self.paths.retain(&keeps);
        self.owned.retain(|(path, _)| keeps(path));
        self.conffiles.retain(|(path, _)| ImagePath::new(path).is_ok_and(|path| keeps(&path)));
    }
}

/// Unpacks every package into the empty directory `root`, except the paths that `keep` rejects.
///
/// # Errors
///
/// [`Kind::Verify`] for a package that is damaged or contains a path outside the root, [`Kind::Input`] if two
/// packages claim the same path.
pub(super) fn unpack(
    debs: Vec<Deb>,
    root: &Path,
    keep: fn(&ImagePath) -> bool,
    step: &dyn Step,
) -> Result<Unpacked> {
    for name in MERGED {
        let mut scoped = Scoped::open(root)?;
        scoped.directory(&format!("usr/{name}"), 0o755)?;
        scoped.symlink(name, &format!("usr/{name}"))?;
    }
    let claims = Claims::new(&debs);
    let mut debs: Vec<(usize, Deb)> = debs.into_iter().enumerate().collect();
    // Largest first, so that no processor starts a large package at the end.
    debs.sort_by_key(|(_, deb)| std::cmp::Reverse(deb.size()));
    let one = |(index, deb): (usize, Deb)| {
        host::signal::check()?;
        let (path, size) = (deb.path().to_owned(), deb.size());
        let unpacked = Unpacking::new(index, deb, root, &claims, keep)?.run();
        step.advance(size);
        Ok((index, unpacked.within(|| format!("unpacking the package `{}`", path.display()))?))
    };
    let mut packages: Vec<(usize, Package)> =
        debs.into_iter().par_bridge().map(one).collect::<Result<_>>()?;
    packages.sort_by_key(|(index, _)| *index);
    finish(root, packages.into_iter().map(|(_, package)| package).collect(), claims)
}

/// Drops files that other packages replaced, gives directories the attributes of the first package, and
/// collects the ownership.
fn finish(root: &Path, mut packages: Vec<Package>, claims: Claims) -> Result<Unpacked> {
    let mut scoped = Scoped::open(root)?;
    let mut origins = claims.into_owners();
    let mut ownership = Ownership::default();
    for (index, package) in packages.iter_mut().enumerate() {
        package.keep(|path| origins.get(path).is_none_or(|owner| *owner == index));
        package.owned.iter().for_each(|(_, owned)| ownership.insert(*owned));
        for (path, wanted) in &package.directories {
            if origins.contains_key(path) {
                continue;
            }
            origins.insert(path.clone(), index);
            if wanted.mode != 0o755 || (wanted.uid, wanted.gid) != (0, 0) {
                let identity = scoped.directory(path.relative(), Ownership::directory_mode(wanted.mode))?;
                ownership.insert(Owned::directory(identity, wanted.mode, wanted.uid, wanted.gid));
            }
        }
    }
    Ok(Unpacked { packages, origins, ownership })
}

/// A package being unpacked.
struct Unpacking<'a> {
    index: usize,
    scoped: Scoped,
    claims: &'a Claims,
    keep: fn(&ImagePath) -> bool,
    package: Package,
    /// Configuration files, keyed by path, without digests yet.
    conffiles: BTreeMap<String, String>,
}

impl<'a> Unpacking<'a> {
    fn new(
        index: usize,
        deb: Deb,
        root: &Path,
        claims: &'a Claims,
        keep: fn(&ImagePath) -> bool,
    ) -> Result<Self> {
        let conffiles = deb
            .files
            .get("conffiles")
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default();
        // A line may begin with a flag for files that an upgrade removes: these aren't in the package.
        let conffiles = conffiles
            .lines()
            .filter(|line| line.starts_with('/'))
            .map(|line| (line.trim().to_owned(), String::new()))
            .collect();
        let package = Package {
            deb,
            paths: Vec::new(),
            conffiles: Vec::new(),
            directories: Vec::new(),
            owned: Vec::new(),
        };
        Ok(Self { index, scoped: Scoped::open(root)?, claims, keep, package, conffiles })
    }

    fn run(mut self) -> Result<Package> {
        let step = || "reading the data archive".to_owned();
        let mut archive = tar::Archive::new(self.package.deb.data()?);
        for entry in archive.entries().doing(Kind::Verify, step)? {
            self.entry(entry.doing(Kind::Verify, step)?)?;
        }
        self.package.conffiles = self.conffiles.into_iter().filter(|(_, md5)| !md5.is_empty()).collect();
        Ok(self.package)
    }

    fn entry(&mut self, mut entry: tar::Entry<impl Read>) -> Result<()> {
        let Some(path) = place(&entry.path_bytes())? else { return Ok(()) };
        if !(self.keep)(&path) {
            return Ok(());
        }
        let attributes = attributes(entry.header()).within(|| format!("reading the header of `{path}`"))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            self.scoped.directory(path.relative(), 0o755)?;
            self.package.directories.push((path.clone(), attributes));
            self.package.paths.push(path);
            return Ok(());
        }
        let _turn = self.claims.turn(&path);
        if !self.admit(&path)? {
            return Ok(());
        }
        if kind.is_symlink() {
            let target = link_name(&entry, &path)?;
            self.scoped.symlink(path.relative(), &target)?;
        } else if kind.is_hard_link() {
            let target = link_name(&entry, &path)?;
            let target =
                place(target.as_bytes())?.ok_or_else(|| refused(&path, "is a hard link to the root"))?;
            self.scoped.hard_link(path.relative(), target.relative())?;
            let known = self.package.owned.iter().find(|(name, _)| *name == target);
            let second = known.map(|(_, owned)| (path.clone(), *owned));
            self.package.owned.extend(second);
        } else if kind.is_file() {
            self.file(&path, attributes, &mut entry)?;
        } else {
            return Err(refused(&path, "is a device or a pipe"));
        }
        self.package.paths.push(path);
        Ok(())
    }

    /// Returns true if this package writes `path`, after removing what it replaces.
    fn admit(&mut self, path: &ImagePath) -> Result<bool> {
        let verdict = self.claims.claim(path, self.index)?;
        if verdict == Verdict::Replace {
            self.scoped.remove(path.relative())?;
        }
        Ok(verdict != Verdict::Skip)
    }

    fn file(&mut self, path: &ImagePath, wanted: Attributes, content: &mut dyn Read) -> Result<()> {
        let mode = Ownership::file_mode(wanted.mode);
        let identity = match self.conffiles.get_mut(path.as_str()) {
            None => self.scoped.file(path.relative(), mode, content)?,
            Some(md5) => {
                let mut digesting = Digesting { content, hasher: Md5::new() };
                let identity = self.scoped.file(path.relative(), mode, &mut digesting)?;
                *md5 = digesting.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                identity
            }
        };
        if mode != wanted.mode || (wanted.uid, wanted.gid) != (0, 0) {
            let owned = Owned::file(identity, wanted.mode, wanted.uid, wanted.gid);
            self.package.owned.push((path.clone(), owned));
        }
        Ok(())
    }
}

/// Reader that digests what is read.
struct Digesting<'a> {
    content: &'a mut dyn Read,
    hasher: Md5,
}

impl Read for Digesting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.content.read(buffer)?;
        self.hasher.update(&buffer[..size]);
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::{Package, Unpacked, unpack};
    use crate::base::debian::deb::Deb;
    use crate::base::debian::deb::tests::{Item, package};
    use crate::error::Result;
    use crate::host;
    use crate::progress::{Progress, Silent};
    use std::path::Path;

    fn control(name: &str, rest: &str) -> String {
        format!("Package: {name}\nVersion: 1\nArchitecture: all\n{rest}")
    }

    fn unpacked(root: &Path, packages: &[(&str, &[Item])]) -> Result<Unpacked> {
        let pool = tempfile::tempdir().unwrap();
        let debs = packages
            .iter()
            .map(|(control, items)| Deb::open(&package(pool.path(), control, &[], items)).unwrap())
            .collect();
        unpack(debs, root, |path| !path.is_under("/usr/share/doc"), &*Silent.begin("", None))
    }

    #[test]
    fn files_keep_their_modes_and_what_a_user_cannot_give_is_remembered() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let items = [
            Item::Directory("./var/mail/", 0o2775),
            Item::File("./bin/su", 0o4755, 42, b"su"),
            Item::HardLink("./usr/bin/other", "./usr/bin/su"),
            Item::Link("./usr/bin/link", "su"),
            Item::File("./usr/share/doc/x", 0o644, 0, b"x"),
        ];
        let unpacked = unpacked(root.path(), &[(&control("x", ""), &items)]).unwrap();
        let mode = |path: &str| root.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode("usr/bin/su"), mode("usr/bin/other"), mode("usr/bin/link"), mode("var/mail")),
            (0o755, 0o755, 0o755, 0o775)
        );
        assert_eq!(unpacked.packages[0].paths.len(), 4);
        let state = unpacked.ownership.to_text();
        assert!(
            state.contains(",mode=104755,uid=0,gid=42,") && state.contains(",mode=42775,uid=0,gid=0,"),
            "{state}"
        );
        assert!(!root.path().join("usr/share").exists());
    }

    #[test]
    fn a_hostile_package_stays_inside() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap().to_owned();
        let cases: [(&str, &[Item]); 4] = [
            ("would escape the image", &[Item::File("./../x", 0o644, 0, b"x")]),
            ("would escape the image", &[Item::File("./usr/../../x", 0o644, 0, b"x")]),
            ("writing `link/x`", &[Item::Link("./link", &target), Item::File("./link/x", 0o644, 0, b"x")]),
            ("opening `link/x`", &[Item::Link("./link", &target), Item::HardLink("./x", "./link/x")]),
        ];
        for (said, items) in cases {
            let root = tempfile::tempdir().unwrap();
            let err = unpacked(root.path(), &[(&control("evil", ""), items)]).unwrap_err().to_string();
            assert!(err.starts_with("unpacking the package") && err.contains(said), "{err}");
        }
        assert!(host::fs::list(outside.path()).unwrap().is_empty());
    }

    #[test]
    fn of_two_packages_with_one_path_the_one_that_replaces_the_other_wins() {
        let (old, new) = (control("old", ""), control("new", "Replaces: old (<< 2)\n"));
        for order in [[0, 1], [1, 0]] {
            let root = tempfile::tempdir().unwrap();
            let packages: [(&str, &[Item]); 2] = [
                (&old, &[Item::File("./usr/x", 0o644, 0, b"old")]),
                (&new, &[Item::File("./usr/x", 0o644, 0, b"new")]),
            ];
            unpacked(root.path(), &order.map(|index| packages[index])).unwrap();
            assert_eq!(host::fs::read(&root.path().join("usr/x")).unwrap(), b"new");
        }
    }

    #[test]
    fn what_is_replaced_leaves_no_trace_whichever_of_the_two_is_faster() {
        let paths: Vec<String> = (0..200).map(|number| format!("./etc/{number}")).collect();
        let conffiles: String = paths.iter().map(|path| format!("{}\n", &path[1..])).collect();
        let conffiles = [("conffiles", conffiles.as_str())];
        let item = |path, mode, content| Item::File(path, mode, 0, content);
        let items = |mode, content| paths.iter().map(|path| item(path, mode, content)).collect::<Vec<_>>();
        let (old, new) = (items(0o4755, b"old"), items(0o755, b"new"));
        let (root, pool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let old = package(pool.path(), &control("old", ""), &conffiles, &old);
        let new = package(pool.path(), &control("new", "Replaces: old\n"), &conffiles, &new);
        let debs = [old, new].iter().map(|path| Deb::open(path).unwrap()).collect();
        let unpacked = unpack(debs, root.path(), |_| true, &*Silent.begin("", None)).unwrap();
        let content = |path: &String| host::fs::read(&root.path().join(path)).unwrap();
        assert!(paths.iter().all(|path| content(path) == b"new"));
        assert_eq!(unpacked.ownership.to_text(), "");
        let kept = |package: &Package| (package.paths.len(), package.conffiles.len());
        assert_eq!((kept(&unpacked.packages[0]), kept(&unpacked.packages[1])), ((0, 0), (200, 200)));
    }

    #[test]
    fn a_second_name_keeps_owner_and_mode_when_the_first_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let large = vec![b'o'; 1 << 16];
        let old: &[Item] = &[Item::File("./usr/x", 0o4755, 42, &large), Item::HardLink("./usr/y", "./usr/x")];
        let new: &[Item] = &[Item::File("./usr/x", 0o755, 0, b"new")];
        // One thread begins with the larger package.
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (first, second) = (control("old", ""), control("new", "Replaces: old\n"));
        let unpacked = alone.install(|| unpacked(root.path(), &[(&first, old), (&second, new)])).unwrap();
        assert_eq!(host::fs::read(&root.path().join("usr/x")).unwrap(), b"new");
        assert_eq!(host::fs::read(&root.path().join("usr/y")).unwrap(), large);
        let state = unpacked.ownership.to_text();
        assert!(state.lines().count() == 1 && state.contains(",mode=104755,uid=0,gid=42,"), "{state}");
    }

    #[test]
    fn two_packages_that_claim_one_path_are_both_named() {
        let root = tempfile::tempdir().unwrap();
        let item: &[Item] = &[Item::File("./usr/x", 0o644, 0, b"x")];
        let err = unpacked(root.path(), &[(&control("a", ""), item), (&control("b", ""), item)]).unwrap_err();
        assert!(err.to_string().ends_with("`/usr/x` is in the packages `a` and `b`"), "{err}");
    }
}
