//! Comments that accept a finding and give a reason: `# kiln: allow HA011 because …`.

use std::ops::Range;

use crate::error::{Problem, Report, Severity};
use crate::lint::LINTS;

/// A comment that accepts the findings of a lint.
#[derive(Debug)]
struct Allow<'text> {
    id: &'text str,
    reason: &'text str,
    span: Range<usize>,
}

/// Downgrades accepted findings to infos, and reports comments that have no effect.
pub(super) fn apply(text: &str, report: &mut Report) {
    for allow in comments(text) {
        let Some(lint) = LINTS.iter().find(|lint| lint.id == allow.id) else {
            let hint = "write `# kiln: allow HA011 because …`; `kiln list lints` shows the identifiers";
            report.error("", Some(allow.span), format!("unknown lint `{}`", allow.id)).hint(hint);
            continue;
        };
        if allow.reason.is_empty() {
            let hint = format!("write `# kiln: allow {} because …`", lint.id);
            report
                .error("", Some(allow.span), format!("`{}` is accepted without a reason", lint.id))
                .hint(hint);
            continue;
        }
        // Findings on the segment are known only after the segment has been checked.
        if !take(&allow, &mut report.problems) && lint.on_segment.is_none() {
            report.push(Problem {
                severity: Severity::Info,
                code: None,
                field: String::new(),
                message: format!("there is no finding to accept for `{}` ({})", lint.id, lint.title),
                span: Some(allow.span),
                source: None,
                hint: Some("remove the comment".to_owned()),
            });
        }
    }
}

/// Downgrades accepted findings to infos, in a text whose comments have already been checked.
pub(super) fn accept(text: &str, problems: &mut [Problem]) {
    for allow in comments(text).filter(|allow| !allow.reason.is_empty()) {
        take(&allow, problems);
    }
}

/// Downgrades the problems that the comment accepts, and returns true if there were any.
fn take(allow: &Allow<'_>, problems: &mut [Problem]) -> bool {
    let mut accepted = false;
    for problem in problems.iter_mut().filter(|problem| problem.code == Some(allow.id)) {
        accepted = true;
        problem.severity = Severity::Info;
        problem.hint = Some(format!("accepted because {}", allow.reason));
    }
    accepted
}

fn comments(text: &str) -> impl Iterator<Item = Allow<'_>> {
    let mut offset = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = offset;
        offset += line.len();
        // A value before the comment may contain `#` too.
        let mut signs = line.match_indices('#').map(|(at, _)| at);
        let comment = signs.find(|at| line[at + 1..].trim_start().starts_with("kiln:"))?;
        let said = line[comment + 1..].trim().strip_prefix("kiln:")?.trim().strip_prefix("allow")?.trim();
        let (id, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
        let reason = rest.trim().strip_prefix("because").unwrap_or_default().trim();
        Some(Allow { id, reason, span: start + comment..start + line.trim_end().len() })
    })
}
