//! HTML report: one self-contained file with the table and a timeline of each run.

use std::fmt::Write as _;

use crate::lab::rehearse::report::{COLUMNS, Report, Row, Run, UNFINISHED, picture};

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:1000px;margin:2em auto;padding:0 \
    1em;color:#222}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em \
    .6em;border-bottom:1px solid \
    #ddd}.kept{color:#176b2c}.failed,.void{color:#b00020;font-weight:bold}.busy,.inconclusive{color:#8a5a00}pre{background:#f6f6f6;padding:.6em;overflow-x:auto;font-size:13px}svg{width:100%;height:auto}";

pub(super) fn page(report: &Report) -> String {
    let title = escaped(&format!("Rehearsal of {}", report.cluster));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta \
        charset=\"utf-8\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<p>kiln {}, \
        {}{}</p>\n{}",
        report.kiln,
        report.time,
        if report.complete { "" } else { UNFINISHED },
        table(&report.rows)
    );
    if !report.baseline.is_empty() {
        let _ = write!(page, "<h2>Baseline build</h2>\n{}", table(&report.baseline));
    }
    for row in &report.rows {
        let _ = writeln!(page, "<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>", row.case, escaped(row.what));
        for run in &row.runs {
            section(&mut page, row, run);
        }
    }
    page + "</html>\n"
}

fn table(rows: &[Row]) -> String {
    let titles: String = COLUMNS.iter().map(|title| format!("<th>{}</th>", title.to_lowercase())).collect();
    let mut table = format!("<table>\n<tr>{titles}</tr>\n");
    for row in rows {
        let [case, predicted, median, worst, lost, watches, verdict] = row.cells();
        let cells: String = [predicted, median, worst, lost, watches]
            .iter()
            .map(|cell| format!("<td>{}</td>", escaped(cell)))
            .collect();
        let class = verdict.split(' ').next().unwrap_or_default();
        let _ = writeln!(
            table,
            "<tr><td><a href=\"#{case}\">{case}</a></td>{cells}<td class=\"{class}\">{verdict}</td></tr>"
        );
    }
    table + "</table>\n"
}

fn section(page: &mut String, row: &Row, run: &Run) {
    let remarks: String =
        run.remarks().iter().map(|remark| format!("<li>{}</li>", escaped(remark))).collect();
    let _ = writeln!(
        page,
        "<h3>{}</h3>\n{}<ul>{remarks}</ul>",
        escaped(&run.victims.join(", ")),
        picture::draw(run, row.predicted)
    );
    if !run.lines.is_empty() {
        let lines: String = run
            .lines
            .iter()
            .map(|line| format!("{:+8.2} {} {}\n", line.at, escaped(&line.node), escaped(&line.text)))
            .collect();
        let _ = writeln!(page, "<pre>{lines}</pre>");
    }
}

/// Escapes text for HTML and XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::lab::rehearse::report::tests::sample;

    #[test]
    fn a_page_is_whole_and_what_nodes_say_is_text() {
        let mut report = sample();
        report.rows[0].runs[0].lines[0].text = "<script>alert(1)</script>".into();
        let page = page(&report);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count()
        );
    }
}
