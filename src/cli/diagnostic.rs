//! Errors and reports as text for users and as JSON for scripts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::cli::masked::masked;
use crate::error::{Error, Problem, Report, Severity, Source};
use crate::plan::shortened;

const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

/// Formats an error: its report, then `error: step: cause`, then the hints.
pub(super) fn error(err: &Error, colored: bool) -> String {
    let mut text = err.report().map(|problems| report(problems, colored)).unwrap_or_default();
    let _ = writeln!(text, "{} {err}", painted("error:", RED, colored));
    if !err.hints().is_empty() {
        text.push('\n');
    }
    for hint in err.hints() {
        let _ = writeln!(text, "{} {hint}", painted("hint:", CYAN, colored));
    }
    text
}

/// Formats every problem with its line, a caret and a hint, followed by an empty line. A problem that occurs
/// on several machines is shown once, with all locations.
pub(super) fn report(report: &Report, colored: bool) -> String {
    let renderer =
        if colored { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let render = |(problem, others): &(&Problem, Vec<String>)| {
        let alike = (!others.is_empty()).then(|| format!("also in {}", shortened(others).join(", ")));
        renderer.render(&[group(problem, source_of(problem, report), alike.as_deref())]) + "\n\n"
    };
    folded(report).iter().map(render).collect()
}

/// Merges equal problems: returns each problem with its other locations, where other files have the same
/// line.
fn folded(report: &Report) -> Vec<(&Problem, Vec<String>)> {
    let mut shown: Vec<(&Problem, Vec<String>)> = Vec::new();
    let mut first = BTreeMap::new();
    for problem in &report.problems {
        let place = problem.code.zip(problem.source.as_ref()).zip(problem.span.as_ref());
        let Some(((code, source), span)) = place else {
            shown.push((problem, Vec::new()));
            continue;
        };
        let alike = (code, problem.severity, &problem.message, &problem.hint, line(&source.text, span.start));
        let index = *first.entry(alike).or_insert(shown.len());
        match shown.get_mut(index) {
            Some((_, others)) => {
                let (line, column) = position(&source.text, span.start);
                others.push(format!("{}:{line}:{column}", source.path.display()));
            }
            None => shown.push((problem, Vec::new())),
        }
    }
    shown
}

/// Returns the line that contains a byte offset.
fn line(text: &str, offset: usize) -> &str {
    text[line_start(text, offset)..].lines().next().unwrap_or_default()
}

fn line_start(text: &str, offset: usize) -> usize {
    text[..offset].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns the JSON form of [`error()`].
pub(super) fn error_json(err: &Error) -> Value {
    let problems: Vec<Value> = err.report().map(problems_json).unwrap_or_default();
    json!({
        "error": { "kind": format!("{:?}", err.kind()).to_lowercase(), "exit-code": err.kind().exit_code(), "steps": err.steps(), "hints": err.hints() },
        "problems": problems,
    })
}

/// Returns every problem in a report as JSON; lines and columns start at 1, and columns count characters.
pub(super) fn problems_json(report: &Report) -> Vec<Value> {
    let one = |problem: &Problem| {
        let source = source_of(problem, report);
        let place =
            problem.span.as_ref().zip(source).map(|(span, source)| position(&source.text, span.start));
        json!({
            "severity": problem.severity,
            "code": problem.code,
            "field": problem.field,
            "message": problem.message,
            "hint": problem.hint,
            "file": source.map(|source| source.path.display().to_string()),
            "line": place.map(|(line, _)| line),
            "column": place.map(|(_, column)| column),
            "span": problem.span.as_ref().map(|span| [span.start, span.end]),
        })
    };
    report.problems.iter().map(one).collect()
}

/// Returns the file that a problem is in.
pub(super) fn source_of<'a>(problem: &'a Problem, report: &'a Report) -> Option<&'a Source> {
    problem.source.as_ref().or(report.source.as_ref())
}

/// Returns the line and column of a byte offset, both starting at 1; the column counts characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    (before.matches('\n').count() + 1, before[line_start(text, offset)..].chars().count() + 1)
}

fn group<'a>(problem: &'a Problem, source: Option<&'a Source>, alike: Option<&'a str>) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(problem.message.as_str());
    let title = match problem.code {
        Some(code) => title.id(code),
        None if problem.field.is_empty() => title,
        None => title.id(problem.field.as_str()),
    };
    let mut group = Group::with_title(title);
    if let Some(source) = source {
        let path = source.path.to_string_lossy();
        group = match &problem.span {
            Some(span) => group.element(snippet(source, path, span)),
            None => group.element(Origin::path(path)),
        };
    }
    if let Some(alike) = alike {
        group = group.element(Level::NOTE.message(alike));
    }
    match &problem.hint {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
        None => group,
    }
}

