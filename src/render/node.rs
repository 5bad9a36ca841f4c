//! A node's `/etc`: rendered files, certificates, enabled systemd units.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::error::{Error, Kind, Result, Within};
use crate::overlay::{Attributes, Overlay, Overlays};
use crate::pki::Pki;
use crate::render::context::NodeContext;
use crate::render::layer::{self, Part};
use crate::render::owners::Owners;
use crate::render::template::Templates;
use crate::render::{role, units};
use crate::tree::{Entry, ImagePath, Tree};

/// Renders everything under `/etc` of one node, secrets included.
///
/// # Errors
///
/// [`Kind::Input`], naming the overlay, file and line of a rendering error, or the two overlays that contain
/// the same path.
pub(crate) fn node(cluster: &Cluster, node: &Node, pki: &Pki, overlays: &Overlays) -> Result<Tree> {
    let chosen = role::chosen(cluster, node, overlays)?;
    let context = NodeContext { cluster, node, overlays: &chosen, cluster_id: pki.cluster_id() };
    let owners = Owners::of(&chosen)?;
    let templates = Templates::new(&chosen, &context, pki.encryption_key())?;
    let mut tree = Tree::new();
    for overlay in &chosen {
        let layer = files(overlay, &owners, &templates).within(|| format!("rendering `{}`", node.name))?;
        tree.overlay(layer, &overlay.manifest.replaces)?;
    }
    tree.overlay(certificates(&chosen, &owners, pki, node)?, &BTreeSet::new())?;
    chosen.iter().try_for_each(|overlay| units::enable(overlay, cluster.base.architecture, &mut tree))?;
    Ok(tree)
}

/// Returns the overlay's files under `/etc`, and the list of kernel modules that it needs.
fn files(overlay: &Overlay, owners: &Owners, templates: &Templates) -> Result<Tree> {
    let mut tree = layer::build(overlay, Part::Etc, owners, |file, attributes| {
        if !file.template {
            return Ok(Some(Arc::clone(&file.bytes)));
        }
        Ok(templates.render(overlay, file, attributes.secret)?.map(|text| Arc::from(text.into_bytes())))
    })?;
    if !overlay.manifest.modules.is_empty() {
        let list = overlay.manifest.modules.iter().map(|module| format!("{module}\n")).collect::<String>();
        let path = ImagePath::new(&format!("/etc/modules-load.d/{}.conf", overlay.name))?;
        tree.insert(path, Entry::file(list.into_bytes(), 0o644, &Arc::from(overlay.name.as_str())));
    }
    Ok(tree)
}

/// Returns the certificates that the overlays need, each once, with the declared owners.
fn certificates(chosen: &[&Overlay], owners: &Owners, pki: &Pki, node: &Node) -> Result<Tree> {
    let attributes = declared(chosen)?;
    let names: BTreeSet<&String> = chosen.iter().flat_map(|overlay| &overlay.manifest.certificates).collect();
    let origin: Arc<str> = Arc::from("pki");
    let mut tree = Tree::new();
    for name in names {
        for file in pki.files(name, node).within(|| format!("rendering `{}`", node.name))? {
            let default = Attributes::root();
            let wanted = Attributes {
                secret: file.secret,
                ..(*attributes.get(&file.path).unwrap_or(&&default)).clone()
            };
            tree.insert(file.path, layer::entry(file.bytes.into(), &wanted, &origin, owners)?);
        }
    }
    Ok(tree)
}

/// Returns the attributes of all overlays' files; overlays that share a file must declare it identically.
///
/// # Errors
///
/// [`Kind::Input`], naming the two overlays that disagree.
pub(super) fn declared<'a>(chosen: &[&'a Overlay]) -> Result<BTreeMap<&'a ImagePath, &'a Attributes>> {
    let mut all: BTreeMap<&ImagePath, (&Attributes, &str)> = BTreeMap::new();
    for overlay in chosen {
        for (path, attributes) in &overlay.manifest.files {
            if let Some((_, first)) =
                all.insert(path, (attributes, &overlay.name)).filter(|(other, _)| *other != attributes)
            {
                let message = format!("`{first}` and `{}` declare `{path}` differently", overlay.name);
                return Err(Error::new(Kind::Input, message)
                    .hint("remove one of the two overlays: they set different owners or modes"));
            }
        }
    }
    Ok(all.into_iter().map(|(path, (attributes, _))| (path, attributes)).collect())
}
