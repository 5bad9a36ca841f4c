//! Placeholders that published configurations leave for their readers to fill in: `${VIP}`, `$VIP`,
//! `##NODE_IP##`, `<master1-ip>`, `{{ vip }}`.
//!
//! A variables file next to the others supplies the values, for its own machine or for all machines;
//! placeholders that remain are reported with their positions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::config::{Content, Document, File, Fleet, Machine};
use crate::error::{Problem, Severity};
use crate::import::facts::{Facts, Origin, QUOTES};

/// Values, keyed by name; names are in capital letters.
type Variables = BTreeMap<String, String>;

/// A placeholder in a text.
struct Mark<'t> {
    range: Range<usize>,
    name: &'t str,
}

/// A placeholder notation: the text before and after the name, and a check for the name.
type Brackets = (&'static str, &'static str, fn(&str) -> bool);

const BRACKETS: [Brackets; 4] = [
    ("${", "}", |name| name.chars().all(is_word)),
    ("{{", "}}", |name| name.chars().all(is_word)),
    ("##", "##", |name| name.chars().all(|letter| is_word(letter) && !letter.is_ascii_lowercase())),
    // kubectl prints `<none>`.
    ("<", ">", |name| {
        name.chars().all(|letter| is_word(letter) || letter == '-')
            && (name.contains(['-', '_']) || name == name.to_uppercase())
    }),
];

/// Names of variables files, without the extension.
const FILES: [&str; 4] = ["environment", "env", "variables", "vars"];

/// Maximum length of a value that replaces a placeholder, in bytes.
const LONGEST: usize = 512;

/// Example values, keyed by part of the name.
const EXAMPLES: [(&str, &str); 9] = [
    ("PORT", "6443"),
    ("PRIORITY", "100"),
    ("STATE", "BACKUP"),
    ("VIP", "10.0.0.10"),
    ("IP", "10.0.0.11"),
    ("ADDR", "10.0.0.11"),
    ("ID", "60"),
    ("INTERFACE", "eth0"),
    ("NAME", "m1"),
];

/// Returns the machines with their placeholders filled in. A file keeps its source, and every line its
/// position.
pub(super) fn fill(machines: &[Machine]) -> Vec<Machine> {
    let common = machines
        .iter()
        .filter(|machine| machine.name.is_empty())
        .fold(Variables::new(), |known, machine| variables(machine, known));
    let filled = |machine: &Machine| {
        let known = variables(machine, common.clone());
        let files = machine.files.iter().map(|file| with_values(file, &known));
        Machine { files: files.collect(), ..machine.clone() }
    };
    machines.iter().map(filled).collect()
}

/// Fills in a file's placeholders; a file without any shares its source's text.
fn with_values(file: &File, known: &Variables) -> File {
    let text = filled(&file.text, known);
    if *text == *file.text { file.clone() } else { File { text: text.into(), ..file.clone() } }
}

/// Reports the placeholders that remain in configuration files; scripts and units have variables of their
/// own.
pub(super) fn open(fleet: &Fleet<'_>, facts: &Facts) -> Vec<Problem> {
    let mut reported = BTreeSet::new();
    let mut problems = Vec::new();
    let of_machines = of_machines(fleet);
    for document in fleet
        .documents
        .iter()
        .filter(|document| !matches!(document.content, Content::Script(_) | Content::Unit(_)))
    {
        let text = document.text.text;
        for mark in
            marks(text).into_iter().filter(|mark| !is_remark(text, mark) && !is_of_ansible(text, mark))
        {
            if of_machines.contains(&capital(mark.name)) {
                continue;
            }
            let written = &document.text.text[mark.range.clone()];
            if reported.insert((document.file.source.path.clone(), document.path, written)) {
                problems.push(problem(document, &mark, facts));
            }
        }
    }
    problems
}

fn problem(document: &Document<'_>, mark: &Mark<'_>, facts: &Facts) -> Problem {
    let origin = Origin::of(document, document.text.part(mark.range.clone()));
    let written = &document.text.text[mark.range.clone()];
    let setting = facts
        .unclear
        .iter()
        .find(|fact| fact.value.contains(written) && fact.origin.is_beside(&origin))
        .map(|fact| fact.setting.row());
    let name = capital(mark.name);
    let usual =
        || EXAMPLES.iter().find(|(part, _)| name.contains(part)).map_or("value", |(_, example)| example);
    let example = setting.map_or_else(usual, |row| row.example.trim_matches('"'));
    let lost =
        setting.map(|row| format!(", so the cluster file does not set `{}`", row.key)).unwrap_or_default();
    Problem {
        severity: Severity::Warning,
        code: None,
        field: format!("{}:{}", document.machine, document.path).trim_start_matches(':').to_owned(),
        message: format!("no file contains a value for `{written}`{lost}"),
        span: Some(origin.span),
        source: Some(origin.source),
        hint: Some(format!(
            "put an `environment.sh` that contains `{name}=\"{example}\"` next to the machine's files and \
            import again, or replace the placeholder"
        )),
    }
}

/// Returns the variables in a machine's files in addition to the known ones; a later variable may refer to an
/// earlier one.
fn variables(machine: &Machine, known: Variables) -> Variables {
    let files = machine.files.iter().filter(|file| is_of_variables(&file.path));
    let lines = files.flat_map(|file| file.text.lines().map(|line| (line, is_of_groups(&file.path))));
    lines.fold(known, |mut known, (line, of_groups)| {
        if let Some((name, value)) = assignment(line).or_else(|| entry(line).filter(|_| of_groups)) {
            let value = filled(value, &known);
            // Variables that refer to each other can grow without bound.
            if value.len() <= LONGEST {
                known.insert(capital(name), value);
            }
        }
        known
    })
}

