//! The text files that a machine would get, without its keys: what can be looked at before there is a vault.

use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::error::{Result, Source, Within};
use crate::overlay::{Attributes, Overlay, OverlayFile, Overlays};
use crate::pki;
use crate::render::context::Facts;
use crate::render::layer::FILE_MODE;
use crate::render::node::declared;
use crate::render::role;
use crate::render::template::Templates;
use crate::tree::conflict;

/// One text file, and the overlay's file that it is made of.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    /// Where it lies on the machine.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) source: Source,
}

/// Renders the text files of one node: its own and its role image's. Files that hold secrets are left out; what follows from
/// the vault's identifier is an example.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] with overlay, file and line of what does not render, or the two overlays that claim one path.
pub(crate) fn texts(cluster: &Cluster, node: &Node, overlays: &Overlays) -> Result<Vec<TextFile>> {
    let chosen = role::chosen(cluster, node, overlays)?;
    let facts = Facts { cluster, node, overlays: &chosen, cluster_id: "example" };
    let templates = Templates::new(&chosen, &facts, "")?;
    declared(&chosen)?;
    chosen.iter().try_for_each(|overlay| are_held(overlay, cluster, node))?;
    let mut found: Vec<(&str, TextFile)> = Vec::new();
    for overlay in chosen {
        for (path, file) in &overlay.files {
            let attributes = overlay.manifest.files.get(path).cloned().unwrap_or_else(Attributes::root);
            if attributes.secret {
                continue;
            }
            let Some((text, source)) = text(&templates, overlay, file).within(|| format!("rendering `{}`", node.name))? else { continue };
            if let Some(there) = found.iter().position(|(_, other)| other.path == path.as_str()) {
                let (first, _) = found.remove(there);
                if !overlay.manifest.replaces.contains(path) {
                    return Err(conflict(path, first, &overlay.name));
                }
            }
            let mode = attributes.mode.map_or(FILE_MODE, |mode| mode.0);
            found.push((&overlay.name, TextFile { path: path.to_string(), text, mode, source }));
        }
        found.extend(modules(overlay).map(|list| (overlay.name.as_str(), list)));
    }
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// Insists that what the overlay asks for of the vault is for the node.
fn are_held(overlay: &Overlay, cluster: &Cluster, node: &Node) -> Result<()> {
    let held = |name: &String| pki::held(name, cluster, node).within(|| format!("rendering `{}`", node.name));
    let asks = || format!("the overlay `{}` asks for it: leave it out of the node's roles", overlay.name);
    overlay.manifest.certificates.iter().try_for_each(held).map_err(|err| err.hint(asks()))
}

/// The text of a file and its source; `None` when the node has no such file, or it is no text.
fn text(templates: &Templates, overlay: &Overlay, file: &OverlayFile) -> Result<Option<(Arc<str>, Source)>> {
    let Ok(written) = std::str::from_utf8(&file.bytes) else { return Ok(None) };
    let source = Source { path: file.source.clone(), text: written.into() };
    if !file.template {
        return Ok(Some((Arc::clone(&source.text), source)));
    }
    Ok(templates.render(overlay, file, false)?.map(|rendered| (rendered.into(), source)))
}

/// The list of kernel modules that an overlay needs, as `node` writes it.
fn modules(overlay: &Overlay) -> Option<TextFile> {
    let list: String = overlay.manifest.modules.iter().map(|module| format!("{module}\n")).collect();
    let path = format!("/etc/modules-load.d/{}.conf", overlay.name);
    let source = Source { path: path.clone().into(), text: list.as_str().into() };
    (!list.is_empty()).then(|| TextFile { path, text: list.into(), mode: FILE_MODE, source })
}
