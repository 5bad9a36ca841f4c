//! Builds a cluster file into published artifacts.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rayon::prelude::*;
use serde_json::Value;

use crate::base::{self, Lock, Tools};
use crate::cluster::Cluster;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::output::cloud_init::Documents;
use crate::output::{
    self, Artifacts, ClusterRecord, ImageRecord, Manifest, Node, Published, Readers, RoleDisk, RoleImage,
    RoleInputs,
};
use crate::pipeline::lock::{fetch, load_lock, lock_file};
use crate::pipeline::role::Layers;
use crate::pipeline::site::{self, Site, Sources};
use crate::pipeline::stock;
use crate::pki::{Pki, Vault};
use crate::progress::Progress;
use crate::render::{self, Requirements};
use crate::seed::{Identity, Seed};
use crate::store::Store;
use crate::tree::{Content, Entry, EntryKind, Tree};
use crate::words::{Arch, BinarySource, ELF_START, Output};

/// Artifacts to build, their sources and their destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) sources: Sources<'a>,
    pub(crate) store: Option<&'a Path>,
    /// Parent of the cluster's output directory.
    pub(crate) out: &'a Path,
    /// Formats to use instead of the formats in the cluster file.
    pub(crate) formats: &'a [Output],
    /// True to use only the store.
    pub(crate) offline: bool,
}

/// Result of a build.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) directory: PathBuf,
    pub(crate) published: Published,
    /// Seconds per stage, in order of execution.
    pub(crate) times: Vec<(&'static str, f64)>,
}

/// Builds every artifact of a cluster and publishes them all at once.
///
/// # Errors
///
/// Errors from the individual steps; nothing is published in that case.
pub(crate) fn build(request: &Request<'_>, progress: &dyn Progress) -> Result<Built> {
    let mut times = Times::default();
    let site = times.measure("check", || Site::load(&request.sources))?;
    let formats = if request.formats.is_empty() { &site.cluster.outputs[..] } else { request.formats };
    let lock = load_lock(&site)?;
    let epoch = host::clock::source_date_epoch()?.unwrap_or(lock.epoch);
    let pki = Vault::open(&site.cluster.vault)?.pki(&site.cluster)?;
    let store = Store::open(request.store)?;
    let roles = if formats.iter().any(|format| format.needs_images()) {
        require_packages(&lock)?;
        Tools::require_runnable(lock.architecture)?;
        let agent = agent(lock.architecture)?;
        times.measure("fetch", || fetch(&site, &lock, request.offline, &store, progress))?;
        let tools = times.measure("tools", || Tools::open(&lock, &store, progress))?;
        RoleBuilder { site: &site, lock: &lock, tools: &tools, agent: &agent, store: &store, epoch, progress }
            .roles(&mut times)?
    } else {
        BTreeMap::new()
    };
    let seeds = times.measure("seeds", || seeds(&site, &pki, epoch))?;
    let directory = request.out.join(&site.cluster.name);
    let mut artifacts = Artifacts::begin(&directory, epoch)?;
    let made = PackInputs {
        site: &site,
        pki: &pki,
        roles: &roles,
        seeds: &seeds,
        documents: &documents(formats, &site, &lock, &pki, progress)?,
    };
    let images = times.measure("pack", || made.pack(formats, &mut artifacts, progress))?;
    let mut manifest = manifest(&site, &pki, request.sources.file, epoch)?;
    manifest.images = images;
    manifest.times = times.0.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
    let published = artifacts.publish(manifest)?;
    store.take_warnings().iter().for_each(|warning| progress.warn(warning));
    Ok(Built { directory, published, times: times.0 })
}

/// Fails if the lock pins no packages, which is the case if it was written for stock systems only.
fn require_packages(lock: &Lock) -> Result<()> {
    if !lock.sets.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the lock pins no packages for images: the cluster file requests only `{}`",
        Output::stock().collect::<Vec<_>>().join("`, `")
    );
    Err(Error::new(Kind::Input, message)
        .hint("add the format to `[outputs]`, as in `formats = [\"raw\"]`, and run `kiln lock`"))
}

