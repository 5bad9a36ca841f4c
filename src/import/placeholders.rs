//! What published configurations leave for their readers to fill in: `${VIP}`, `$VIP`, `##NODE_IP##`, `<master1-ip>`, `{{ vip }}`.
//!
//! A file of variables that lies among the others fills them, on its machine or on all; what none fills is told with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::config::{Content, Document, File, Fleet, Machine};
use crate::error::{Problem, Severity};
use crate::import::facts::{Facts, Origin, QUOTES};

/// Values by name, in capital letters.
type Variables = BTreeMap<String, String>;

/// A placeholder in a text.
struct Mark<'t> {
    range: Range<usize>,
    name: &'t str,
}

/// One way to write a placeholder: what is before and after its name, and what is a name there.
type Brackets = (&'static str, &'static str, fn(&str) -> bool);

const BRACKETS: [Brackets; 4] = [
    ("${", "}", |name| name.chars().all(is_word)),
    ("{{", "}}", |name| name.chars().all(is_word)),
    ("##", "##", |name| name.chars().all(|letter| is_word(letter) && !letter.is_ascii_lowercase())),
    // `<none>` is what kubectl prints.
    ("<", ">", |name| {
        name.chars().all(|letter| is_word(letter) || letter == '-') && (name.contains(['-', '_']) || name == name.to_uppercase())
    }),
];

/// Names of files of variables, without what follows the dot.
const FILES: [&str; 4] = ["environment", "env", "variables", "vars"];

/// The longest value that fills a placeholder, in bytes.
const LONGEST: usize = 512;

/// What stands for a value of a name, by a part of the name.
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

/// The machines with their placeholders filled in. A file keeps its source, and every line its place.
pub(super) fn fill(machines: &[Machine]) -> Vec<Machine> {
    let common =
        machines.iter().filter(|machine| machine.name.is_empty()).fold(Variables::new(), |known, machine| variables(machine, known));
    let filled = |machine: &Machine| {
        let known = variables(machine, common.clone());
        let files = machine.files.iter().map(|file| with_values(file, &known));
        Machine { files: files.collect(), ..machine.clone() }
    };
    machines.iter().map(filled).collect()
}

/// A file that has nothing to fill shares its source's text.
fn with_values(file: &File, known: &Variables) -> File {
    let text = filled(&file.text, known);
    if *text == *file.text { file.clone() } else { File { text: text.into(), ..file.clone() } }
}

/// Placeholders of configuration that nothing filled; scripts and units have variables of their own.
pub(super) fn open(fleet: &Fleet<'_>, facts: &Facts) -> Vec<Problem> {
    let mut told = BTreeSet::new();
    let mut problems = Vec::new();
    let of_machines = of_machines(fleet);
    for document in fleet.documents.iter().filter(|document| !matches!(document.content, Content::Script(_) | Content::Unit(_))) {
        let text = document.text.text;
        for mark in marks(text).into_iter().filter(|mark| !is_remark(text, mark) && !is_of_ansible(text, mark)) {
            if of_machines.contains(&capital(mark.name)) {
                continue;
            }
            let written = &document.text.text[mark.range.clone()];
            if told.insert((document.file.source.path.clone(), document.path, written)) {
                problems.push(problem(document, &mark, facts));
            }
        }
    }
    problems
}

fn problem(document: &Document<'_>, mark: &Mark<'_>, facts: &Facts) -> Problem {
    let origin = Origin::of(document, document.text.part(mark.range.clone()));
    let written = &document.text.text[mark.range.clone()];
    let setting =
        facts.unclear.iter().find(|fact| fact.value.contains(written) && fact.origin.is_beside(&origin)).map(|fact| fact.setting.row());
    let name = capital(mark.name);
    let usual = || EXAMPLES.iter().find(|(part, _)| name.contains(part)).map_or("value", |(_, example)| example);
    let example = setting.map_or_else(usual, |row| row.example.trim_matches('"'));
    let lost = setting.map(|row| format!(", and the cluster file lacks `{}`", row.key)).unwrap_or_default();
    Problem {
        severity: Severity::Warning,
        code: None,
        field: format!("{}:{}", document.machine, document.path).trim_start_matches(':').to_owned(),
        message: format!("no file says what `{written}` stands for{lost}"),
        span: Some(origin.span),
        source: Some(origin.source),
        hint: Some(format!(
            "put `environment.sh` with `{name}=\"{example}\"` beside the machine's files and import again, or replace it here"
        )),
    }
}

