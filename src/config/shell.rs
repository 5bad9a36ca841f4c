//! Shell scripts, as far as lints need them: commands with their words, and files that here-documents write.
//!
//! Terminal sessions are accepted too: a prompt such as `[root@m1 ~]#` is skipped. Nothing is expanded.

use super::word::Word;

/// Words that may precede a command's name.
const RESERVED: [&str; 10] = ["if", "then", "else", "elif", "while", "until", "do", "!", "{", "sudo"];

/// Programs that execute the program named by their arguments.
const WRAPPERS: [&str; 10] =
    ["command", "env", "exec", "ionice", "nice", "nohup", "setsid", "stdbuf", "sudo", "timeout"];

/// Commands and here-documents of a script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script<'t> {
    pub(crate) commands: Vec<Command<'t>>,
    pub(crate) documents: Vec<HereDocument<'t>>,
}

/// A simple command with at least one word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Command<'t> {
    /// The program's name and the words after it: `curl URL` in `timeout 2 curl URL`.
    pub(crate) words: Vec<Word<'t>>,
    /// Words before the program's name, such as `timeout 2` or `LANG=C`.
    pub(crate) wrapper: Vec<Word<'t>>,
    /// Target of `>`.
    pub(crate) output: Option<Word<'t>>,
}

/// The lines after `<<EOF`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HereDocument<'t> {
    pub(crate) body: Word<'t>,
    /// True if `'EOF'` prevents expansion by the shell.
    pub(crate) quoted: bool,
    /// File that the body is written to.
    pub(crate) target: Option<Word<'t>>,
}

impl<'t> Command<'t> {
    pub(crate) fn name(&self) -> Word<'t> {
        self.words[0]
    }

    /// Checks whether the command runs this program with these arguments, in this order, possibly among
    /// others.
    pub(crate) fn runs(&self, words: &[&str]) -> bool {
        let name = self.name().text.rsplit('/').next().unwrap_or_default();
        let mut rest = self.words[1..].iter();
        words[0] == name && words[1..].iter().all(|wanted| rest.any(|word| word.text == *wanted))
    }

    /// Returns the value of an option, from the next word or after `=`.
    pub(crate) fn value(&self, name: &str) -> Option<Word<'t>> {
        let of_next = self.words.windows(2).find(|pair| pair[0].text == name).map(|pair| pair[1]);
        let of_same = || {
            self.words.iter().filter_map(|word| word.split_once('=')).find(|(option, _)| option.text == name)
        };
        of_next.or_else(|| of_same().map(|(_, value)| value.unquoted()))
    }

    /// Checks whether an option is set, by its letter, as `f` in `-fsS`, or by its long form, such as
    /// `--fail`.
    pub(crate) fn has(&self, short: char, long: &str) -> bool {
        self.words[1..].iter().any(|word| match word.text.strip_prefix('-') {
            Some(letters) if !letters.starts_with('-') => letters.contains(short),
            _ => word.text == long || word.text.strip_prefix(long).is_some_and(|rest| rest.starts_with('=')),
        })
    }
}

