//! Topology drawing: SVG 1.1, readable in print and without colours.

use std::fmt::Write as _;

use crate::plan::Plan;
use crate::plan::layers::{Layer, shortened};

/// Sizes in user units, which browsers render as pixels.
const WIDTH: usize = 960;
const MARGIN: usize = 20;
const FLOOR: usize = 120;
/// Distance between a layer's heading and its boxes.
const HEADING: usize = 12;
const BOX: usize = 44;
const TOP: usize = 80;
/// Horizontal position of arrows: right of the headings.
const ARROW: usize = 560;
/// Maximum average width of a letter in the sans-serif fonts of browsers and printers.
const LETTER: usize = 9;

/// Draws the layers of a plan.
pub(crate) fn draw(plan: &Plan) -> String {
    let height = TOP + plan.topology.len() * FLOOR;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
        height=\"{height}\" font-family=\"sans-serif\" font-size=\"14\">"
    );
    let title = format!("{}, Kubernetes {}", plan.cluster, plan.kubernetes);
    let _ = writeln!(
        svg,
        "<title>{0}</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>",
        escaped(&title)
    );
    text(&mut svg, MARGIN, 36, "start", "bold", &title);
    for (index, layer) in plan.topology.iter().enumerate() {
        let top = TOP + index * FLOOR;
        if index > 0 {
            arrow(&mut svg, top, &layer.dialled);
        }
        floor(&mut svg, top, layer);
    }
    svg.push_str("</svg>\n");
    svg
}

fn floor(svg: &mut String, top: usize, layer: &Layer) {
    let note = if layer.note.is_empty() { String::new() } else { format!(": {}", layer.note) };
    let (what, note) = (escaped(&layer.what), escaped(&note));
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"{top}\"><tspan font-weight=\"bold\">{what}</tspan>{note}</text>"
    );
    let mut names = shortened(&layer.nodes);
    if names.is_empty() {
        names.push("elsewhere".to_owned());
    }
    let (room, top) = ((WIDTH - 2 * MARGIN) / names.len(), top + HEADING);
    for (index, name) in names.iter().enumerate() {
        let (left, width) = (MARGIN + index * room, room - 8);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX}\" rx=\"4\" fill=\"#eef3fa\" \
            stroke=\"#335\"/>"
        );
        text(svg, left + width / 2, top + 27, "middle", "normal", &cut_short(name, width / LETTER));
    }
}

/// Shortens a name to `most` characters.
fn cut_short(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Draws an arrow from the boxes of the layer above to the boxes of this layer.
fn arrow(svg: &mut String, top: usize, label: &str) {
    let (from, to) = (top + HEADING - FLOOR + BOX, top + HEADING);
    let (tip, shaft) = (to - 2, to - 10);
    let _ = writeln!(
        svg,
        "<line x1=\"{ARROW}\" y1=\"{from}\" x2=\"{ARROW}\" y2=\"{shaft}\" stroke=\"#335\" \
        stroke-width=\"2\"/>"
    );
    let _ = writeln!(
        svg,
        "<path d=\"M {} {shaft} L {} {shaft} L {ARROW} {tip} Z\" fill=\"#335\"/>",
        ARROW - 6,
        ARROW + 6
    );
    text(
        svg,
        ARROW + 14,
        from + (to - from) / 2 + 5,
        "start",
        "normal",
        &cut_short(label, (WIDTH - ARROW - 14) / LETTER),
    );
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, weight: &str, text: &str) {
    if !text.is_empty() {
        let text = escaped(text);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\">{text}</text>"
        );
    }
}

/// Escapes a text (XML 1.0 section 2.4).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
