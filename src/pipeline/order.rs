//! Seeds with an order, for when a machine is missing, only one machine still has the data, or a snapshot is
//! restored.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::pipeline::Site;
use crate::pipeline::site::{Sources, member};
use crate::pki::Vault;
use crate::render;
use crate::seed::{self, Identity, ORDER, Order, Restore, Seed};
use crate::tree::{Entry, ImagePath};

/// The order as requested by the user.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) sources: Sources<'a>,
    /// Members that the others do not wait for.
    pub(crate) without: &'a [String],
    /// Member whose data becomes the cluster's data.
    pub(crate) recover_from: Option<&'a str>,
    /// Snapshot that becomes the cluster's data.
    pub(crate) restore: Option<&'a Snapshot>,
    /// Member that restores the snapshot; by default the first member.
    pub(crate) on: Option<&'a str>,
    /// Members whose data belongs to a cluster that no longer exists.
    pub(crate) set_aside: &'a [String],
    /// Directory for the seeds; it must not exist.
    pub(crate) out: &'a Path,
}

/// A snapshot, identified by its digest, and its file, unless the member already has the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) file: Option<PathBuf>,
    pub(crate) sha256: Digest,
}

impl FromStr for Snapshot {
    type Err = Error;

    /// Reads `FILE@SHA256` or `SHA256`.
    fn from_str(text: &str) -> Result<Self> {
        let (file, sha256) =
            text.rsplit_once('@').map_or((None, text), |(file, sha256)| (Some(PathBuf::from(file)), sha256));
        let refused = || {
            Error::new(Kind::Input, format!("`{text}` does not end with a SHA-256 digest"))
                .hint("write `FILE@SHA256`, with the digest that `sha256sum FILE` prints")
        };
        let sha256 = sha256.parse().map_err(|_| refused())?;
        Ok(Self { file, sha256 })
    }
}

/// Writes a seed with the order for each etcd member that it concerns, and returns the paths of the seeds.
///
/// # Errors
///
/// [`Kind::Input`] for names that are not members, or an order that leaves no member to carry it out;
/// [`Kind::Verify`] for a snapshot that is damaged or does not match the order's digest; [`Kind::Io`].
pub(crate) fn order(wanted: &Wanted<'_>) -> Result<Vec<PathBuf>> {
    let site = Site::load(&wanted.sources)?;
    let cluster = &site.cluster;
    check(cluster, wanted)?;
    let order = Order {
        id: format!("{:032x}", host::random::number()?),
        without: wanted.without.to_vec(),
        recover_from: wanted.recover_from.map(str::to_owned),
        restore: wanted.restore.map(|snapshot| restore(cluster, snapshot, wanted.on)),
        set_aside: wanted.set_aside.to_vec(),
    };
    let travelling = travelling(wanted)?;
    let pki = Vault::open(&cluster.vault)?.pki(cluster)?;
    let epoch = host::clock::source_date_epoch()?.unwrap_or_else(host::clock::now);
    let is_meant = |node: &&Node| wanted.set_aside.is_empty() || wanted.set_aside.contains(&node.name);
    let seeds = cluster.etcd_members().into_iter().filter(is_meant).map(|node| {
        let mut tree = render::node(cluster, node, &pki, &site.overlays)?;
        tree.insert(ImagePath::new(ORDER)?, file(&order)?);
        let seed = Seed { identity: Identity::of(cluster, node, pki.cluster_id(), pki.not_before()), tree };
        Ok((
            format!("{}.seed", node.name),
            seed.pack(epoch).within(|| format!("packing the seed for `{}`", node.name))?,
        ))
    });
    let carried = |name: &str| {
        travelling
            .filter(|_| order.restore.as_ref().is_some_and(|restore| name == format!("{}.seed", restore.on)))
    };
    write(wanted.out, &seeds.collect::<Result<Vec<_>>>()?, &carried)
}

fn restore(cluster: &Cluster, snapshot: &Snapshot, on: Option<&str>) -> Restore {
    let first = || cluster.etcd_members().first().map(|node| node.name.clone()).unwrap_or_default();
    Restore { on: on.map_or_else(first, str::to_owned), sha256: snapshot.sha256 }
}

/// A file appended to a seed: path, size and digest.
type Travelling<'a> = (&'a Path, u64, Digest);

/// Returns the file to append to the seed, after verifying all of it: a damaged snapshot must never reach a
/// machine.
fn travelling<'a>(wanted: &Wanted<'a>) -> Result<Option<Travelling<'a>>> {
    let Some((snapshot, file)) =
        wanted.restore.and_then(|snapshot| Some((snapshot, snapshot.file.as_deref()?)))
    else {
        return Ok(None);
    };
    let checked = disk::etcd::verify(&host::fs::open(file)?, Some(snapshot.sha256))
        .within(|| format!("checking `{}`", file.display()));
    let sound = checked.map_err(|err| {
        err.hint("choose another file, or use the digest that `sha256sum` prints for this one")
    })?;
    Ok(Some((file, sound.size, sound.sha256)))
}

fn file(order: &Order) -> Result<Entry> {
    let text = toml::to_string(order).doing(Kind::Internal, || "writing the order".into())?;
    Ok(Entry::file(text.into_bytes(), 0o644, &Arc::from("order")))
}

fn check(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<()> {
    let (without, set_aside) = (wanted.without, wanted.set_aside);
    without
        .iter()
        .chain(set_aside)
        .map(String::as_str)
        .chain(wanted.recover_from)
        .chain(wanted.on)
        .try_for_each(|name| member(cluster, name))?;
    let members = cluster.etcd_members();
    if members.iter().all(|member| without.contains(&member.name)) {
        return Err(
            Error::new(Kind::Input, "the order excludes every member").hint("list only the missing members")
        );
    }
    if set_aside.len() * 2 >= members.len() {
        let message = format!(
            "{} of {} members can't be set aside: the rest would have no quorum",
            set_aside.len(),
            members.len()
        );
        return Err(Error::new(Kind::Input, message)
            .hint("use `--recover-from NODE` to make one member's data the cluster's data"));
    }
    Ok(())
}

/// Writes all seeds or none, readable only by their owner.
fn write<'a>(
    out: &Path,
    seeds: &[(String, Vec<u8>)],
    carried: &dyn Fn(&str) -> Option<Travelling<'a>>,
) -> Result<Vec<PathBuf>> {
    if out.exists() {
        return Err(Error::new(Kind::Input, format!("`{}` already exists", out.display()))
            .hint("choose another directory with `--out`"));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    host::fs::create_directories(parent)?;
    let staged = tempfile::Builder::new()
        .prefix(".kiln-")
        .tempdir_in(parent)
        .doing(Kind::Io, || format!("writing `{}`", out.display()))?;
    for (name, bytes) in seeds {
        let path = staged.path().join(name);
        if let Some((file, size, sha256)) = carried(name) {
            let file = host::fs::open(file)?;
            host::fs::write_atomic_with(&path, host::fs::PRIVATE, |to| {
                seed::attach(to, bytes, &file, size, sha256)
            })?;
        } else {
            host::fs::write_atomic(&path, bytes, host::fs::PRIVATE)?;
        }
    }
    host::publish::exchange(staged.path(), out)?;
    Ok(seeds.iter().map(|(name, _)| out.join(name)).collect())
}
