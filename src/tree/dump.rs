//! Text form of a tree, one sorted line per entry, which tests compare, and its digest, which is the key of
//! stages.

use std::fmt::Write as _;

use crate::digest::{Digest, Hasher};
use crate::tree::{Entry, EntryKind, ImagePath, Tree};

impl Tree {
    /// Returns one line per entry: mode, digest or kind, size, path, layer; owner unless root; attributes if
    /// any.
    pub(crate) fn dump(&self) -> String {
        self.iter().map(|(path, entry)| line(path, entry)).collect()
    }

    /// Returns the digest of everything that can reach an image: paths, modes, owners, attributes and
    /// contents, but not the layers' names.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for (path, entry) in self.iter() {
            let owner = format!("{:o} {} {} {}", entry.mode, entry.uid, entry.gid, entry.mtime);
            hasher.field(path.as_str(), owner.as_bytes());
            match &entry.kind {
                EntryKind::Directory => hasher.field("directory", b""),
                EntryKind::Symlink(target) => hasher.field("symlink", target.as_bytes()),
                EntryKind::File(content) => hasher.field("file", content.sha256().as_bytes()),
            };
            for (name, value) in &entry.xattrs {
                hasher.field(name, value);
            }
        }
        hasher.finish()
    }
}

fn line(path: &ImagePath, entry: &Entry) -> String {
    let mut line = format!("{:04o} ", entry.mode);
    let (what, target) = match &entry.kind {
        EntryKind::Directory => ("directory".to_owned(), None),
        EntryKind::Symlink(target) => ("symlink".to_owned(), Some(target)),
        // The digest of a secret would let an attacker test guesses.
        EntryKind::File(_) if entry.secret => ("secret".to_owned(), None),
        EntryKind::File(content) => (content.sha256().short(), None),
    };
    let size = if entry.secret { "-".to_owned() } else { entry.size().to_string() };
    let _ = write!(line, "{what:<12} {size:>9} {path}");
    if let Some(target) = target {
        let _ = write!(line, " -> {target}");
    }
    if (entry.uid, entry.gid) != (0, 0) {
        let _ = write!(line, " {}:{}", entry.uid, entry.gid);
    }
    for name in entry.xattrs.keys() {
        let _ = write!(line, " +{name}");
    }
    let _ = writeln!(line, " [{}]", entry.origin);
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::tree::{Entry, ImagePath, Tree};

    #[test]
    fn the_dump_shows_modes_digests_links_and_layers_but_no_secret() {
        let origin: Arc<str> = Arc::from("base");
        let mut tree = Tree::new();
        let mut put = |path: &str, entry: Entry| tree.insert(ImagePath::new(path).unwrap(), entry);
        put("/etc/hostname", Entry::file(*b"node\n", 0o644, &origin));
        put("/etc/localtime", Entry::symlink("/usr/share/zoneinfo/UTC", &origin));
        put("/etc/sa.key", Entry::file(*b"key", 0o600, &origin).owned_by(998, 998).secret());
        insta::assert_snapshot!(tree.dump(), @r"
        0755 directory            0 /etc [base]
        0644 389b46f04457         5 /etc/hostname [base]
        0777 symlink              0 /etc/localtime -> /usr/share/zoneinfo/UTC [base]
        0600 secret               - /etc/sa.key 998:998 [base]
        ");
    }
}
