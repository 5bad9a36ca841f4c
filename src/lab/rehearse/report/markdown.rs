//! Markdown report, for inclusion in other pages.

use std::fmt::Write as _;

use crate::lab::rehearse::report::{COLUMNS, Report, Row, UNFINISHED};

pub(super) fn text(report: &Report) -> String {
    let unfinished = if report.complete { "" } else { UNFINISHED };
    let mut text = format!(
        "# Rehearsal of {}, kiln {}, {}{unfinished}\n\n{}",
        report.cluster,
        report.kiln,
        report.time,
        table(&report.rows)
    );
    if !report.baseline.is_empty() {
        let _ = write!(text, "\nBaseline build:\n\n{}", table(&report.baseline));
    }
    for row in &report.rows {
        let _ = write!(text, "\n## {}: {}\n", row.case, row.what);
        for run in &row.runs {
            let _ = write!(text, "\n{}: {}.\n", run.victims.join(", "), run.remarks().join("; "));
            if !run.lines.is_empty() {
                let lines: String = run
                    .lines
                    .iter()
                    .map(|line| format!("{:+8.2} {} {}\n", line.at, line.node, line.text))
                    .collect();
                let _ = write!(text, "\n```text\n{lines}```\n");
            }
        }
    }
    text
}

fn table(rows: &[Row]) -> String {
    let mut text =
        format!("| {} |\n|{}\n", COLUMNS.map(str::to_lowercase).join(" | "), " --- |".repeat(COLUMNS.len()));
    for row in rows {
        let [case, rest @ ..] = row.cells();
        let _ = writeln!(text, "| `{case}` | {} |", rest.join(" | "));
    }
    text
}
