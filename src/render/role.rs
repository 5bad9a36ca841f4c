//! Contents shared by all nodes of a role: files outside `/etc`, packages, programs, users.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::error::{Error, Kind, Result, Within};
use crate::overlay::{Overlay, Overlays, User};
use crate::render::context::NodeContext;
use crate::render::layer::{self, Part};
use crate::render::owners::Owners;
use crate::render::template::Templates;
use crate::tree::{ImagePath, Tree};

/// External requirements of a role image, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// Debian packages, including the kernel.
    pub(crate) packages: Vec<String>,
    /// Kubernetes programs.
    pub(crate) binaries: Vec<String>,
    /// True if a unit runs kiln itself, which the image must then contain.
    pub(crate) agent: bool,
    pub(crate) users: Vec<User>,
    /// Container images, keyed by reference, each with the overlay that needs it.
    pub(crate) images: BTreeMap<String, String>,
}

/// Renders the files of a role image that do not come from packages; nothing depends on a node or a cluster.
///
/// # Errors
///
/// [`Kind::Input`] if two overlays contain the same path.
pub(crate) fn role(cluster: &Cluster, image: &str, overlays: &Overlays) -> Result<Tree> {
    let chosen = chosen(cluster, member(cluster, image)?, overlays)?;
    let owners = Owners::of(&chosen)?;
    let mut tree = Tree::new();
    for overlay in chosen {
        let layer = layer::build(overlay, Part::Image, &owners, |file, _| Ok(Some(Arc::clone(&file.bytes))));
        let layer = layer.within(|| format!("reading the overlay `{}`", overlay.name))?;
        tree.overlay(layer, &overlay.manifest.replaces)?;
    }
    Ok(tree)
}

/// Collects what a role image requires from the base system.
///
/// # Errors
///
/// [`Kind::Input`] if an overlay is missing or users conflict.
pub(crate) fn requirements(cluster: &Cluster, image: &str, overlays: &Overlays) -> Result<Requirements> {
    let member = member(cluster, image)?;
    let chosen = chosen(cluster, member, overlays)?;
    let users = Owners::of(&chosen)?.into_users().collect();
    let base = cluster.base.packages.iter().chain([&cluster.base.kernel]);
    let sorted = |names: BTreeSet<&String>| names.into_iter().cloned().collect();
    Ok(Requirements {
        packages: sorted(chosen.iter().flat_map(|overlay| &overlay.manifest.packages).chain(base).collect()),
        binaries: sorted(chosen.iter().flat_map(|overlay| &overlay.manifest.binaries).collect()),
        agent: chosen.iter().any(|overlay| overlay.manifest.agent),
        users,
        images: images(cluster, member, &chosen)?,
    })
}

/// Returns the container images that overlays need, each with the first overlay that needs it.
fn images(cluster: &Cluster, node: &Node, chosen: &[&Overlay]) -> Result<BTreeMap<String, String>> {
    let mut images = BTreeMap::new();
    if chosen.iter().all(|overlay| overlay.manifest.images.is_empty()) {
        return Ok(images);
    }
    let templates =
        Templates::new(&[], &NodeContext { cluster, node, cluster_id: "example", overlays: chosen }, "")?;
    for (overlay, template) in
        chosen.iter().flat_map(|overlay| overlay.manifest.images.iter().map(move |image| (overlay, image)))
    {
        images.entry(templates.reference(overlay, template)?).or_insert_with(|| overlay.name.clone());
    }
    Ok(images)
}

/// Returns the paths of package files that the overlays of an image replace.
///
/// # Errors
///
/// [`Kind::Input`] if an overlay is missing.
pub(crate) fn replaces(cluster: &Cluster, image: &str, overlays: &Overlays) -> Result<BTreeSet<ImagePath>> {
    let chosen = chosen(cluster, member(cluster, image)?, overlays)?;
    Ok(chosen.iter().flat_map(|overlay| overlay.manifest.replaces.iter().cloned()).collect())
}

/// Returns the overlays of a node, in the order in which they are applied.
pub(crate) fn chosen<'a>(cluster: &Cluster, node: &Node, overlays: &'a Overlays) -> Result<Vec<&'a Overlay>> {
    let wanted = node.roles.iter().filter_map(|role| cluster.overlays.get(role)).flatten();
    overlays.select(wanted).within(|| format!("selecting the overlays of `{}`", node.name))
}

/// Returns any node of an image; all of them have the same roles.
fn member<'a>(cluster: &'a Cluster, image: &str) -> Result<&'a Node> {
    cluster.nodes.iter().find(|node| node.image() == image).ok_or_else(|| {
        let images: Vec<String> = cluster.images().into_keys().collect();
        Error::new(Kind::Input, format!("no node boots the image `{image}`"))
            .hint(format!("choose one of {}", images.join(", ")))
    })
}
