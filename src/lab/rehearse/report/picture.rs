//! Timeline of a run as SVG 1.1: losses, VIP holders, healing, and the time that the plan allows.

use std::fmt::Write as _;

use crate::lab::rehearse::record::TRAFFIC;
use crate::lab::rehearse::report::html::escaped;
use crate::lab::rehearse::report::{Run, word};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const FLOOR: f64 = 30.0;
/// Number of rows: three kinds of requests, the watches, the VIP.
const FLOORS: f64 = 5.0;
const BAR: f64 = 16.0;
/// Seconds shown before the fault.
const BEFORE: f64 = 3.0;

/// Draws a run; empty if the run has no result.
pub(super) fn draw(run: &Run, predicted: Option<[f64; 2]>) -> String {
    if run.ended <= 0.0 {
        return String::new();
    }
    let x = |seconds: f64| {
        LEFT + (seconds.clamp(-BEFORE, run.ended) + BEFORE) / (run.ended + BEFORE) * (WIDTH - LEFT - RIGHT)
    };
    let bottom = TOP + FLOORS * FLOOR;
    let height = bottom + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
        font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>measured: {} s</title>\n",
        tenths(run.measured)
    );
    if let Some([_, most]) = predicted {
        let (from, to) = (x(0.0), x(most));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\" fill=\"#eef3fa\"/>",
            to - from,
            FLOORS * FLOOR
        );
    }
    requests(&mut svg, run, &x);
    watches(&mut svg, run, TOP + 3.0 * FLOOR + 7.0, &x);
    holders(&mut svg, run, TOP + 4.0 * FLOOR + 7.0, &x);
    mark(&mut svg, x(0.0), bottom, "fault");
    if let Some(healed) = run.healed {
        mark(&mut svg, x(healed), bottom, "mended");
    }
    axis(&mut svg, run.ended, bottom, &x);
    svg + "</svg>\n"
}

/// Draws one bar for each kind of request, with its losses.
fn requests(svg: &mut String, run: &Run, x: &dyn Fn(f64) -> f64) {
    for (index, traffic) in (0_u8..).zip(TRAFFIC) {
        let y = TOP + f64::from(index) * FLOOR + 7.0;
        label(svg, y, word(traffic));
        let width = x(run.ended) - LEFT;
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"#9ccfa8\"/>"
        );
        for lost in run.lost_at.get(&traffic).into_iter().flatten() {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y}\" width=\"2\" height=\"{BAR}\" fill=\"#b00020\"/>",
                x(*lost)
            );
        }
    }
}

/// Draws one bar for each watch, for as long as the watch was open.
fn watches(svg: &mut String, run: &Run, y: f64, x: &dyn Fn(f64) -> f64) {
    label(svg, y, "watches");
    let height = BAR / f64::from(u16::try_from(run.watched.len().max(1)).unwrap_or(u16::MAX));
    for (index, watched) in (0_u16..).zip(&run.watched) {
        let top = y + f64::from(index) * height;
        let width = x(watched.ended.map_or(run.ended, |(at, _)| at)) - LEFT;
        let (thickness, node) = (height - 1.0, escaped(&watched.node));
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{thickness:.1}\" \
            fill=\"#9ccfa8\"><title>{node}</title></rect>"
        );
    }
}

fn holders(svg: &mut String, run: &Run, y: f64, x: &dyn Fn(f64) -> f64) {
    label(svg, y, "VIP");
    let ends = run.holders.iter().skip(1).map(|(at, _)| *at).chain([run.ended]);
    for ((from, holder), to) in run.holders.iter().zip(ends) {
        let Some(holder) = holder else { continue };
        let (left, right) = (x(*from), x(to));
        let width = right - left;
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"#c9d6ea\" \
            stroke=\"#335\"/>"
        );
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{}\">{}</text>", left + 4.0, y + 13.0, escaped(holder));
    }
}

fn label(svg: &mut String, y: f64, text: &str) {
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{text}</text>", LEFT - 10.0, y + 13.0);
}

fn mark(svg: &mut String, x: f64, bottom: f64, text: &str) {
    let top = TOP - 6.0;
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#222\" \
        stroke-dasharray=\"4 3\"/>"
    );
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", top - 6.0);
}

/// Draws a label every 1, 2, 5, 10, … seconds, about twelve at most.
fn axis(svg: &mut String, end: f64, bottom: f64, x: &dyn Fn(f64) -> f64) {
    let step =
        [1_u32, 2, 5, 10, 20, 50, 100].into_iter().find(|step| end / f64::from(*step) <= 12.0).unwrap_or(200);
    for second in (0..).step_by(step as usize).map(f64::from).take_while(|second: &f64| *second <= end) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{second} s</text>",
            x(second),
            bottom + 20.0
        );
    }
}

fn tenths(seconds: f64) -> String {
    format!("{seconds:.1}")
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::lab::rehearse::report::tests::row;

    #[test]
    fn losses_holders_and_the_prediction_are_where_their_times_are() {
        let run = &row().runs[0];
        let svg = draw(run, Some([2.1, 3.1]));
        assert_eq!(svg.matches("#b00020").count(), 3, "{svg}");
        assert!(
            svg.contains(">m1</text>") && svg.contains(">m2</text>") && svg.contains(">mended</text>"),
            "{svg}"
        );
        // 25 seconds are shown over 790 units: the fault is at 3 of them.
        assert!(svg.contains("<line x1=\"244.8\""), "{svg}");
        assert!(svg.contains("width=\"98.0\" height=\"150\" fill=\"#eef3fa\""), "{svg}");
        assert_eq!(draw(&super::Run::default(), None), "");
    }
}
