//! Parts of a file with their positions, and the structure common to configuration formats: names with
//! values, and bodies.

use std::ops::Range;

/// A part of a file; `at` counts bytes from the file's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'t> {
    pub(crate) text: &'t str,
    pub(crate) at: usize,
}

impl<'t> Word<'t> {
    /// Returns a whole file.
    pub(crate) fn whole(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the word's position in the file.
    pub(crate) fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// Returns the part in `range`, in bytes.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        Self { text: &self.text[range.clone()], at: self.at + range.start }
    }

    pub(crate) fn from(self, start: usize) -> Self {
        self.part(start..self.text.len())
    }

    pub(crate) fn trim(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        let end = self.text.trim_end().len();
        self.part(start.min(end)..end.max(start.min(end)))
    }

    /// Returns the word's lines, without line endings.
    pub(crate) fn lines(self) -> impl Iterator<Item = Self> {
        self.pieces(|letter| letter == '\n').map(|line| line.part(0..line.text.trim_end_matches('\r').len()))
    }

    /// Returns the word's parts, separated by whitespace.
    pub(crate) fn words(self) -> impl Iterator<Item = Self> {
        self.pieces(char::is_whitespace).filter(|word| !word.text.is_empty())
    }

    /// Returns the word's parts, separated by characters for which `is_border` is true.
    pub(crate) fn pieces(self, is_border: impl Fn(char) -> bool) -> impl Iterator<Item = Self> {
        let mut start = 0;
        self.text.split(is_border).map(move |piece| {
            let at = self.text[start..]
                .find(piece)
                .map_or(start, |offset| if piece.is_empty() { start } else { start + offset });
            start = at + piece.len() + self.text[at + piece.len()..].chars().next().map_or(0, char::len_utf8);
            Self { text: piece, at: self.at + at }
        })
    }

    /// Returns the parts before and after the first `border`.
    pub(crate) fn split_once(self, border: char) -> Option<(Self, Self)> {
        let at = self.text.find(border)?;
        Some((self.part(0..at), self.from(at + border.len_utf8())))
    }

    /// Removes the surrounding quotes.
    pub(crate) fn unquoted(self) -> Self {
        let quoted = self.text.len() >= 2
            && ['"', '\''].iter().any(|quote| self.text.starts_with(*quote) && self.text.ends_with(*quote));
        if quoted { self.part(1..self.text.len() - 1) } else { self }
    }
}

/// A setting with its values, or a block with its name and body; it has at least one word.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'t> {
    pub(crate) words: Vec<Word<'t>>,
    pub(crate) body: Vec<Self>,
}

impl<'t> Statement<'t> {
    pub(crate) fn new(words: Vec<Word<'t>>) -> Self {
        Self { words, body: Vec::new() }
    }

    pub(crate) fn name(&self) -> Word<'t> {
        self.words[0]
    }

    /// Returns the first word after the name.
    pub(crate) fn value(&self) -> Option<Word<'t>> {
        self.words.get(1).copied()
    }

    /// Checks whether the statement begins with these words.
    pub(crate) fn is(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len()
            && self.words.iter().zip(words).all(|(word, wanted)| word.text == *wanted)
    }

    /// Returns the word after `name`, at any position: `3s` for `inter` in `check inter 3s`.
    pub(crate) fn option(&self, name: &str) -> Option<Word<'t>> {
        let at = self.words.iter().position(|word| word.text == name)?;
        self.words.get(at + 1).copied()
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other.text == word)
    }

    /// Returns the statements of the body that begin with these words.
    pub(crate) fn all<'s>(&'s self, words: &'s [&str]) -> impl Iterator<Item = &'s Self> {
        self.body.iter().filter(move |statement| statement.is(words))
    }

    /// Returns the last statement of the body that begins with these words; in most formats the last one
    /// applies.
    pub(crate) fn last(&self, words: &[&str]) -> Option<&Self> {
        self.body.iter().rev().find(|statement| statement.is(words))
    }

    /// Returns the first value of the last setting `name` in the body.
    pub(crate) fn setting(&self, name: &str) -> Option<Word<'t>> {
        self.last(&[name])?.value()
    }

    /// Returns [`Self::setting`] as a number.
    pub(crate) fn number(&self, name: &str) -> Option<(f64, Word<'t>)> {
        let word = self.setting(name)?;
        Some((word.text.parse().ok()?, word))
    }
}