/// Inputs shared by all roles.
struct RoleBuilder<'a> {
    site: &'a Site,
    lock: &'a Lock,
    tools: &'a Tools,
    agent: &'a Entry,
    store: &'a Store,
    epoch: u64,
    progress: &'a dyn Progress,
}

impl RoleBuilder<'_> {
    fn roles(&self, times: &mut Times) -> Result<BTreeMap<String, RoleImage>> {
        let requirements = self.site.requirements()?;
        let bases = times.measure("base", || self.bases(&requirements))?;
        let role = |(image, base): (&str, Tree)| {
            Ok((image.to_owned(), self.role(image, &requirements[image], &base, times)?))
        };
        bases.into_iter().map(role).collect()
    }

    /// Composes the base system of each role image. Most of the time is spent in dpkg, which uses one
    /// processor, so they are composed in parallel. They run in separate threads, because a thread that waits
    /// for another thread's stage must not block work that both need.
    fn bases<'r>(&self, requirements: &'r BTreeMap<String, Requirements>) -> Result<BTreeMap<&'r str, Tree>> {
        let waiting = Mutex::new(requirements.iter());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let compose = |(image, needs): (&'r String, &Requirements)| {
            let base = base::compose(self.lock, image, &users(needs), self.tools, self.store, self.progress);
            if base.is_err() {
                std::iter::from_fn(next).for_each(drop);
            }
            Ok((image.as_str(), base?))
        };
        let work = || std::iter::from_fn(next).map(compose).collect::<Result<Vec<_>>>();
        let workers = thread::available_parallelism().map_or(1, NonZero::get).min(requirements.len());
        thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let made: Result<Vec<_>> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect();
            Ok(made?.into_iter().flatten().collect())
        })
    }

    fn role(&self, image: &str, needs: &Requirements, base: &Tree, times: &mut Times) -> Result<RoleImage> {
        let tree = times.measure("compose", || self.compose(image, needs, base))?;
        let initrd = times
            .measure("initrd", || output::initrd::compose(base, self.agent))
            .within(|| format!("composing the initrd for `{image}`"))?;
        let inputs = RoleInputs {
            name: image,
            arch: self.lock.architecture,
            tree: &tree,
            base,
            initrd: &initrd,
            epoch: self.epoch,
            filesystem: self.site.cluster.base.filesystem,
        };
        times.measure("root", || output::role(&inputs, self.tools, self.store, self.progress))
    }

    fn compose(&self, image: &str, needs: &Requirements, base: &Tree) -> Result<Tree> {
        let cluster = &self.site.cluster;
        let programs = base::programs(
            self.lock,
            &needs.binaries,
            cluster.kubernetes,
            &cluster.binaries,
            self.store,
            self.progress,
        )?;
        let EntryKind::File(agent) = self.agent.kind.clone() else { unreachable!("the agent is a file") };
        let layers = Layers {
            base: base.clone(),
            overlays: render::role(cluster, image, &self.site.overlays)?,
            replaces: render::replaces(cluster, image, &self.site.overlays)?,
            programs,
            images: base::images(self.lock, &needs.images, &cluster.images, self.store, self.progress)?,
            agent,
        };
        layers.compose().within(|| format!("composing the image `{image}`"))
    }
}

/// Packs every node's identity and `/etc`.
fn seeds(site: &Site, pki: &Pki, epoch: u64) -> Result<BTreeMap<String, Vec<u8>>> {
    let cluster = &site.cluster;
    let seed = |node: &crate::cluster::Node| {
        let tree = render::node(cluster, node, pki, &site.overlays)?;
        let seed = Seed { identity: Identity::of(cluster, node, pki.cluster_id(), pki.not_before()), tree };
        Ok((node.name.clone(), seed.pack(epoch).within(|| format!("packing the seed for `{}`", node.name))?))
    };
    cluster.nodes.par_iter().map(seed).collect()
}