/// The variables of a machine's files, with those that are known already; a later one may be made of an earlier one.
fn variables(machine: &Machine, known: Variables) -> Variables {
    let files = machine.files.iter().filter(|file| is_of_variables(&file.path));
    let lines = files.flat_map(|file| file.text.lines().map(|line| (line, is_of_groups(&file.path))));
    lines.fold(known, |mut known, (line, of_groups)| {
        if let Some((name, value)) = assignment(line).or_else(|| entry(line).filter(|_| of_groups)) {
            let value = filled(value, &known);
            // Variables made of each other grow without bounds.
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

/// Variables that Ansible gives groups of machines. Those of one machine are in `host_vars`.
fn is_of_groups(path: &str) -> bool {
    path.contains("group_vars/")
}

/// `export VIP="10.0.0.10"  # remark`. Lists and what commands print are no values.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let (name, value) = (name.trim(), value.split(" #").next()?.trim());
    let plain = !name.is_empty() && name.chars().all(is_word) && !value.starts_with('(') && !value.contains("$(") && !value.contains('`');
    let value = value.trim_matches(QUOTES);
    (plain && !value.is_empty()).then_some((name, value))
}

/// `vip: 10.0.0.10  # remark`
fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let value = value.split(" #").next()?.trim().trim_matches(QUOTES);
    let plain = name.chars().all(is_word) && !value.is_empty() && !value.starts_with(['[', '{', '|', '>', '&', '*']);
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

/// The placeholder that begins at `at`.
fn mark(text: &str, at: usize) -> Option<Mark<'_>> {
    let rest = text[at..].lines().next()?;
    let bracketed = BRACKETS.iter().find_map(|(open, close, is_name)| {
        let inside = rest.strip_prefix(open)?;
        let name = &inside[..inside.find(close)?];
        let mark = Mark { range: at..at + open.len() + name.len() + close.len(), name: name.trim() };
        (mark.name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && is_name(mark.name)).then_some(mark)
    });
    // nginx has variables of its own, in small letters.
    let bare = || {
        let name = rest.strip_prefix('$')?;
        let name = &name[..name.find(|letter: char| !is_word(letter)).unwrap_or(name.len())];
        let capital =
            name.len() > 1 && !name.contains(|letter: char| letter.is_ascii_lowercase()) && !name.starts_with(|c: char| c.is_ascii_digit());
        capital.then(|| Mark { range: at..at + 1 + name.len(), name })
    };
    bracketed.or_else(bare)
}

/// Names of variables that each machine of an inventory has for itself: `lb1 state=MASTER`, and files of `host_vars`.
fn of_machines(fleet: &Fleet<'_>) -> BTreeSet<String> {
    let inventories = fleet.documents.iter().filter(|document| is_of_variables(document.path));
    let words = inventories.flat_map(|document| document.text.lines()).flat_map(|line| line.words().skip(1).collect::<Vec<_>>());
    let of_lines = words.filter_map(|word| word.split_once('=')).map(|(name, _)| capital(name.text));
    let files = fleet.manifests().filter(|(document, _)| document.path.contains("host_vars/"));
    let of_files = files.flat_map(|(_, node)| node.entries()).map(|(name, _)| capital(name.text));
    of_lines.chain(of_files).collect()
}

/// Whether Ansible fills it: the machine's own name, or the variable of a loop.
fn is_of_ansible(text: &str, mark: &Mark<'_>) -> bool {
    mark.name == "inventory_hostname" || text.contains(&format!("for {} in ", mark.name))
}

/// Whether a placeholder stands in a comment.
fn is_remark(text: &str, mark: &Mark<'_>) -> bool {
    let begin = text[..mark.range.start].rfind('\n').map_or(0, |at| at + 1);
    text[begin..mark.range.start].trim_start().starts_with(['#', '!', ';'])
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// `MASTER1_IP` of `master1-ip`.
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
