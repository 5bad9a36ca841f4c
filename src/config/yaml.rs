//! YAML and JSON as used in configuration, with positions. Never fails: unreadable content is skipped.
//!
//! Not a complete YAML processor: no anchors, no tags, no types. kiln writes YAML elsewhere and never reads
//! it back.

use super::word::{DEEPEST, Word};

/// A value and its position.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    /// Text of a scalar without quotes; otherwise the first line of the value.
    pub(crate) word: Word<'t>,
    pub(crate) value: Value<'t>,
}

#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    Null,
    Scalar,
    Map(Vec<(Word<'t>, Node<'t>)>),
    List(Vec<Node<'t>>),
}

impl<'t> Node<'t> {
    /// Returns the value at a path of dotted keys.
    pub(crate) fn get(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| {
            node.entries().iter().find(|(name, _)| name.text == key).map(|(_, value)| value)
        })
    }

    /// Returns the scalar at a path of dotted keys.
    pub(crate) fn text(&self, path: &str) -> Option<Word<'t>> {
        self.get(path).and_then(Self::scalar)
    }

    pub(crate) fn scalar(&self) -> Option<Word<'t>> {
        matches!(self.value, Value::Scalar).then_some(self.word)
    }

    pub(crate) fn entries(&self) -> &[(Word<'t>, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// Returns the value of every key with this name, at any depth.
    pub(crate) fn find_all(&self, name: &str) -> Vec<&Self> {
        let mut found = Vec::new();
        self.visit(&mut |key, node| {
            if key.text == name {
                found.push(node);
            }
        });
        found
    }

    /// Calls `seen` with every key and its value, at any depth.
    pub(crate) fn visit<'n>(&'n self, seen: &mut impl FnMut(Word<'t>, &'n Self)) {
        for (key, node) in self.entries() {
            seen(*key, node);
            node.visit(seen);
        }
        self.items().iter().for_each(|item| item.visit(seen));
    }
}

/// Returns every document of a file that is a map or a list.
pub(super) fn read(text: Word<'_>) -> Vec<Node<'_>> {
    let mut reader = Reader { text, lines: text.lines().map(Line::new).collect(), at: 0, depth: 0 };
    let mut documents = Vec::new();
    while reader.at < reader.lines.len() {
        let before = reader.at;
        let node = reader.block(0);
        documents.extend(node.filter(|node| matches!(node.value, Value::Map(_) | Value::List(_))));
        if reader.at == before {
            reader.at += 1;
        }
    }
    documents
}

/// A line without its indentation and its comment.
#[derive(Clone, Copy, Debug)]
struct Line<'t> {
    indent: usize,
    content: Word<'t>,
}

impl<'t> Line<'t> {
    fn new(line: Word<'t>) -> Self {
        let content = line.part(0..comment(line.text)).trim();
        Self { indent: content.at - line.at, content }
    }

    fn is_blank(&self) -> bool {
        self.content.text.is_empty()
    }

    fn is_border(&self) -> bool {
        self.indent == 0 && (self.content.text.starts_with("---") || self.content.text == "...")
    }

    fn is_item(&self) -> bool {
        self.content.text == "-" || self.content.text.starts_with("- ")
    }
}

