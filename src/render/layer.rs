//! Conversion of an overlay to a layer: the part under `/etc` for nodes, the rest for role images.

use std::sync::Arc;

use crate::error::Result;
use crate::overlay::{Attributes, Overlay, OverlayFile};
use crate::render::owners::Owners;
use crate::tree::{Entry, ImagePath, Tree};

/// Default mode of files.
pub(super) const FILE_MODE: u32 = 0o644;
const SECRET_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;

/// Part of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Files rendered for each node.
    Etc,
    /// Files shared by all nodes of a role.
    Image,
}

/// Builds the layer of `overlay`; `content` returns a file's bytes, or `None` to omit it.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if an owner is not declared; errors from `content`.
pub(super) fn build(
    overlay: &Overlay,
    part: Part,
    owners: &Owners,
    content: impl Fn(&OverlayFile, &Attributes) -> Result<Option<Arc<[u8]>>>,
) -> Result<Tree> {
    let origin: Arc<str> = Arc::from(overlay.name.as_str());
    let manifest = &overlay.manifest;
    let mut tree = Tree::new();
    for (path, attributes) in manifest.directories.iter().filter(|(path, _)| part.holds(path)) {
        let mode = attributes.mode.map_or(DIRECTORY_MODE, |mode| mode.0);
        tree.insert(path.clone(), owned(Entry::directory(mode, &origin), attributes, owners)?);
    }
    for (path, file) in overlay.files.iter().filter(|(path, _)| part.holds(path)) {
        let attributes = manifest.files.get(path).cloned().unwrap_or_else(Attributes::root);
        if let Some(bytes) = content(file, &attributes)? {
            tree.insert(path.clone(), entry(bytes, &attributes, &origin, owners)?);
        }
    }
    for (path, target) in manifest.links.iter().filter(|(path, _)| part.holds(path)) {
        tree.insert(path.clone(), Entry::symlink(target.clone(), &origin));
    }
    Ok(tree)
}

/// Returns a file entry with its declared mode and owner.
pub(super) fn entry(
    bytes: Arc<[u8]>,
    attributes: &Attributes,
    origin: &Arc<str>,
    owners: &Owners,
) -> Result<Entry> {
    let default = if attributes.secret { SECRET_MODE } else { FILE_MODE };
    let entry = Entry::file(bytes, attributes.mode.map_or(default, |mode| mode.0), origin);
    owned(if attributes.secret { entry.secret() } else { entry }, attributes, owners)
}

fn owned(entry: Entry, attributes: &Attributes, owners: &Owners) -> Result<Entry> {
    Ok(entry.owned_by(owners.id(&attributes.owner)?, owners.id(&attributes.group)?))
}

impl Part {
    fn holds(self, path: &ImagePath) -> bool {
        path.is_under("/etc") == (self == Self::Etc)
    }
}
