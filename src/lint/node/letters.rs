//! Lookalike characters and unclosed blocks: damage from copying configuration from web pages.

use crate::config::{Content, Document, Fleet, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA427", "a lookalike character is used instead of a quote, dash or space")
        .why(
            "web pages and word processors turn `\"` into `”`, `--` into `–` and plain spaces into wide \
            ones; programs read these characters as part of a name or value, and reject text that looks \
            right",
        )
        .fix("retype the character: `\"`, `--` or a plain space")
        .files(lookalikes),
    Lint::error("HA428", "a file has an unclosed block or is indented with tabs")
        .why(
            "in keepalived and nginx configuration an unclosed block extends to the end of the file, and \
            YAML does not allow tabs for indentation: what follows is misread or rejected",
        )
        .fix("close every `{` with a `}`; indent YAML with spaces")
        .files(torn),
];

/// Lookalikes of `"` and `'`.
const QUOTES: [char; 9] = ['“', '”', '„', '″', '‘', '’', '′', '＂', '＇'];
/// Lookalikes of `-` or `--`.
const DASHES: [char; 5] = ['–', '—', '―', '−', '－'];
/// Space characters that programs do not treat as word separators.
const BLANKS: [char; 4] = ['\u{a0}', '\u{3000}', '\u{2003}', '\u{200b}'];

/// Reports the first lookalike character of each line, unless the line is prose.
fn lookalikes<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| !matches!(document.content, Content::Other)) {
        for line in
            document.text.lines().map(meant).filter(|line| !line.text.is_ascii() && !is_prose(line.text))
        {
            if let Some((word, message)) = lookalike(line) {
                found.at(document, word, message);
            }
        }
    }
}

fn lookalike(line: Word<'_>) -> Option<(Word<'_>, String)> {
    let mut before = ' ';
    for (at, letter) in line.text.char_indices() {
        let after = line.text[at + letter.len_utf8()..].chars().next().unwrap_or(' ');
        let opens = DASHES.contains(&letter)
            && (before.is_whitespace() || before == '"')
            && after.is_ascii_alphabetic();
        let instead = match letter {
            _ if QUOTES.contains(&letter) => Some("quote"),
            _ if BLANKS.contains(&letter) => Some("space"),
            _ => opens.then_some("dash"),
        };
        if let Some(kind) = instead {
            let shown =
                if kind == "space" { format!("U+{:04X}", u32::from(letter)) } else { letter.to_string() };
            return Some((line.part(at..at + letter.len_utf8()), format!("`{shown}` is not a plain {kind}")));
        }
        before = letter;
    }
    None
}

/// Returns a line without its comment.
fn meant(line: Word<'_>) -> Word<'_> {
    let start = line.text.trim_start();
    if start.starts_with(['#', '!', ';']) {
        return line.part(0..0);
    }
    let end = line
        .text
        .match_indices('#')
        .find(|(at, _)| line.text[..*at].ends_with(char::is_whitespace))
        .map_or(line.text.len(), |(at, _)| at);
    line.part(0..end)
}

/// Checks whether a line is prose, that is, whether it contains Chinese, Japanese or Korean characters.
fn is_prose(line: &str) -> bool {
    line.chars().any(|letter| {
        ('\u{3040}'..='\u{9fff}').contains(&letter) || ('\u{ac00}'..='\u{d7a3}').contains(&letter)
    })
}

fn torn<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in &fleet.documents {
        match &document.content {
            Content::Keepalived(_) | Content::Nginx(_) => unclosed(document, found),
            Content::Yaml(_) => {
                let indented = |line: &Word<'_>| {
                    line.text.trim_start_matches(' ').starts_with('\t')
                        && !meant(*line).trim().text.is_empty()
                };
                let flow = document.text.text.trim_start().starts_with(['{', '[']);
                if let Some(line) = document.text.lines().find(|line| !flow && indented(line)) {
                    found.at(document, line.trim(), "this line is indented with a tab");
                }
            }
            _ => {}
        }
    }
}

/// Reports a block that is still open at the end of a file, or a brace that closes no block.
fn unclosed<'a>(document: &Document<'a>, found: &mut Found<'a>) {
    let mut open: Vec<Word<'_>> = Vec::new();
    for line in document.text.lines().map(meant) {
        let (mut quoted, mut before) = (false, ' ');
        for (at, letter) in line.text.char_indices() {
            match letter {
                '"' | '\'' if before != '\\' => quoted = !quoted,
                '{' if !quoted => open.push(line.trim()),
                '}' if !quoted && open.pop().is_none() => {
                    return found.at(document, line.part(at..at + 1), "this brace closes no block");
                }
                _ => {}
            }
            before = letter;
        }
    }
    if let Some(line) = open.last().filter(|line| !line.text.is_empty()) {
        found.at(document, *line, "this block is never closed");
    }
}
