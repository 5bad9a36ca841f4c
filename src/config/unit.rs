//! systemd units (systemd.syntax(7)): sections of `Key=value`, lines continued by a backslash, with comments
//! in between.

use super::word::{Statement, Token, Word, tokens};

/// Reads a unit, one statement per section; each setting consists of the key, then the value's words.
pub(super) fn read(text: Word<'_>) -> Vec<Statement<'_>> {
    let mut sections: Vec<Statement<'_>> = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.text.is_empty() || trimmed.text.starts_with(['#', ';']) {
            continues &= !trimmed.text.is_empty();
            continue;
        }
        let (part, more) = match trimmed.text.strip_suffix('\\') {
            Some(before) => (trimmed.part(0..before.len()), true),
            None => (trimmed, false),
        };
        match sections.last_mut() {
            Some(section) if continues => {
                if let Some(setting) = section.body.last_mut() {
                    setting.words.extend(words(part));
                }
            }
            _ if part.text.starts_with('[') && part.text.ends_with(']') => {
                sections.push(Statement::new(vec![part.part(1..part.text.len() - 1)]));
            }
            Some(section) => section.body.extend(setting(part)),
            None => {}
        }
        continues = more;
    }
    sections
}

fn setting(line: Word<'_>) -> Option<Statement<'_>> {
    let (key, value) = line.split_once('=')?;
    Some(Statement::new([key.trim()].into_iter().chain(words(value)).collect()))
}

fn words(value: Word<'_>) -> Vec<Word<'_>> {
    let one = |token| if let Token::Word(word) = token { Some(word) } else { None };
    tokens(value, &[], |_| None).into_iter().filter_map(one).collect()
}
