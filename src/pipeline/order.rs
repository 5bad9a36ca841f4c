//! Seeds with an order: for a machine that is missing, or for data that only one still has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::pipeline::Site;
use crate::pipeline::site::Sources;
use crate::pki::Vault;
use crate::profile::closest;
use crate::render;
use crate::seed::{Identity, ORDER, Order, Seed};
use crate::tree::{Entry, ImagePath};

/// What is ordered, as the user names it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) sources: Sources<'a>,
    /// Members that the others do not wait for.
    pub(crate) without: &'a [String],
    /// The member whose copy of the data becomes the cluster's.
    pub(crate) recover_from: Option<&'a str>,
    /// Members that have the data of a cluster that is no more.
    pub(crate) set_aside: &'a [String],
    /// Directory for the seeds; it must not exist.
    pub(crate) out: &'a Path,
}

/// Writes a seed with the order for each member of etcd that it is about, and returns their paths.
///
/// # Errors
///
/// [`Kind::Input`] for names that are no members, or an order that no member is left to carry out; [`Kind::Io`].
pub(crate) fn order(wanted: &Wanted<'_>) -> Result<Vec<PathBuf>> {
    let site = Site::load(&wanted.sources)?;
    let cluster = &site.cluster;
    check(cluster, wanted)?;
    let order = Order {
        id: format!("{:032x}", host::random::number()?),
        without: wanted.without.to_vec(),
        recover_from: wanted.recover_from.map(str::to_owned),
        set_aside: wanted.set_aside.to_vec(),
    };
    let pki = Vault::open(&cluster.vault)?.pki(cluster)?;
    let epoch = host::clock::source_date_epoch()?.unwrap_or_else(host::clock::now);
    let is_meant = |node: &&Node| wanted.set_aside.is_empty() || wanted.set_aside.contains(&node.name);
    let seeds = cluster.etcd_members().into_iter().filter(is_meant).map(|node| {
        let mut tree = render::node(cluster, node, &pki, &site.overlays)?;
        tree.insert(ImagePath::new(ORDER)?, file(&order)?);
        let seed = Seed { identity: Identity::of(cluster, node, pki.cluster_id(), pki.not_before()), tree };
        Ok((format!("{}.seed", node.name), seed.pack(epoch).within(|| format!("packing the seed of `{}`", node.name))?))
    });
    write(wanted.out, &seeds.collect::<Result<Vec<_>>>()?)
}

fn file(order: &Order) -> Result<Entry> {
    let text = toml::to_string(order).doing(Kind::Internal, || "writing the order".into())?;
    Ok(Entry::file(text.into_bytes(), 0o644, &Arc::from("order")))
}

fn check(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<()> {
    let (without, set_aside) = (wanted.without, wanted.set_aside);
    let members: Vec<&str> = cluster.etcd_members().into_iter().map(|node: &Node| node.name.as_str()).collect();
    let mut named = without.iter().chain(set_aside).map(String::as_str).chain(wanted.recover_from);
    if let Some(name) = named.find(|name| !members.contains(name)) {
        let hint = match closest(name, members.iter().copied()) {
            Some(other) => format!("did you mean `{other}`?"),
            None => format!("its members are {}", members.join(", ")),
        };
        return Err(Error::new(Kind::Input, format!("`{name}` is not a member of etcd")).hint(hint));
    }
    if members.iter().all(|member| without.iter().any(|name| name == member)) {
        return Err(Error::new(Kind::Input, "the order leaves out every member").hint("name those alone that are missing"));
    }
    if set_aside.len() * 2 >= members.len() {
        let message = format!("{} of {} members can't join the rest, which would have no quorum", set_aside.len(), members.len());
        return Err(Error::new(Kind::Input, message).hint("`--recover-from NODE` makes one member's data the cluster's"));
    }
    Ok(())
}

/// Writes the seeds, all or none, for their owner alone.
fn write(out: &Path, seeds: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>> {
    if out.exists() {
        return Err(Error::new(Kind::Input, format!("`{}` exists", out.display())).hint("name another directory with `--out`"));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    host::fs::create_directories(parent)?;
    let staged = tempfile::Builder::new().prefix(".kiln-").tempdir_in(parent).doing(Kind::Io, || format!("writing `{}`", out.display()))?;
    for (name, bytes) in seeds {
        host::fs::write_atomic(&staged.path().join(name), bytes, host::fs::PRIVATE)?;
    }
    host::publish::exchange(staged.path(), out)?;
    Ok(seeds.iter().map(|(name, _)| out.join(name)).collect())
}
