//! haproxy.cfg: one statement per line, in the section that begins above it. Indentation is not significant.

use super::word::{Statement, Token, Word, tokens};

/// Words that begin a section (HAProxy configuration manual, section 2.1 and the sections that it refers to).
const SECTIONS: [&str; 16] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "program",
    "cache",
    "ring",
    "http-errors",
    "fcgi-app",
    "log-forward",
    "crt-store",
];

pub(super) fn read(text: Word<'_>) -> Vec<Statement<'_>> {
    let mut sections: Vec<Statement<'_>> = Vec::new();
    for words in text.lines().map(words).filter(|words| !words.is_empty()) {
        match sections.last_mut() {
            _ if SECTIONS.contains(&words[0].text) => sections.push(Statement::new(words)),
            Some(section) => section.body.push(Statement::new(words)),
            None => {}
        }
    }
    sections
}

fn words(line: Word<'_>) -> Vec<Word<'_>> {
    let one = |token| if let Token::Word(word) = token { Some(word) } else { None };
    tokens(line, &['#'], |_| None).into_iter().filter_map(one).collect()
}
