//! keepalived.conf(5): words on lines, blocks in braces, comments after `!` and `#`.

use super::word::{Statement, Token, Word, statements, tokens};

pub(super) fn read(text: Word<'_>) -> Vec<Statement<'_>> {
    statements(tokens(text, &['#', '!'], |letter| match letter {
        '{' => Some(Token::Open),
        '}' => Some(Token::Close),
        '\n' => Some(Token::End),
        _ => None,
    }))
}
