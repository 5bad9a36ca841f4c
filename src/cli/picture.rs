//! Draws the topology as text.

use crate::plan::{Layer, shortened};

/// Draws each layer as a row of boxes; between the rows is the port that the upper layer connects to.
pub(super) fn picture(layers: &[Layer]) -> String {
    let floor = |(index, layer): (usize, &Layer)| {
        let arrow =
            if index == 0 { String::new() } else { format!("     │ {}\n     ▼\n", layer.dialled) };
        format!("{arrow}{}", boxes(layer))
    };
    layers.iter().enumerate().map(floor).collect()
}

fn boxes(layer: &Layer) -> String {
    let mut names = shortened(&layer.nodes);
    if names.is_empty() {
        names.push("elsewhere".to_owned());
    }
    let line = |left: &str, between: &str, right: &str| {
        let bars: Vec<String> = names.iter().map(|name| "─".repeat(name.chars().count() + 2)).collect();
        format!("  {left}{}{right}", bars.join(between))
    };
    let cells: Vec<String> = names.iter().map(|name| format!(" {name} ")).collect();
    let note = if layer.note.is_empty() { String::new() } else { format!(": {}", layer.note) };
    format!(
        "{}\n  │{}│  {}{note}\n{}\n",
        line("┌", "┬", "┐"),
        cells.join("│"),
        layer.what,
        line("└", "┴", "┘")
    )
}
