//! nginx.conf: words up to a semicolon, blocks in braces.

use super::word::{Statement, Token, Word, statements, tokens};

pub(super) fn read(text: Word<'_>) -> Vec<Statement<'_>> {
    statements(tokens(text, &['#'], |letter| match letter {
        '{' => Some(Token::Open),
        '}' => Some(Token::Close),
        ';' => Some(Token::End),
        _ => None,
    }))
}