fn is_of_variables(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let (stem, end) = name.split_once('.').unwrap_or((&name, ""));
    let own = end == "env" || FILES.contains(&stem) && ["", "sh", "conf", "ini"].contains(&end);
    own || is_of_groups(path) || name == "hosts" || name.starts_with("inventory") || end == "ini"
}

/// Checks whether a file contains Ansible's variables for groups of machines. Variables for one machine are
/// in `host_vars`.
fn is_of_groups(path: &str) -> bool {
    path.contains("group_vars/")
}

/// Parses `export VIP="10.0.0.10"  # comment`. Lists and command substitutions are not values.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let (name, value) = (name.trim(), value.split(" #").next()?.trim());
    let plain = !name.is_empty()
        && name.chars().all(is_word)
        && !value.starts_with('(')
        && !value.contains("$(")
        && !value.contains('`');
    let value = value.trim_matches(QUOTES);
    (plain && !value.is_empty()).then_some((name, value))
}

/// Parses `vip: 10.0.0.10  # comment`.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let value = value.split(" #").next()?.trim().trim_matches(QUOTES);
    let plain =
        name.chars().all(is_word) && !value.is_empty() && !value.starts_with(['[', '{', '|', '>', '&', '*']);
    plain.then_some((name, value))
}

fn filled(text: &str, known: &Variables) -> String {
    let mut out = String::new();
    let mut end = 0;
    for mark in marks(text) {
        if let Some(value) = known.get(&capital(mark.name)) {
            out.extend([&text[end..mark.range.start], value]);
            end = mark.range.end;
        }
    }
    out + &text[end..]
}

fn marks(text: &str) -> Vec<Mark<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(['$', '{', '#', '<']).map(|offset| at + offset) {
        let escaped = text[..next].ends_with('\\');
        match mark(text, next).filter(|_| !escaped) {
            Some(mark) => {
                at = mark.range.end;
                found.push(mark);
            }
            None => at = next + 1,
        }
    }
    found
}

/// Returns the placeholder that begins at `at`.
fn mark(text: &str, at: usize) -> Option<Mark<'_>> {
    let rest = text[at..].lines().next()?;
    let bracketed = BRACKETS.iter().find_map(|(open, close, is_name)| {
        let inside = rest.strip_prefix(open)?;
        let name = &inside[..inside.find(close)?];
        let mark = Mark { range: at..at + open.len() + name.len() + close.len(), name: name.trim() };
        (mark.name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && is_name(mark.name))
            .then_some(mark)
    });
    // nginx has variables of its own, in lower case.
    let bare = || {
        let name = rest.strip_prefix('$')?;
        let name = &name[..name.find(|letter: char| !is_word(letter)).unwrap_or(name.len())];
        let capital = name.len() > 1
            && !name.contains(|letter: char| letter.is_ascii_lowercase())
            && !name.starts_with(|c: char| c.is_ascii_digit());
        capital.then(|| Mark { range: at..at + 1 + name.len(), name })
    };
    bracketed.or_else(bare)
}

/// Returns the names of variables that are set for each machine separately: `lb1 state=MASTER` in an
/// inventory, and files in `host_vars`.
fn of_machines(fleet: &Fleet<'_>) -> BTreeSet<String> {
    let inventories = fleet.documents.iter().filter(|document| is_of_variables(document.path));
    let words = inventories
        .flat_map(|document| document.text.lines())
        .flat_map(|line| line.words().skip(1).collect::<Vec<_>>());
    let of_lines = words.filter_map(|word| word.split_once('=')).map(|(name, _)| capital(name.text));
    let files = fleet.manifests().filter(|(document, _)| document.path.contains("host_vars/"));
    let of_files = files.flat_map(|(_, node)| node.entries()).map(|(name, _)| capital(name.text));
    of_lines.chain(of_files).collect()
}

/// Checks whether Ansible itself replaces the placeholder, as it does for the machine's own name and for loop
/// variables.
fn is_of_ansible(text: &str, mark: &Mark<'_>) -> bool {
    mark.name == "inventory_hostname" || text.contains(&format!("for {} in ", mark.name))
}

/// Checks whether a placeholder is in a comment.
fn is_remark(text: &str, mark: &Mark<'_>) -> bool {
    let begin = text[..mark.range.start].rfind('\n').map_or(0, |at| at + 1);
    text[begin..mark.range.start].trim_start().starts_with(['#', '!', ';'])
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Returns `MASTER1_IP` for `master1-ip`.
fn capital(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn placeholders_are_known_by_their_brackets_and_other_variables_are_left_alone() {
        for (text, expected) in [
            ("server ${HOST1_ID} ${HOST1_ADDRESS}:6443", &["HOST1_ID", "HOST1_ADDRESS"][..]),
            ("$KUBE_APISERVER/##NODE_IP##", &["KUBE_APISERVER", "NODE_IP"]),
            ("https://<master1-ip>:6443 <VIP> {{ vip }}", &["master1-ip", "VIP", "vip"]),
            ("$remote_addr \\${VIP} <none> ### {a} $1 ${VIP:-x} a<b>c", &[]),
        ] {
            assert_eq!(marks(text).iter().map(|mark| mark.name).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