/// Maximum nesting of values: deeper content is not configuration.
pub(super) const DEEPEST: usize = 64;

/// Token of a block format.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'t> {
    Word(Word<'t>),
    Open,
    Close,
    /// The end of a statement.
    End,
}

/// Builds statements from tokens. An unclosed block ends with the file; an unmatched closing brace is
/// ignored.
pub(super) fn statements<'t>(tokens: impl IntoIterator<Item = Token<'t>>) -> Vec<Statement<'t>> {
    let mut open: Vec<(Vec<Word<'t>>, Vec<Statement<'t>>)> = Vec::new();
    let (mut words, mut body) = (Vec::new(), Vec::new());
    for token in tokens {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open if open.len() == DEEPEST => {}
            Token::Open if words.is_empty() => {
                // A brace on its own line opens the statement before it.
                let before = body.pop().unwrap_or_else(|| Statement::new(Vec::new()));
                open.push((before.words, std::mem::take(&mut body)));
            }
            Token::Open => open.push((std::mem::take(&mut words), std::mem::take(&mut body))),
            Token::End | Token::Close => {
                if !words.is_empty() {
                    body.push(Statement::new(std::mem::take(&mut words)));
                }
                if matches!(token, Token::Close) {
                    close(&mut open, &mut body);
                }
            }
        }
    }
    if !words.is_empty() {
        body.push(Statement::new(words));
    }
    while !open.is_empty() {
        close(&mut open, &mut body);
    }
    body
}

fn close<'t>(open: &mut Vec<(Vec<Word<'t>>, Vec<Statement<'t>>)>, body: &mut Vec<Statement<'t>>) {
    if let Some((words, outer)) = open.pop() {
        let inner = std::mem::replace(body, outer);
        if !words.is_empty() {
            body.push(Statement { words, body: inner });
        }
    }
}

/// Splits a text in which words may be quoted; `border` returns the token of a character that ends a word.
pub(super) fn tokens<'t>(
    text: Word<'t>,
    comments: &[char],
    border: impl Fn(char) -> Option<Token<'t>>,
) -> Vec<Token<'t>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.text.chars().next() {
        let length = if let Some(length) = remark(rest.text) {
            length
        } else if comments.contains(&letter) {
            rest.text.find('\n').unwrap_or(rest.text.len())
        } else if let Some(token) = border(letter).filter(|_| expression(rest.text).is_none()) {
            found.push(token);
            letter.len_utf8()
        } else if letter.is_whitespace() {
            letter.len_utf8()
        } else {
            let length = word_length(rest.text, &border);
            found.push(Token::Word(rest.part(0..length).unquoted()));
            length
        };
        rest = rest.from(length);
    }
    found
}

/// Returns the length of a template expression at the start of `text`: `{{ vip }}` is a word, or a part of
/// one.
fn expression(text: &str) -> Option<usize> {
    let line = text.lines().next().filter(|line| line.starts_with("{{"))?;
    line.find("}}").map(|end| end + 2)
}

/// Returns the length of a template statement or comment at the start of `text`: `{% if lb %}`, `{# why #}`.
fn remark(text: &str) -> Option<usize> {
    [("{%", "%}"), ("{#", "#}")]
        .iter()
        .find_map(|(open, close)| text.strip_prefix(open)?.find(close).map(|end| end + 4))
}

/// Returns the length of the word at the start of `text`, including quotes and `${…}`.
fn word_length<'t>(text: &str, border: &impl Fn(char) -> Option<Token<'t>>) -> usize {
    let (mut quote, mut variable, mut escaped, mut before) = (None, false, false, ' ');
    let mut inside = 0;
    for (at, letter) in text.char_indices() {
        inside = inside.max(expression(&text[at..]).map_or(0, |length| at + length));
        if at < inside {
            before = letter;
            continue;
        }
        let ends =
            quote.is_none() && !variable && !escaped && (letter.is_whitespace() || border(letter).is_some());
        let opens = before == '$' && letter == '{';
        if (ends && !opens) || (letter == '\n' && quote.is_none()) {
            return at;
        }
        match letter {
            '"' | '\'' if quote == Some(letter) && !escaped => quote = None,
            '"' | '\'' if quote.is_none() && !escaped => quote = Some(letter),
            '{' if before == '$' => variable = true,
            '}' if variable => variable = false,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
        before = letter;
    }
    text.len()
}
