//! Values in brackets: YAML's flow style, which includes JSON.

use super::word::{DEEPEST, Word};
use super::yaml::{Node, Value};

/// Reads the value at the start of `text`, and returns it with its length.
pub(super) fn read(text: Word<'_>) -> (Node<'_>, usize) {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let node = reader.value();
    (node, reader.at)
}

struct Reader<'t> {
    text: Word<'t>,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn letter(&self) -> Option<char> {
        self.text.text[self.at..].chars().next()
    }

    fn skip_blank(&mut self) {
        while let Some(letter) = self.letter() {
            if letter == '#' {
                self.at += self.text.text[self.at..].find('\n').unwrap_or(self.text.text.len() - self.at);
            } else if letter.is_whitespace() {
                self.at += letter.len_utf8();
            } else {
                return;
            }
        }
    }

    fn value(&mut self) -> Node<'t> {
        self.skip_blank();
        let start = self.at;
        let value = match self.letter() {
            Some('{') => Value::Map(self.until('}', Self::entry)),
            Some('[') => Value::List(self.until(']', |reader| Some(reader.value()))),
            _ => {
                let word = self.scalar();
                return Node { word, value: if word.text.is_empty() { Value::Null } else { Value::Scalar } };
            }
        };
        Node { word: self.text.part(start..self.at), value }
    }

    /// Reads the elements between brackets, separated by commas.
    fn until<T>(&mut self, close: char, one: impl Fn(&mut Self) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        self.at += 1;
        self.depth += 1;
        loop {
            self.skip_blank();
            match self.letter() {
                None => break,
                Some(_) if self.depth > DEEPEST => self.at = self.text.text.len(),
                Some(letter) if letter == close => {
                    self.at += 1;
                    break;
                }
                Some(',') => self.at += 1,
                Some(_) => {
                    let before = self.at;
                    found.extend(one(self));
                    // An unmatched closing bracket.
                    self.at += if self.at == before { self.letter().map_or(0, char::len_utf8) } else { 0 };
                }
            }
        }
        self.depth -= 1;
        found
    }

    fn entry(&mut self) -> Option<(Word<'t>, Node<'t>)> {
        let key = self.scalar();
        self.skip_blank();
        if self.letter() != Some(':') {
            return None;
        }
        self.at += 1;
        Some((key, self.value()))
    }

    fn scalar(&mut self) -> Word<'t> {
        let rest = self.text.from(self.at);
        if let Some(quote) = self.letter().filter(|letter| ['"', '\''].contains(letter)) {
            let mut escaped = false;
            let end = rest.text.char_indices().skip(1).find(|(_, letter)| {
                let closes = *letter == quote && !escaped;
                escaped = *letter == '\\' && !escaped && quote == '"';
                closes
            });
            let end = end.map_or(rest.text.len(), |(at, _)| at + 1);
            self.at += end;
            return rest.part(0..end).unquoted();
        }
        let ends = |at: usize, letter: char| {
            "{}[],\n".contains(letter)
                || (letter == ':' && rest.text[at + 1..].chars().next().is_none_or(char::is_whitespace))
        };
        let end = rest
            .text
            .char_indices()
            .find(|(at, letter)| ends(*at, *letter))
            .map_or(rest.text.len(), |(at, _)| at);
        self.at += end;
        rest.part(0..end).trim()
    }
}
