//! An installed system as a stage in the store: an index, and the contents of all files in a few large files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::base::debian::scan::{Node, NodeKind, Nodes};
use crate::digest::{Digest, Hasher};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::scoped::Identity;
use crate::tree::{Content, Entry, EntryKind, ImagePath, Tree};

const INDEX: &str = "index.json";
/// Size of one content file: the store digests a stage's files in parallel, so a single file would keep only
/// one processor busy.
const SHARD: u64 = 64 << 20;
/// Size of one read in bytes.
const BUFFER: usize = 1 << 20;

/// One line of the index.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    path: String,
    mode: u32,
    uid: u32,
    gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(flatten)]
    kind: RecordKind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RecordKind {
    Directory,
    Symlink(String),
    File { place: Place, sha256: Digest },
}

/// Position of a file's content.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    shard: usize,
    offset: u64,
    size: u64,
}

/// Writes `nodes` into the empty directory `out`.
pub(super) fn pack(nodes: &Nodes, out: &Path) -> Result<()> {
    let (places, sizes) = arrange(nodes);
    let shards: Vec<File> = (0..sizes)
        .map(|shard| host::fs::create(&shard_path(out, shard), host::fs::PUBLIC))
        .collect::<Result<_>>()?;
    let records: Vec<Record> =
        nodes.par_iter().map(|(path, node)| record(path, node, &places, &shards)).collect::<Result<_>>()?;
    let index = serde_json::to_vec(&records)
        .doing(Kind::Internal, || "writing the index of the base system".into())?;
    host::fs::write_scratch(&out.join(INDEX), &index)
}

/// Assigns each file a place, in path order; hard links share a place. Also returns the number of shards.
fn arrange(nodes: &Nodes) -> (BTreeMap<&ImagePath, Place>, usize) {
    let mut places = BTreeMap::new();
    let mut linked: BTreeMap<Identity, Place> = BTreeMap::new();
    let mut next = Place { shard: 0, offset: 0, size: 0 };
    for (path, node) in nodes {
        let (size, identity) = match &node.kind {
            NodeKind::File { size, identity, .. } => (*size, Some(*identity)),
            NodeKind::Text(bytes) => (bytes.len() as u64, None),
            NodeKind::Directory | NodeKind::Symlink(_) => continue,
        };
        if let Some(place) = identity.and_then(|identity| linked.get(&identity)) {
            places.insert(path, *place);
            continue;
        }
        if next.offset > 0 && next.offset + size > SHARD {
            next = Place { shard: next.shard + 1, offset: 0, size: 0 };
        }
        let place = Place { size, ..next };
        next.offset += size;
        places.insert(path, place);
        identity.map(|identity| linked.insert(identity, place));
    }
    (places, next.shard + 1)
}

fn record(
    path: &ImagePath,
    node: &Node,
    places: &BTreeMap<&ImagePath, Place>,
    shards: &[File],
) -> Result<Record> {
    let kind = match &node.kind {
        NodeKind::Directory => RecordKind::Directory,
        NodeKind::Symlink(target) => RecordKind::Symlink(target.clone()),
        NodeKind::Text(bytes) => write(path, &mut &bytes[..], places[path], shards)?,
        NodeKind::File { path: file, .. } => write(path, &mut host::fs::open(file)?, places[path], shards)?,
    };
    Ok(Record {
        path: path.to_string(),
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        origin: node.origin.clone(),
        kind,
    })
}

fn write(path: &ImagePath, content: &mut dyn Read, place: Place, shards: &[File]) -> Result<RecordKind> {
    host::signal::check()?;
    let step = || format!("packing `{path}`");
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER.min(usize::try_from(place.size).unwrap_or(BUFFER).max(1))];
    let mut written = 0;
    loop {
        let size = content.read(&mut buffer).doing(Kind::Io, step)?;
        if size == 0 {
            break;
        }
        hasher.update(&buffer[..size]);
        shards[place.shard].write_all_at(&buffer[..size], place.offset + written).doing(Kind::Io, step)?;
        written += size as u64;
    }
    if written != place.size {
        return Err(Error::new(
            Kind::Io,
            format!("`{path}` changed while it was being packed: {written} bytes, expected {}", place.size),
        ));
    }
    Ok(RecordKind::File { place, sha256: hasher.finish() })
}

/// Reads the output of [`pack`] from `out`; file contents are not loaded.
pub(super) fn load(out: &Path, epoch: u64) -> Result<Tree> {
    let step = || format!("reading the index in `{}`", out.display());
    let records: Vec<Record> =
        serde_json::from_slice(&host::fs::read(&out.join(INDEX))?).doing(Kind::Internal, step)?;
    let mut origins: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut shards: BTreeMap<usize, Arc<Path>> = BTreeMap::new();
    let mut tree = Tree::new();
    for record in records {
        let origin = record.origin.unwrap_or_else(|| "base".to_owned());
        let origin = origins.entry(origin).or_insert_with_key(|name| Arc::from(name.as_str()));
        let kind = match record.kind {
            RecordKind::Directory => EntryKind::Directory,
            RecordKind::Symlink(target) => EntryKind::Symlink(target),
            RecordKind::File { place, sha256 } => {
                let file =
                    shards.entry(place.shard).or_insert_with_key(|shard| Arc::from(shard_path(out, *shard)));
                EntryKind::File(Content::Stored {
                    file: Arc::clone(file),
                    offset: place.offset,
                    size: place.size,
                    sha256,
                })
            }
        };
        let mut entry = Entry::new(kind, record.mode, origin).owned_by(record.uid, record.gid);
        entry.mtime = epoch;
        tree.insert(ImagePath::new(&record.path)?, entry);
    }
    Ok(tree)
}

fn shard_path(out: &Path, shard: usize) -> PathBuf {
    out.join(format!("content-{shard:02}"))
}

#[cfg(test)]
mod tests {
    use super::{load, pack};
    use crate::base::debian::scan::{Node, NodeKind, Nodes};
    use crate::tree::{EntryKind, ImagePath};

    #[test]
    fn what_is_packed_is_loaded_the_same() {
        let mut nodes = Nodes::new();
        let mut put = |path: &str, kind: NodeKind, mode: u32| {
            nodes.insert(
                ImagePath::new(path).unwrap(),
                Node { kind, mode, uid: 0, gid: 42, origin: Some("x".into()) },
            );
        };
        put("/etc", NodeKind::Directory, 0o755);
        put("/etc/a", NodeKind::Text(b"first".to_vec()), 0o640);
        put("/etc/b", NodeKind::Text(Vec::new()), 0o644);
        put("/etc/c", NodeKind::Text(b"third".to_vec()), 0o4755);
        put("/etc/link", NodeKind::Symlink("a".into()), 0o777);
        let out = tempfile::tempdir().unwrap();
        pack(&nodes, out.path()).unwrap();
        let tree = load(out.path(), 7).unwrap();
        let EntryKind::File(content) = &tree.get(&ImagePath::new("/etc/c").unwrap()).unwrap().kind else {
            panic!("it is a file")
        };
        assert_eq!(content.read().unwrap(), b"third");
        insta::assert_snapshot!(tree.dump(), @r"
        0755 directory            0 /etc 0:42 [x]
        0640 a7937b64b8ca         5 /etc/a 0:42 [x]
        0644 e3b0c44298fc         0 /etc/b 0:42 [x]
        4755 b1e99324505b         5 /etc/c 0:42 [x]
        0777 symlink              0 /etc/link -> a 0:42 [x]
        ");
    }
}
