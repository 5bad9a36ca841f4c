//! `# kiln: allow HA011 because …`: the user has read a finding and knows better. The reason is part of the file.

use std::ops::Range;

use crate::error::{Problem, Report, Severity};
use crate::lint::LINTS;

/// One comment.
#[derive(Debug)]
struct Allow<'text> {
    id: &'text str,
    reason: &'text str,
    span: Range<usize>,
}

/// Turns accepted findings into remarks, and reports comments that accept nothing.
pub(super) fn apply(text: &str, report: &mut Report) {
    for allow in comments(text) {
        let Some(lint) = LINTS.iter().find(|lint| lint.id == allow.id) else {
            let hint = "write `# kiln: allow HA011 because …`; `kiln list lints` shows the identifiers";
            report.error("", Some(allow.span), format!("no problem has the identifier `{}`", allow.id)).hint(hint);
            continue;
        };
        if allow.reason.is_empty() {
            let hint = format!("write `# kiln: allow {} because …`", lint.id);
            report.error("", Some(allow.span), format!("`{}` is accepted without a reason", lint.id)).hint(hint);
            continue;
        }
        // Whether somebody on the segment gives a reason for the comment is known only after a look.
        if !take(&allow, &mut report.problems) && lint.on_segment.is_none() {
            report.push(Problem {
                severity: Severity::Info,
                code: None,
                field: String::new(),
                message: format!("nothing here is `{}`: {}", lint.id, lint.title),
                span: Some(allow.span),
                source: None,
                hint: Some("remove the comment".to_owned()),
            });
        }
    }
}

/// Turns accepted findings into remarks, in a text whose comments were told to be right already.
pub(super) fn accept(text: &str, problems: &mut [Problem]) {
    for allow in comments(text).filter(|allow| !allow.reason.is_empty()) {
        take(&allow, problems);
    }
}

/// Whether the comment accepts one of the problems.
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
        // A value before it may hold the sign too.
        let mut signs = line.match_indices('#').map(|(at, _)| at);
        let comment = signs.find(|at| line[at + 1..].trim_start().starts_with("kiln:"))?;
        let said = line[comment + 1..].trim().strip_prefix("kiln:")?.trim().strip_prefix("allow")?.trim();
        let (id, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
        let reason = rest.trim().strip_prefix("because").unwrap_or_default().trim();
        Some(Allow { id, reason, span: start + comment..start + line.trim_end().len() })
    })
}
