//! The text files that a machine would get, without its keys: what can be looked at before there is a vault.

use std::sync::Arc;

use crate::cluster::{Cluster, Node};
use crate::error::{Result, Source, Within};
use crate::overlay::{Attributes, Overlay, OverlayFile, Overlays};
use crate::render::context::Facts;
use crate::render::layer::FILE_MODE;
use crate::render::role;
use crate::render::template::Templates;

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
/// [`crate::error::Kind::Input`] with overlay, file and line of what does not render.
pub(crate) fn texts(cluster: &Cluster, node: &Node, overlays: &Overlays) -> Result<Vec<TextFile>> {
    let chosen = role::chosen(cluster, node, overlays)?;
    let facts = Facts { cluster, node, overlays: &chosen, cluster_id: "example" };
    let templates = Templates::new(&chosen, &facts, "")?;
    let mut found: Vec<TextFile> = Vec::new();
    for overlay in chosen {
        for (path, file) in &overlay.files {
            let attributes = overlay.manifest.files.get(path).cloned().unwrap_or_else(Attributes::root);
            let text =
                if attributes.secret { None } else { text(&templates, overlay, file).within(|| format!("rendering `{}`", node.name))? };
            // A later overlay may take over a path.
            found.retain(|other| other.path != path.as_str());
            found.extend(text.map(|(text, source)| TextFile {
                path: path.to_string(),
                text,
                mode: attributes.mode.map_or(FILE_MODE, |mode| mode.0),
                source,
            }));
        }
        found.extend(modules(overlay));
    }
    Ok(found)
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
