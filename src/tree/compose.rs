//! Composition of layers into one tree: a path in two layers is an error, unless the later layer declares the
//! replacement.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::tree::{EntryKind, ImagePath, Tree};

impl Tree {
    /// Lays `layer` over this tree.
    ///
    /// Directories merge: the later layer's mode and owner win where it sets them explicitly. Any other path
    /// may be in both layers only if it is in `replaces`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], naming the path and both layers.
    pub(crate) fn overlay(&mut self, layer: Self, replaces: &BTreeSet<ImagePath>) -> Result<()> {
        for (path, entry) in layer.entries {
            if let Some(there) = self.entries.get(&path) {
                let both_directories =
                    matches!((&there.kind, &entry.kind), (EntryKind::Directory, EntryKind::Directory));
                if !both_directories && !replaces.contains(&path) {
                    return Err(conflict(&path, &there.origin, &entry.origin));
                }
                if both_directories && entry.mode == 0o755 && entry.uid == 0 {
                    continue;
                }
            }
            self.insert(path, entry);
        }
        Ok(())
    }
}

/// Returns the error for a path that is in two layers.
pub(crate) fn conflict(path: &ImagePath, first: &str, second: &str) -> Error {
    Error::new(Kind::Input, format!("`{path}` is provided by both `{first}` and `{second}`"))
        .hint(format!("if `{second}` should win, add `{path}` to `replaces` in its overlay.toml"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use crate::tree::{Entry, ImagePath, Tree};

    fn tree(origin: &str, path: &str) -> Tree {
        let mut tree = Tree::new();
        tree.insert(ImagePath::new(path).unwrap(), Entry::file(*b"x", 0o644, &Arc::from(origin)));
        tree
    }

    #[test]
    fn a_path_claimed_by_two_layers_names_both() {
        let err = tree("haproxy", "/etc/x").overlay(tree("nginx", "/etc/x"), &BTreeSet::new()).unwrap_err();
        assert_eq!(err.to_string(), "`/etc/x` is provided by both `haproxy` and `nginx`");
        assert_eq!(err.hints(), ["if `nginx` should win, add `/etc/x` to `replaces` in its overlay.toml"]);
    }

    #[test]
    fn a_declared_replacement_wins() {
        let mut base = tree("base", "/etc/x");
        let path = ImagePath::new("/etc/x").unwrap();
        base.overlay(tree("site", "/etc/x"), &BTreeSet::from([path.clone()])).unwrap();
        assert_eq!(&*base.get(&path).unwrap().origin, "site");
    }
}
