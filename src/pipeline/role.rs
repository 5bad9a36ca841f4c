//! The tree of a role image: the base, the programs, the overlays' files and kiln itself, laid out for a
//! read-only root.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::ImageArchive;
use crate::error::Result;
use crate::tree::{Content, Entry, EntryKind, ImagePath, Tree};

/// Path in the image of the files that populate an empty `/var` at first boot.
const FACTORY_VAR: &str = "/usr/share/factory/var";

/// Path in the image of the container image archives that `kiln agent images` imports.
const IMAGES: &str = "/usr/share/kiln/images";

/// Layers of a role image.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The installed packages.
    pub(crate) base: Tree,
    /// The overlays' files outside `/etc`.
    pub(crate) overlays: Tree,
    /// Paths in the base that overlays replace.
    pub(crate) replaces: BTreeSet<ImagePath>,
    /// Kubernetes programs by name.
    pub(crate) programs: Vec<(String, Content)>,
    /// Container image archives.
    pub(crate) images: Vec<ImageArchive>,
    /// kiln, the node's agent.
    pub(crate) agent: Content,
}

impl Layers {
    /// Merges the layers into one tree.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`] if two layers claim the same path.
    pub(crate) fn compose(self) -> Result<Tree> {
        let mut tree = self.base;
        undo_enablement(&mut tree);
        tree.overlay(self.overlays, &self.replaces)?;
        tree.overlay(programs(self.programs, self.agent)?, &BTreeSet::new())?;
        tree.overlay(images(self.images)?, &BTreeSet::new())?;
        move_var_to_factory(&mut tree)?;
        tree.retain(|path, _| !(path.is_under("/boot") && path.as_str() != "/boot"));
        Ok(tree)
    }
}

/// Disables the services that packages enable when installed; overlays declare which services start.
fn undo_enablement(tree: &mut Tree) {
    let enabled = |path: &ImagePath| {
        path.is_under("/etc/systemd/system")
            && path
                .parent()
                .is_some_and(|dir| dir.as_str().ends_with(".wants") || dir.as_str().ends_with(".requires"))
    };
    tree.retain(|path, entry| !(enabled(path) && matches!(entry.kind, EntryKind::Symlink(_))));
}

fn programs(programs: Vec<(String, Content)>, agent: Content) -> Result<Tree> {
    let origin: Arc<str> = Arc::from("programs");
    let mut tree = Tree::new();
    for (name, content) in programs.into_iter().chain([("kiln".to_owned(), agent)]) {
        tree.insert(
            ImagePath::new(&format!("/usr/bin/{name}"))?,
            Entry::new(EntryKind::File(content), 0o755, &origin),
        );
    }
    Ok(tree)
}

/// Returns the archives and an index of their images: one line per image with the names of the image and its
/// archive.
fn images(archives: Vec<ImageArchive>) -> Result<Tree> {
    let origin: Arc<str> = Arc::from("images");
    let mut tree = Tree::new();
    let mut index = Vec::new();
    for ImageArchive { pin, content } in archives {
        // The digest lets a node check whether it has already imported this archive.
        let name = format!("{}-{}", pin.sha256.short(), pin.file);
        index.extend(pin.references.iter().map(|reference| format!("{reference} {name}\n")));
        tree.insert(
            ImagePath::new(&format!("{IMAGES}/{name}"))?,
            Entry::new(EntryKind::File(content), 0o644, &origin),
        );
    }
    if !index.is_empty() {
        index.sort();
        tree.insert(
            ImagePath::new(&format!("{IMAGES}/index"))?,
            Entry::file(index.concat().into_bytes(), 0o644, &origin),
        );
    }
    Ok(tree)
}

/// Moves the packages' files in `/var` to where the agent looks for them: the state partition is mounted over
/// `/var`.
fn move_var_to_factory(tree: &mut Tree) -> Result<()> {
    let paths: Vec<ImagePath> = tree
        .iter()
        .map(|(path, _)| path)
        .filter(|path| path.is_under("/var") && path.as_str() != "/var")
        .cloned()
        .collect();
    for path in paths {
        let entry = tree.remove(&path).expect("the path was just listed");
        let below = path.as_str().strip_prefix("/var/").expect("the path is under /var");
        tree.insert(ImagePath::new(FACTORY_VAR)?.join(below)?, entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::Layers;
    use crate::tree::{Content, Entry, ImagePath, Tree};

    fn base() -> Tree {
        let origin: Arc<str> = Arc::from("base");
        let mut tree = Tree::new();
        let mut put = |path: &str, entry: Entry| tree.insert(ImagePath::new(path).unwrap(), entry);
        put("/boot/vmlinuz-6.12.9", Entry::file(*b"old", 0o644, &origin));
        put("/boot/vmlinuz-7.0.1", Entry::file(*b"new", 0o644, &origin));
        put(
            "/etc/systemd/system/multi-user.target.wants/haproxy.service",
            Entry::symlink("/usr/lib/systemd/system/haproxy.service", &origin),
        );
        put("/etc/systemd/system/haproxy.service.d/x.conf", Entry::file(*b"x", 0o644, &origin));
        put("/var/lib/dpkg/status", Entry::file(*b"s", 0o644, &origin));
        tree
    }

    #[test]
    fn a_role_tree_starts_nothing_by_itself_and_keeps_var_as_a_factory_copy() {
        let agent = Content::Inline(Arc::from(*b"kiln"));
        let layers = Layers {
            base: base(),
            overlays: Tree::new(),
            replaces: BTreeSet::new(),
            programs: Vec::new(),
            images: Vec::new(),
            agent,
        };
        let paths: Vec<String> = layers
            .compose()
            .unwrap()
            .iter()
            .map(|(path, _)| path.to_string())
            .filter(|path| path.contains('.') || path.ends_with("status") || path.ends_with("kiln"))
            .collect();
        assert_eq!(
            paths,
            [
                "/etc/systemd/system/haproxy.service.d",
                "/etc/systemd/system/haproxy.service.d/x.conf",
                "/etc/systemd/system/multi-user.target.wants",
                "/usr/bin/kiln",
                "/usr/share/factory/var/lib/dpkg/status",
            ]
        );
    }
}
