//! Dependencies of a set of files: the symbolic links on their paths, and the libraries of programs, computed
//! from the tree alone.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result, Within};
use crate::output::initrd::{elf, missing};
use crate::tree::{Entry, EntryKind, ImagePath, Tree};
use crate::words::Arch;

/// Library directories common to all architectures.
const COMMON: [&str; 2] = ["/usr/lib", "/usr/lib64"];
/// Maximum number of symbolic links on one path, the same as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A selected part of a tree, extended file by file.
#[derive(Debug)]
pub(super) struct Closure<'a> {
    base: &'a Tree,
    chosen: BTreeSet<ImagePath>,
}

impl<'a> Closure<'a> {
    pub(super) fn of(base: &'a Tree) -> Self {
        Self { base, chosen: BTreeSet::new() }
    }

    /// Adds the file or directory at `path`, the symbolic links on the way to it, and its dependencies.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the file or a library is not in the base.
    pub(super) fn add(&mut self, path: &ImagePath) -> Result<()> {
        let Some(target) = self.resolve(path)? else { return Err(missing(path)) };
        let entry = self.base.get(&target).expect("resolved paths exist");
        if !self.chosen.insert(target) {
            return Ok(());
        }
        self.needs_of(entry).within(|| format!("collecting the dependencies of `{path}`"))
    }

    /// Like [`Closure::add`], but does nothing if the base does not contain the path.
    pub(super) fn add_if_present(&mut self, path: &ImagePath) -> Result<()> {
        if self.resolve(path)?.is_some() { self.add(path) } else { Ok(()) }
    }

    /// Adds the loader and the libraries of a program that may be outside the base.
    pub(super) fn needs_of(&mut self, entry: &Entry) -> Result<()> {
        let EntryKind::File(content) = &entry.kind else { return Ok(()) };
        if content.size() < elf::HEADER_SIZE {
            return Ok(());
        }
        let needs = elf::needs(&content.read()?)?;
        if let Some(loader) = &needs.loader {
            self.add(&ImagePath::new(loader)?)?;
        }
        for library in &needs.libraries {
            let path = self.library(library)?.ok_or_else(|| {
                Error::new(Kind::Input, format!("the base does not contain the library `{library}`"))
            })?;
            self.add(&path)?;
        }
        for library in &needs.recommended {
            if let Some(path) = self.library(library)? {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the chosen part of the base.
    pub(super) fn finish(self) -> Tree {
        let mut tree = Tree::new();
        for path in self.chosen {
            let entry = self.base.get(&path).expect("chosen paths exist").clone();
            tree.insert(path, entry);
        }
        tree
    }

    fn library(&mut self, name: &str) -> Result<Option<ImagePath>> {
        for directory in libraries() {
            let path = ImagePath::new(&format!("{directory}/{name}"))?;
            if self.resolve(&path)?.is_some() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Follows symbolic links as the kernel would with the tree as root; chooses the links on the way if the
    /// target exists.
    fn resolve(&mut self, path: &ImagePath) -> Result<Option<ImagePath>> {
        let mut links = Vec::new();
        let mut waiting: Vec<String> = components(path.as_str());
        let mut at = String::new();
        while let Some(component) = waiting.pop() {
            if component == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            at = format!("{at}/{component}");
            let here = ImagePath::new(&at)?;
            let Some(entry) = self.base.get(&here) else { return Ok(None) };
            if let EntryKind::Symlink(target) = &entry.kind {
                if links.len() == MAX_LINKS {
                    return Err(Error::new(
                        Kind::Input,
                        format!("`{path}` passes through more than {MAX_LINKS} symbolic links"),
                    ));
                }
                at.truncate(if target.starts_with('/') { 0 } else { at.rfind('/').unwrap_or(0) });
                waiting.extend(components(target));
                links.push(here);
            }
        }
        self.chosen.extend(links);
        Ok(if at.is_empty() { None } else { Some(ImagePath::new(&at)?) })
    }
}

/// Returns the components of a path or a link's text, last first.
fn components(path: &str) -> Vec<String> {
    path.rsplit('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
}

/// Returns the directories that Debian's dynamic loader searches, and the directories of systemd's private
/// libraries (their RUNPATH), for all architectures. A base contains only the directories of its own
/// architecture.
fn libraries() -> impl Iterator<Item = String> {
    let of = |suffix: &'static str| {
        Arch::ALL.into_iter().map(move |arch| format!("/usr/lib/{}{suffix}", arch.triplet))
    };
    of("").chain(COMMON.map(str::to_owned)).chain(of("/systemd"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Closure;
    use crate::tree::{Entry, ImagePath, Tree};

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    fn base(entries: &[(&str, Option<&str>)]) -> Tree {
        let origin: Arc<str> = Arc::from("base");
        let mut tree = Tree::new();
        for (name, link) in entries {
            let entry = link
                .map_or_else(|| Entry::file(*b"x", 0o644, &origin), |target| Entry::symlink(target, &origin));
            tree.insert(path(name), entry);
        }
        tree
    }

    #[test]
    fn links_on_the_way_come_along() {
        let base = base(&[
            ("/lib", Some("usr/lib")),
            ("/usr/lib/libx.so.1", Some("../lib64/./libx.so.1.2")),
            ("/usr/lib64", Some("/usr/lib/real")),
            ("/usr/lib/real/libx.so.1.2", None),
            ("/usr/lib/other", None),
        ]);
        let mut closure = Closure::of(&base);
        closure.add(&path("/lib/libx.so.1")).unwrap();
        insta::assert_snapshot!(closure.finish().dump(), @r"
        0777 symlink              0 /lib -> usr/lib [base]
        0755 directory            0 /usr [base]
        0755 directory            0 /usr/lib [base]
        0777 symlink              0 /usr/lib/libx.so.1 -> ../lib64/./libx.so.1.2 [base]
        0755 directory            0 /usr/lib/real [base]
        0644 2d711642b726         1 /usr/lib/real/libx.so.1.2 [base]
        0777 symlink              0 /usr/lib64 -> /usr/lib/real [base]
        ");
    }

    #[test]
    fn a_loop_of_links_and_a_missing_file_are_errors_that_name_the_path() {
        let base = base(&[("/a", Some("/b")), ("/b", Some("a")), ("/c", Some("nothing"))]);
        let mut closure = Closure::of(&base);
        assert_eq!(
            closure.add(&path("/a")).unwrap_err().to_string(),
            "`/a` passes through more than 40 symbolic links"
        );
        assert_eq!(
            closure.add(&path("/c")).unwrap_err().to_string(),
            "the base does not contain `/c`, which the initrd needs"
        );
        closure.add_if_present(&path("/c")).unwrap();
        assert_eq!(closure.finish().iter().count(), 0);
    }
}
