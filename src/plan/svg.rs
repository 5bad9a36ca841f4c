//! The topology as a drawing: SVG 1.1, readable on paper and by those who can't tell colours apart.

use std::fmt::Write as _;

use crate::plan::Plan;
use crate::plan::layers::Layer;

/// Sizes in user units, which browsers show as pixels.
const WIDTH: usize = 960;
const FLOOR: usize = 110;
const BOX: usize = 44;
const TOP: usize = 70;
const LABEL: usize = 210;
/// Most machines that a floor shows by name.
const SHOWN: usize = 8;

/// Draws the floors of a plan.
pub(crate) fn draw(plan: &Plan) -> String {
    let height = TOP + plan.topology.len() * FLOOR;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"14\">"
    );
    let title = format!("{}, Kubernetes {}", plan.cluster, plan.kubernetes);
    let _ = writeln!(svg, "<title>{0}</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>", escaped(&title));
    text(&mut svg, 20, 36, "start", "bold", &title);
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
    text(svg, 20, top + 20, "start", "bold", &layer.what);
    text(svg, 20, top + 38, "start", "normal", &layer.note);
    let mut names: Vec<String> = layer.nodes.iter().take(SHOWN).cloned().collect();
    if layer.nodes.len() > SHOWN {
        names[SHOWN - 1] = format!("… {} more", layer.nodes.len() - SHOWN + 1);
    }
    if names.is_empty() {
        names.push("elsewhere".to_owned());
    }
    let room = (WIDTH - LABEL - 20) / names.len();
    for (index, name) in names.iter().enumerate() {
        let left = LABEL + index * room;
        let width = room - 8;
        let _ =
            writeln!(svg, "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX}\" rx=\"4\" fill=\"#eef3fa\" stroke=\"#335\"/>");
        text(svg, left + width / 2, top + 27, "middle", "normal", name);
    }
}

/// From the floor above to this one.
fn arrow(svg: &mut String, top: usize, label: &str) {
    let (middle, from) = (usize::midpoint(LABEL, WIDTH), top - FLOOR + BOX);
    let (tip, shaft) = (top - 2, top - 10);
    let _ = writeln!(svg, "<line x1=\"{middle}\" y1=\"{from}\" x2=\"{middle}\" y2=\"{shaft}\" stroke=\"#335\" stroke-width=\"2\"/>");
    let _ = writeln!(svg, "<path d=\"M {} {shaft} L {} {shaft} L {middle} {tip} Z\" fill=\"#335\"/>", middle - 6, middle + 6);
    text(svg, middle + 14, from + (top - from) / 2 + 5, "start", "normal", label);
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, weight: &str, text: &str) {
    if !text.is_empty() {
        let text = escaped(text);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\">{text}</text>");
    }
}

/// XML 1.0 section 2.4.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
