//! Scans the scratch directory after maintainer scripts have run: every path with its real attributes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::debian::Scratch;
use crate::base::debian::ownership::{DIRECTORY, Owned, Ownership, REGULAR, SYMLINK, TYPE};
use crate::base::debian::unpack::Unpacked;
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::scoped::{Found, Identity};
use crate::tree::ImagePath;

/// Directories whose contents belong to the running system.
const VOLATILE: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// The installed system, keyed by path.
pub(super) type Nodes = BTreeMap<ImagePath, Node>;

/// One entry of the installed system.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Name of the package that installed it; `None` if a script created it.
    pub(super) origin: Option<String>,
}

/// Type of an entry.
#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Directory,
    /// A file of the scratch directory; hard links share an identity.
    File {
        path: PathBuf,
        size: u64,
        identity: Identity,
    },
    /// Content written by kiln in place of the original.
    Text(Vec<u8>),
    Symlink(String),
}

/// Lists the installed system.
///
/// # Errors
///
/// [`Kind::Tool`] for a device, pipe or socket outside the volatile directories, or a name that is not valid
/// in an image.
pub(super) fn scan(scratch: &Scratch, unpacked: &Unpacked) -> Result<Nodes> {
    let root = &scratch.root;
    let mut nodes = Nodes::new();
    for found in host::scoped::scan(root)? {
        let path = image_path(root, &found.path)?;
        if VOLATILE.iter().any(|volatile| path.is_under(volatile) && path.as_str() != *volatile) {
            continue;
        }
        let origin =
            unpacked.origins.get(&path).map(|index| unpacked.packages[*index].deb.control.name().to_owned());
        let node = node(&path, &found, &scratch.ownership, origin)?;
        nodes.insert(path, node);
    }
    Ok(nodes)
}

fn node(path: &ImagePath, found: &Found, ownership: &Ownership, origin: Option<String>) -> Result<Node> {
    let kind = found.mode & TYPE;
    // `faked` creates an empty file where a script creates a device; any other difference comes from a
    // removed file.
    let stale = |known: &&Owned| {
        kind != known.mode & TYPE && (kind != REGULAR || matches!(known.mode & TYPE, DIRECTORY | SYMLINK))
    };
    let known = ownership.get(&found.identity).filter(|known| !stale(known));
    let (mode, uid, gid) = known.map_or((found.mode, 0, 0), |known| (known.mode, known.uid, known.gid));
    let kind = match mode & TYPE {
        DIRECTORY => NodeKind::Directory,
        REGULAR => NodeKind::File { path: found.path.clone(), size: found.size, identity: found.identity },
        SYMLINK => NodeKind::Symlink(target(&found.path)?),
        _ => {
            return Err(Error::new(
                Kind::Tool,
                format!("a maintainer script created `{path}`, which is a device, a pipe or a socket"),
            ));
        }
    };
    let mode = if matches!(kind, NodeKind::Symlink(_)) { 0o777 } else { mode & 0o7777 };
    Ok(Node { kind, mode, uid, gid, origin })
}

fn target(path: &Path) -> Result<String> {
    let target = path.read_link().doing(Kind::Io, || format!("reading the link `{}`", path.display()))?;
    target
        .into_os_string()
        .into_string()
        .map_err(|_| Error::new(Kind::Tool, format!("the target of `{}` is not UTF-8", path.display())))
}

fn image_path(root: &Path, path: &Path) -> Result<ImagePath> {
    let wrong =
        || Error::new(Kind::Tool, format!("`{}` has a name that is not valid in an image", path.display()));
    let relative = path.strip_prefix(root).expect("a scan stays under its root");
    ImagePath::new(&format!("/{}", relative.to_str().ok_or_else(wrong)?)).map_err(|_| wrong())
}
