//! Parser that converts text to a table and recovers from syntax errors.

use toml::de::DeTable;

use crate::error::Report;

/// Parses as much as possible and reports each syntax error. The flag is true if there were no errors.
pub(super) fn parse<'text>(text: &'text str, report: &mut Report) -> (DeTable<'text>, bool) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span =
            error.span().filter(|span| text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
        let line = span.as_ref().map(|span| line_at(text, span.start));
        let hint = line.and_then(|line| hint(error.message(), line));
        let problem = report.error("", span, format!("invalid TOML: {}", error.message()));
        if let Some(hint) = hint {
            problem.hint(hint);
        }
    }
    (table.into_inner(), errors.is_empty())
}

fn line_at(text: &str, offset: usize) -> &str {
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// Returns a hint for the most common TOML mistakes.
fn hint(message: &str, line: &str) -> Option<String> {
    if message.starts_with("duplicate key") {
        return Some("keep only one of them".to_owned());
    }
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let bare = !value.is_empty() && !value.contains(['"', '\'', '[', '{', '#']);
    bare.then(|| format!("strings need quotes: `{key} = \"{value}\"`"))
}