struct Reader<'t> {
    text: Word<'t>,
    lines: Vec<Line<'t>>,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    /// Returns the next line with content, unless the document ends before it.
    fn peek(&mut self) -> Option<Line<'t>> {
        while self.lines.get(self.at)?.is_blank() {
            self.at += 1;
        }
        let line = self.lines[self.at];
        (!line.is_border()).then_some(line)
    }

    /// Reads the value that begins on the next line, if it is indented by at least `least`.
    fn block(&mut self, least: usize) -> Option<Node<'t>> {
        let line = self.peek().filter(|line| line.indent >= least)?;
        if self.depth == DEEPEST {
            self.at = self.lines.len();
            return None;
        }
        self.depth += 1;
        let node = self.value_of_lines(line);
        self.depth -= 1;
        Some(node)
    }

    fn value_of_lines(&mut self, line: Line<'t>) -> Node<'t> {
        if line.is_item() {
            return self.list(line);
        }
        if line.content.text.starts_with(['{', '[']) {
            return self.flow(line.content);
        }
        if key(line.content).is_some() {
            return self.map(line);
        }
        self.at += 1;
        Node { word: line.content.unquoted(), value: Value::Scalar }
    }

    fn list(&mut self, first: Line<'t>) -> Node<'t> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == first.indent && line.is_item()) {
            let rest = line.content.from(1).trim();
            if rest.text.is_empty() {
                self.at += 1;
                items.push(
                    self.block(line.indent + 1).unwrap_or(Node { word: line.content, value: Value::Null }),
                );
            } else {
                let inner = Line { indent: line.indent + (rest.at - line.content.at), content: rest };
                self.lines[self.at] = inner;
                items.extend(self.block(inner.indent));
                self.skip_deeper(line.indent);
            }
        }
        Node { word: first.content, value: Value::List(items) }
    }

    fn map(&mut self, first: Line<'t>) -> Node<'t> {
        let mut entries = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == first.indent) {
            // A list among the keys of a map is a mistake, or the text lost its indentation; the list is
            // used anyway.
            if line.is_item() {
                let list = self.list(line);
                entries.push((line.content.part(0..0), list));
                continue;
            }
            let Some((name, rest)) = key(line.content) else {
                self.at += 1;
                continue;
            };
            self.at += 1;
            entries.push((name, self.value(line, rest)));
            self.skip_deeper(line.indent);
        }
        Node { word: first.content, value: Value::Map(entries) }
    }

    /// Reads the value of a key, on the same line or below it.
    fn value(&mut self, line: Line<'t>, rest: Word<'t>) -> Node<'t> {
        let rest = without_tag(rest);
        if rest.text.is_empty() {
            let below = self
                .peek()
                .filter(|next| next.indent > line.indent || (next.indent == line.indent && next.is_item()));
            let below = below.and_then(|next| self.block(next.indent));
            return below.unwrap_or(Node { word: rest, value: Value::Null });
        }
        if rest.text.starts_with(['|', '>']) {
            return self.literal(line);
        }
        if rest.text.starts_with(['{', '[']) {
            self.at -= 1;
            return self.flow(rest);
        }
        Node { word: rest.unquoted(), value: Value::Scalar }
    }

    /// Reads a block scalar: every line that is indented deeper than its key.
    fn literal(&mut self, key: Line<'t>) -> Node<'t> {
        let start = self
            .lines
            .get(self.at)
            .map_or(self.text.text.len(), |line| line.content.at - line.indent - self.text.at);
        let below = self.text.from(start);
        let deeper = |line: &Word<'t>| {
            line.text.trim().is_empty() || line.text.len() - line.text.trim_start().len() > key.indent
        };
        let length =
            below.lines().find(|line| !deeper(line)).map_or(below.text.len(), |line| line.at - below.at);
        self.at += below.part(0..length).text.matches('\n').count().max(usize::from(length > 0));
        Node { word: below.part(0..length), value: Value::Scalar }
    }

    /// Reads a value in brackets, which may span lines.
    fn flow(&mut self, start: Word<'t>) -> Node<'t> {
        let rest = self.text.from(start.at - self.text.at);
        let (node, length) = super::flow::read(rest);
        self.at += rest.part(0..length).text.matches('\n').count() + 1;
        node
    }

    /// Skips more deeply indented lines that belong to a scalar or to nothing.
    fn skip_deeper(&mut self, indent: usize) {
        while self.peek().is_some_and(|line| line.indent > indent) {
            self.at += 1;
        }
    }
}

/// Splits a line into the key and the text after its colon.
fn key(content: Word<'_>) -> Option<(Word<'_>, Word<'_>)> {
    let quote = content.text.chars().next().filter(|letter| ['"', '\''].contains(letter));
    let after_key = match quote {
        Some(quote) => content.text[1..].find(quote)? + 2,
        None => 0,
    };
    let colon = content.text[after_key..].char_indices().find(|(at, letter)| {
        *letter == ':' && content.text[after_key + at + 1..].chars().next().is_none_or(char::is_whitespace)
    });
    let at = after_key + colon?.0;
    let name = content.part(0..at).trim().unquoted();
    (!name.text.is_empty()).then(|| (name, content.from(at + 1).trim()))
}

/// Returns the start of a line's comment: a `#` at its start or after whitespace, outside quotes.
fn comment(line: &str) -> usize {
    let (mut quote, mut before) = (None, ' ');
    for (at, letter) in line.char_indices() {
        match letter {
            '#' if quote.is_none() && before.is_whitespace() => return at,
            '"' | '\'' if quote == Some(letter) => quote = None,
            // An apostrophe within a word is not a quote.
            '"' | '\'' if quote.is_none() && !before.is_alphanumeric() => quote = Some(letter),
            _ => {}
        }
        before = letter;
    }
    line.len()
}

/// Returns a value without its anchor or tag.
fn without_tag(word: Word<'_>) -> Word<'_> {
    match word.text.chars().next() {
        Some('&' | '!') => {
            word.text.find(' ').map_or(word.from(word.text.len()), |at| without_tag(word.from(at).trim()))
        }
        _ => word,
    }
}
