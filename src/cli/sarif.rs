//! Problems as SARIF 2.1.0, which code hosting services use to annotate lines
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use std::collections::BTreeSet;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use crate::cli::diagnostic::{position, source_of};
use crate::error::{Problem, Report, Severity};
use crate::lint::{LINTS, Lint};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Returns a log with one run, whose rules are the lints that found a problem.
pub(super) fn log(report: &Report) -> Value {
    let codes: BTreeSet<&str> = report.problems.iter().filter_map(|problem| problem.code).collect();
    let lints: Vec<&Lint> = LINTS.iter().copied().filter(|lint| codes.contains(lint.id)).collect();
    let rules: Vec<Value> = lints.iter().map(|lint| rule(lint)).collect();
    let results: Vec<Value> = report.problems.iter().map(|problem| result(problem, report, &lints)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "kiln", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(lint: &Lint) -> Value {
    json!({
        "id": lint.id,
        "shortDescription": { "text": lint.title },
        "fullDescription": { "text": lint.why },
        "help": { "text": format!("{} (see {})", lint.fix, lint.documentation()) },
        "defaultConfiguration": { "level": level(lint.severity) },
    })
}

/// Returns a problem as a result of the run; `lints` are the run's rules, in order.
fn result(problem: &Problem, report: &Report, lints: &[&Lint]) -> Value {
    let mut result = json!({
        "level": level(problem.severity),
        "message": { "text": match &problem.hint {
            Some(hint) => format!("{} ({hint})", problem.message),
            None => problem.message.clone(),
        } },
    });
    if let Some(code) = problem.code {
        result["ruleId"] = code.into();
        if let Some(index) = lints.iter().position(|lint| lint.id == code) {
            result["ruleIndex"] = index.into();
        }
    }
    if let Some(location) = location(problem, report) {
        result["locations"] = json!([location]);
    }
    result
}

fn location(problem: &Problem, report: &Report) -> Option<Value> {
    let source = source_of(problem, report)?;
    let mut physical = json!({ "artifactLocation": { "uri": uri(&source.path) } });
    if let Some(span) = &problem.span {
        let ((line, column), (end_line, end_column)) =
            (position(&source.text, span.start), position(&source.text, span.end));
        physical["region"] =
            json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column });
    }
    Some(json!({ "physicalLocation": physical }))
}

/// Characters to percent-encode in the path of a URI reference.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns a path as a percent-encoded URI reference (RFC 3986, section 2.1).
fn uri(path: &Path) -> String {
    percent_encode(path.as_os_str().as_encoded_bytes(), PATH).to_string()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::log;
    use crate::error::{Report, Source};

    #[test]
    fn a_result_has_its_rule_and_its_lines() {
        let text = "[endpoint]\nvip = \"10.0.0.300\"\n";
        let mut report = Report::about(Source { path: "cluster.toml".into(), text: text.into() });
        report
            .error("endpoint.vip", Some(17..29), "`10.0.0.300` is not an IP address")
            .hint("write four numbers");
        report.error("nodes", None, "2 etcd members").code = Some("HA010");
        let log = log(&report);
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 1);
        assert_eq!(run["results"][1]["ruleId"], "HA010");
        let region = json!({ "startLine": 2, "startColumn": 7, "endLine": 2, "endColumn": 19 });
        let location = json!({ "physicalLocation": { "artifactLocation": { "uri": "cluster.toml" }, "region": region } });
        let message = json!({ "text": "`10.0.0.300` is not an IP address (write four numbers)" });
        assert_eq!(
            run["results"][0],
            json!({ "level": "error", "message": message, "locations": [location] })
        );
    }

    #[test]
    fn a_result_points_at_its_own_rule_and_at_a_reference_that_readers_can_resolve() {
        let mut report =
            Report::about(Source { path: "my site/größe#1.toml".into(), text: "ß = 1\n".into() });
        for code in ["HA302", "HA010", "HA302"] {
            report.error("nodes", Some(3..6), "wrong").code = Some(code);
        }
        let log = log(&report);
        let run = &log["runs"][0];
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "my%20site/gr%C3%B6%C3%9Fe%231.toml");
            assert_eq!(
                place["region"],
                json!({ "startLine": 1, "startColumn": 3, "endLine": 1, "endColumn": 6 })
            );
        }
        assert_eq!(run["columnKind"], "unicodeCodePoints");
    }
}