pub(super) fn read(text: Word<'_>) -> Script<'_> {
    let mut script = Script::default();
    let mut reader = Reader { rest: text, pending: Vec::new(), command: Command::default() };
    reader.prompt();
    while !reader.rest.text.is_empty() {
        reader.step(&mut script);
    }
    reader.end(&mut script);
    script
}

struct Reader<'t> {
    rest: Word<'t>,
    /// Here-documents whose bodies begin on the next line: the delimiter, and whether it is quoted.
    pending: Vec<(Word<'t>, bool)>,
    command: Command<'t>,
}

impl<'t> Reader<'t> {
    fn take(&mut self, length: usize) -> Word<'t> {
        let taken = self.rest.part(0..length);
        self.rest = self.rest.from(length);
        taken
    }

    fn step(&mut self, script: &mut Script<'t>) {
        let text = self.rest.text;
        let blank = text.len() - text.trim_start_matches([' ', '\t']).len();
        if blank > 0 {
            self.take(blank);
        } else if text.starts_with("\\\n") {
            self.take(2);
        } else if text.starts_with('\n') {
            self.take(1);
            self.here_documents(script);
            self.end(script);
            self.prompt();
        } else if text.starts_with('#') {
            self.take(text.find('\n').unwrap_or(text.len()));
        } else if text.starts_with("<<") && !text.starts_with("<<<") {
            self.delimiter();
        } else if let Some(length) = redirection(text) {
            self.redirect(length);
        } else if text.starts_with([';', '&', '|', '(', ')', '`']) {
            self.take(1);
            self.end(script);
        } else if text.starts_with("$(") {
            self.take(2);
            self.end(script);
        } else {
            let word = self.word();
            self.command.words.push(word.unquoted());
        }
    }

    /// Skips a prompt printed before a command.
    fn prompt(&mut self) {
        let line = self.rest.text.lines().next().unwrap_or_default();
        let end = line.find("]# ").or_else(|| line.find("]$ "));
        if let Some(at) = end.filter(|_| line.starts_with('[') && line.contains('@')) {
            self.take(at + 3);
        }
    }

    fn word(&mut self) -> Word<'t> {
        let (mut quote, mut escaped, mut variable) = (None, false, false);
        let mut before = ' ';
        for (at, letter) in self.rest.text.char_indices() {
            let border = letter.is_whitespace() || ";&|()<>`".contains(letter);
            let substitution = self.rest.text[at..].starts_with("$(");
            if quote.is_none() && !escaped && !variable && (border || substitution) && at > 0 {
                return self.take(at);
            }
            match letter {
                '"' | '\'' if quote == Some(letter) && !(escaped && letter == '"') => quote = None,
                '"' | '\'' if quote.is_none() && !escaped => quote = Some(letter),
                '{' if before == '$' => variable = true,
                '}' => variable = false,
                _ => {}
            }
            escaped = letter == '\\' && !escaped;
            before = letter;
        }
        self.take(self.rest.text.len())
    }

    fn delimiter(&mut self) {
        self.take(if self.rest.text.starts_with("<<-") { 3 } else { 2 });
        self.take(self.rest.text.len() - self.rest.text.trim_start_matches([' ', '\t']).len());
        if self.rest.text.is_empty() {
            return;
        }
        let word = self.word();
        let plain = word.unquoted();
        let plain = plain.from(usize::from(plain.text.starts_with('\\')));
        self.pending.push((plain, word != plain));
    }

    fn redirect(&mut self, length: usize) {
        let sends = self.take(length).text.contains('>');
        self.take(self.rest.text.len() - self.rest.text.trim_start_matches([' ', '\t']).len());
        if !self.rest.text.is_empty() && !self.rest.text.starts_with('\n') {
            let target = self.word().unquoted();
            let duplicated = target.text.chars().all(|letter| letter.is_ascii_digit());
            if sends && !duplicated && target.text != "/dev/null" {
                self.command.output = Some(target);
            }
        }
    }

    /// Reads the bodies of the pending here-documents, which begin here.
    fn here_documents(&mut self, script: &mut Script<'t>) {
        for (delimiter, quoted) in std::mem::take(&mut self.pending) {
            let end = self.rest.lines().find(|line| line.text.trim_start_matches('\t') == delimiter.text);
            let length = end.map_or(self.rest.text.len(), |line| line.at - self.rest.at);
            let body = self.take(length);
            self.take(end.map_or(0, |line| line.text.len()));
            let tees = self.command.words.iter().any(|word| word.text.rsplit('/').next() == Some("tee"));
            let teed = self.command.words.last().filter(|_| tees).copied();
            script.documents.push(HereDocument { body, quoted, target: self.command.output.or(teed) });
        }
    }

    fn end(&mut self, script: &mut Script<'t>) {
        let Command { words, output, .. } = std::mem::take(&mut self.command);
        script.commands.extend(commands(words, output));
    }
}

/// Returns the command that the words form, and the commands that it runs in a shell: `sh -c "…"`.
pub(super) fn commands<'t>(mut words: Vec<Word<'t>>, output: Option<Word<'t>>) -> Vec<Command<'t>> {
    let reserved = words.iter().take_while(|word| RESERVED.contains(&word.text)).count();
    words.drain(..reserved);
    let wrapper = words.drain(..wrapped(&words)).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let is_shell = ["sh", "bash", "dash"].iter().any(|name| words[0].text.rsplit('/').next() == Some(name));
    let option = words.iter().position(|word| {
        word.text.starts_with('-') && !word.text.starts_with("--") && word.text.ends_with('c')
    });
    let text = option.filter(|_| is_shell).and_then(|at| words.get(at + 1)).copied();
    let inner = text.map(|text| read(text).commands).unwrap_or_default();
    [Command { words, wrapper, output }].into_iter().chain(inner).collect()
}

/// Returns the number of words before the program that is executed: wrappers with their options, durations
/// and assignments. 0 if nothing follows them.
fn wrapped(words: &[Word<'_>]) -> usize {
    let is_wrapper = |word: &Word<'_>| WRAPPERS.contains(&word.text.rsplit('/').next().unwrap_or_default());
    let of_wrapper = |word: &Word<'_>| {
        let value = word.text.starts_with(|letter: char| letter.is_ascii_digit()) && !word.text.contains('/');
        word.text.starts_with('-')
            || value
            || word.text.split_once('=').is_some_and(|(name, _)| !name.contains(['/', '-']))
    };
    let mut count = words.iter().take_while(|word| is_assignment(word.text)).count();
    while words.get(count).is_some_and(is_wrapper) {
        count += 1 + words[count + 1..].iter().take_while(|word| of_wrapper(word)).count();
    }
    if count < words.len() { count } else { 0 }
}

/// Checks whether a word sets a variable, for the command that follows or, if there is none, for the shell.
fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && is_name(name))
}

/// Returns the length of a redirection operator at the start of `text`.
fn redirection(text: &str) -> Option<usize> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let after = &text[digits..];
    let operators = ["&>>", "&>", ">>", ">&", "<<<", "<&", ">", "<"];
    let operator = operators.iter().find(|operator| after.starts_with(**operator))?;
    (digits == 0 || !operator.starts_with('&')).then_some(digits + operator.len())
}