/// Returns the lines of a span, with secrets masked.
fn snippet<'a>(source: &'a Source, path: Cow<'a, str>, span: &Range<usize>) -> Snippet<'a, Annotation<'a>> {
    let start = line_start(&source.text, span.start);
    let end = source.text[span.end..].find('\n').map_or(source.text.len(), |newline| span.end + newline);
    let (line, _) = position(&source.text, span.start);
    let annotation = AnnotationKind::Primary.span(span.start - start..span.end - start);
    Snippet::source(masked(&path, &source.text[start..end]))
        .line_start(line)
        .path(path)
        .annotation(annotation)
}

fn painted<'a>(text: &'a str, color: &str, colored: bool) -> Cow<'a, str> {
    if colored { Cow::Owned(format!("{color}{text}{RESET}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{error, error_json, position, report};
    use crate::error::{Error, Kind, Problem, Report, Severity, Source};

    fn sample() -> Error {
        let text = "[endpoint]\nvip = \"10.0.0.300\"\n";
        let mut report = Report::about(Source { path: "cluster.toml".into(), text: Arc::from(text) });
        report
            .error("endpoint.vip", Some(17..29), "`10.0.0.300` is not an IP address")
            .hint("write four numbers from 0 to 255");
        report.error("cluster", None, "there is no table `[cluster]`");
        Error::from_report(report)
    }

    /// Returns a report of HA115 in files with these paths and texts.
    fn in_files(files: &[(&str, &str)]) -> Report {
        let mut report = Report::default();
        for (path, text) in files {
            report.push(Problem {
                severity: Severity::Warning,
                code: Some("HA115"),
                field: String::new(),
                message: "keepalived reads 8 letters of these".into(),
                span: text.find("auth_pass").map(|start| start..start + 9),
                source: Some(Source { path: path.into(), text: Arc::from(*text) }),
                hint: None,
            });
        }
        report
    }

    #[test]
    fn what_is_wrong_alike_on_several_machines_is_shown_once_and_without_its_secret() {
        let text = "{\n  auth_pass 0123456789\n}\n";
        let other = text.replace("auth_pass 0", "auth_pass 1");
        let found = report(
            &in_files(&[
                ("m1/a.conf", text),
                ("m2/a.conf", text),
                ("m3/a.conf", &other),
                ("m4/a.conf", text),
            ]),
            false,
        );
        insta::assert_snapshot!(found, @r"
        warning[HA115]: keepalived reads 8 letters of these
         --> m1/a.conf:2:3
          |
        2 |   auth_pass **********
          |   ^^^^^^^^^
          |
          = note: also in m2/a.conf:2:3, m4/a.conf:2:3

        warning[HA115]: keepalived reads 8 letters of these
         --> m3/a.conf:2:3
          |
        2 |   auth_pass **********
          |   ^^^^^^^^^
        ");
    }

    #[test]
    fn a_problem_shows_its_line_a_caret_and_a_hint() {
        insta::assert_snapshot!(error(&sample(), false), @r#"
        error[endpoint.vip]: `10.0.0.300` is not an IP address
         --> cluster.toml:2:7
          |
        2 | vip = "10.0.0.300"
          |       ^^^^^^^^^^^^
          |
          = hint: write four numbers from 0 to 255

        error[cluster]: there is no table `[cluster]`
        --> cluster.toml

        error: 2 problems found
        "#);
    }

    #[test]
    fn an_error_says_step_cause_and_next_move() {
        let err = Error::new(Kind::Io, "reading `x`").hint("run `kiln init`");
        assert_eq!(error(&err, false), "error: reading `x`\n\nhint: run `kiln init`\n");
        assert_eq!(
            error(&err, true),
            "\x1b[1;31merror:\x1b[0m reading `x`\n\n\x1b[1;36mhint:\x1b[0m run `kiln init`\n"
        );
    }

    #[test]
    fn scripts_get_line_and_column() {
        let json = error_json(&sample());
        assert_eq!((&json["problems"][0]["line"], &json["problems"][0]["column"]), (&2.into(), &7.into()));
        assert_eq!(json["error"]["exit-code"], 2);
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("a\nß = 1", 5), (2, 3));
    }
}
