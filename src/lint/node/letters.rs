//! Letters that only look like those that programs read, and blocks that nobody closed: what copying from pages makes of files.

use crate::config::{Content, Document, Fleet, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA427", "a quote, a dash or a blank only looks like one")
        .why("pages and word processors make `”` of `\"`, `–` of `--` and wide blanks of narrow ones; programs take them for letters of a name or a value, and what they then complain of looks right")
        .fix("type it anew: `\"`, `--`, a plain blank")
        .files(lookalikes),
    Lint::error("HA428", "a file breaks off or is indented as its program does not read it")
        .why("keepalived and nginx read a block that nobody closes to the end of the file, and YAML takes no tab for indentation: what follows means something else, or nothing")
        .fix("close every `{` with a `}`; indent YAML with blanks")
        .files(torn),
];

/// Quotes that stand for `"` and `'`.
const QUOTES: [char; 9] = ['“', '”', '„', '″', '‘', '’', '′', '＂', '＇'];
/// Dashes that stand for `-` or `--`.
const DASHES: [char; 5] = ['–', '—', '―', '−', '－'];
/// Blanks that programs do not part words at.
const BLANKS: [char; 4] = ['\u{a0}', '\u{3000}', '\u{2003}', '\u{200b}'];

/// Tells the first such letter of each line, unless the line is prose.
fn lookalikes<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| !matches!(document.content, Content::Other)) {
        for line in document.text.lines().map(meant).filter(|line| !line.text.is_ascii() && !is_prose(line.text)) {
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
        let opens = DASHES.contains(&letter) && (before.is_whitespace() || before == '"') && after.is_ascii_alphabetic();
        let instead = match letter {
            _ if QUOTES.contains(&letter) => Some("quote"),
            _ if BLANKS.contains(&letter) => Some("blank"),
            _ => opens.then_some("dash"),
        };
        if let Some(kind) = instead {
            let shown = if kind == "blank" { format!("U+{:04X}", u32::from(letter)) } else { letter.to_string() };
            return Some((line.part(at..at + letter.len_utf8()), format!("`{shown}` is no {kind} that programs know")));
        }
        before = letter;
    }
    None
}

/// A line without its comment.
fn meant(line: Word<'_>) -> Word<'_> {
    let start = line.text.trim_start();
    if start.starts_with(['#', '!', ';']) {
        return line.part(0..0);
    }
    let end =
        line.text.match_indices('#').find(|(at, _)| line.text[..*at].ends_with(char::is_whitespace)).map_or(line.text.len(), |(at, _)| at);
    line.part(0..end)
}

/// Whether a line speaks to people: it has letters of a writing without blanks.
fn is_prose(line: &str) -> bool {
    line.chars().any(|letter| ('\u{3040}'..='\u{9fff}').contains(&letter) || ('\u{ac00}'..='\u{d7a3}').contains(&letter))
}

fn torn<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in &fleet.documents {
        match &document.content {
            Content::Keepalived(_) | Content::Nginx(_) => unclosed(document, found),
            Content::Yaml(_) => {
                let indented =
                    |line: &Word<'_>| line.text.trim_start_matches(' ').starts_with('\t') && !meant(*line).trim().text.is_empty();
                let flow = document.text.text.trim_start().starts_with(['{', '[']);
                if let Some(line) = document.text.lines().find(|line| !flow && indented(line)) {
                    found.at(document, line.trim(), "a tab indents this line");
                }
            }
            _ => {}
        }
    }
}

/// Tells the block that is open at the end of a file, or the brace that closes none.
fn unclosed<'a>(document: &Document<'a>, found: &mut Found<'a>) {
    let mut open: Vec<Word<'_>> = Vec::new();
    for line in document.text.lines().map(meant) {
        let (mut quoted, mut before) = (false, ' ');
        for (at, letter) in line.text.char_indices() {
            match letter {
                '"' | '\'' if before != '\\' => quoted = !quoted,
                '{' if !quoted => open.push(line.trim()),
                '}' if !quoted && open.pop().is_none() => return found.at(document, line.part(at..at + 1), "this closes no block"),
                _ => {}
            }
            before = letter;
        }
    }
    if let Some(line) = open.last().filter(|line| !line.text.is_empty()) {
        found.at(document, *line, "nothing closes this block");
    }
}
