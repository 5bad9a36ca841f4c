//! From text to a table, however broken the text is.

use toml::de::DeTable;

use crate::error::Report;

/// Parses as much as can be parsed and reports each error of syntax. The flag says whether there was none.
pub(super) fn parse<'text>(text: &'text str, report: &mut Report) -> (DeTable<'text>, bool) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().filter(|span| text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
        let line = span.as_ref().map(|span| line_at(text, span.start));
        let hint = line.and_then(|line| hint(error.message(), line));
        let problem = report.error("", span, format!("the file is not TOML here: {}", error.message()));
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

/// What a person who knows no TOML most often gets wrong.
fn hint(message: &str, line: &str) -> Option<String> {
    if message.starts_with("duplicate key") {
        return Some("keep one of them".to_owned());
    }
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let bare = !value.is_empty() && !value.contains(['"', '\'', '[', '{', '#']);
    bare.then(|| format!("text stands in quotes: `{key} = \"{value}\"`"))
}