/// Writes the cloud-init documents, if that format is requested.
fn documents(
    formats: &[Output],
    site: &Site,
    lock: &Lock,
    pki: &Pki,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Documents>> {
    if formats.iter().all(|format| format.needs_images()) {
        return Ok(BTreeMap::new());
    }
    if !site.cluster.binaries.iter().any(|source| matches!(source, BinarySource::Archive { .. })) {
        progress.warn(
            "cloud-init: no source of the Kubernetes programs is an archive that nodes can download, so the \
            stock image must contain the programs in /usr/bin; their digests are checked at first boot",
        );
    }
    if !lock.wanted.images.is_empty() {
        progress.warn(
            "cloud-init: the documents contain no container images, so kubelets pull them from registries; \
            if the registries are unreachable, import the images into the stock image's containerd",
        );
    }
    stock::documents(site, lock, pki)
}

/// Inputs from which artifacts are packed.
struct PackInputs<'a> {
    site: &'a Site,
    pki: &'a Pki,
    roles: &'a BTreeMap<String, RoleImage>,
    seeds: &'a BTreeMap<String, Vec<u8>>,
    documents: &'a BTreeMap<String, Documents>,
}

impl PackInputs<'_> {
    /// Packs every artifact and returns the manifest's records of the role images.
    fn pack(
        &self,
        formats: &[Output],
        artifacts: &mut Artifacts,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, ImageRecord>> {
        let images: Vec<RoleDisk<'_>> = self.roles.values().map(RoleDisk::new).collect();
        let nodes = self.site.cluster.nodes.iter().map(|node| Node {
            name: &node.name,
            seed: &self.seeds[&node.name],
            image: images.iter().find(|image| image.role.name == node.image()),
            documents: self.documents.get(&node.name),
        });
        let nodes: Vec<Node<'_>> = nodes.collect();
        output::pack(formats, &images, &nodes, artifacts, progress)?;
        artifacts.put_bytes("admin.kubeconfig", Readers::Owner, self.pki.admin_kubeconfig()?.as_bytes())?;
        images.iter().map(|image| Ok((image.role.name.clone(), image.record()?))).collect()
    }
}

/// Describes the build's inputs. Paths on this machine are omitted: they may differ for equal artifacts.
fn manifest(site: &Site, pki: &Pki, file: &Path, epoch: u64) -> Result<Manifest> {
    let mut manifest = Manifest::new(epoch, described(&site.cluster)?);
    let mut input = |name: &str, digest: Digest| manifest.inputs.insert(name.to_owned(), digest.to_string());
    input("cluster-file", host::fs::digest(file)?.0);
    input("lock", host::fs::digest(&lock_file(&site.cluster))?.0);
    input("vault", pki.digest());
    Ok(manifest)
}

fn described(cluster: &Cluster) -> Result<ClusterRecord> {
    let describing = || "describing the cluster".into();
    let mut value = serde_json::to_value(cluster).doing(Kind::Internal, describing)?;
    if let Value::Object(fields) = &mut value {
        for of_this_machine in ["vault", "lock", "binaries", "images", "base"] {
            fields.remove(of_this_machine);
        }
    }
    let mut record: ClusterRecord = serde_json::from_value(value).doing(Kind::Internal, describing)?;
    record.architecture = cluster.base.architecture;
    Ok(record)
}

/// Returns kiln itself as a file in the image.
fn agent(arch: Arch) -> Result<Entry> {
    let path = site::agent()?;
    if let Some(other) = arch.is_foreign(&host::fs::start(&path, ELF_START)?) {
        return Err(Error::new(
            Kind::Input,
            format!("`{}` is for {other} and can't be the agent of {arch} machines", path.display()),
        )
        .hint(format!("set KILN_AGENT_BINARY to a kiln for {arch}")));
    }
    let (sha256, size) = host::fs::digest(&path)?;
    let content = Content::Stored { file: Arc::from(path), offset: 0, size, sha256 };
    Ok(Entry::new(EntryKind::File(content), 0o755, &Arc::from("kiln")))
}

fn users(needs: &Requirements) -> Vec<base::User> {
    let user = |user: &crate::overlay::User| base::User {
        name: user.name.clone(),
        uid: user.id,
        gid: user.id,
        home: user.home.to_string(),
        groups: user.groups.clone(),
    };
    needs.users.iter().map(user).collect()
}

/// Seconds per stage.
#[derive(Default)]
struct Times(Vec<(&'static str, f64)>);

impl Times {
    fn measure<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let result = work();
        self.0.push((stage, watch.elapsed().as_secs_f64()));
        result
    }
}
