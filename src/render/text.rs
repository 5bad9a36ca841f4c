//! Text files of a machine without its keys, for inspection before a vault exists.

use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::error::{Result, Source, Within};
use crate::overlay::{Attributes, Overlay, OverlayFile, Overlays};
use crate::pki;
use crate::render::context::NodeContext;
use crate::render::layer::FILE_MODE;
use crate::render::node::declared;
use crate::render::role;
use crate::render::template::Templates;
use crate::tree::conflict;

/// A text file and the overlay file that it is rendered from.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    /// Path on the machine.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) source: Source,
}

/// Renders the text files of one node: its own files and the files of its role image. Files with secrets are
/// left out; values derived from the vault's identifier are examples.
///
/// # Errors
///
/// [`crate::error::Kind::Input`], naming the overlay, file and line of a rendering error, or the two overlays
/// that contain the same path.
pub(crate) fn texts(cluster: &Cluster, node: &Node, overlays: &Overlays) -> Result<Vec<TextFile>> {
    let chosen = role::chosen(cluster, node, overlays)?;
    let context = NodeContext { cluster, node, overlays: &chosen, cluster_id: "example" };
    let templates = Templates::new(&chosen, &context, "")?;
    declared(&chosen)?;
    chosen.iter().try_for_each(|overlay| are_held(overlay, cluster, node))?;
    let mut found: Vec<(&str, TextFile)> = Vec::new();
    for overlay in chosen {
        for (path, file) in &overlay.files {
            let attributes = overlay.manifest.files.get(path).cloned().unwrap_or_else(Attributes::root);
            if attributes.secret {
                continue;
            }
            let Some((text, source)) =
                text(&templates, overlay, file).within(|| format!("rendering `{}`", node.name))?
            else {
                continue;
            };
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

/// Checks that the certificates required by the overlay are issued for the node.
fn are_held(overlay: &Overlay, cluster: &Cluster, node: &Node) -> Result<()> {
    let held = |name: &String| pki::held(name, cluster, node).within(|| format!("rendering `{}`", node.name));
    let asks = || {
        format!(
            "the overlay `{}` needs this certificate: remove the overlay from the node's roles",
            overlay.name
        )
    };
    overlay.manifest.certificates.iter().try_for_each(held).map_err(|err| err.hint(asks()))
}

/// Returns the text of a file and its source; `None` if the node does not have the file or it is not text.
fn text(templates: &Templates, overlay: &Overlay, file: &OverlayFile) -> Result<Option<(Arc<str>, Source)>> {
    let Ok(written) = std::str::from_utf8(&file.bytes) else { return Ok(None) };
    let source = Source { path: file.source.clone(), text: written.into() };
    if !file.template {
        return Ok(Some((Arc::clone(&source.text), source)));
    }
    Ok(templates.render(overlay, file, false)?.map(|rendered| (rendered.into(), source)))
}

/// Returns the list of kernel modules that an overlay needs, as `node` writes it.
fn modules(overlay: &Overlay) -> Option<TextFile> {
    let list: String = overlay.manifest.modules.iter().map(|module| format!("{module}\n")).collect();
    let path = format!("/etc/modules-load.d/{}.conf", overlay.name);
    let source = Source { path: path.clone().into(), text: list.as_str().into() };
    (!list.is_empty()).then(|| TextFile { path, text: list.into(), mode: FILE_MODE, source })
}
