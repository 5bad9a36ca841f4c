//! Detection of a file's format: by its path, otherwise by its content.

use super::settings::{self, Setting};
use super::shell::{self, Command, Script};
use super::word::{Statement, Word};
use super::yaml::{self, Node};
use super::{Document, File, haproxy, keepalived, nginx, unit};

/// Parsed content of a file, by format.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    Keepalived(Vec<Statement<'a>>),
    Haproxy(Vec<Statement<'a>>),
    Nginx(Vec<Statement<'a>>),
    Unit(Vec<Statement<'a>>),
    Yaml(Vec<Node<'a>>),
    Script(Script<'a>),
    Settings(Vec<Setting<'a>>),
    /// One statement per line, such as `server 10.0.0.1 iburst`.
    Lines(Vec<Statement<'a>>),
    /// Content that lints do not parse: a certificate, a key, prose.
    Other,
}

/// Parser of a format.
type Kind = for<'a> fn(Word<'a>) -> Content<'a>;

/// Formats by path suffix; the first match applies.
const BY_PATH: &[(&[&str], Kind)] = &[
    (&[".service", ".timer", ".socket", ".target", ".mount", ".path"], |text| {
        Content::Unit(unit::read(text))
    }),
    (&[".crt", ".pem", ".key", ".pub"], |_| Content::Other),
    (&[".sh", ".bash", ".modules"], |text| Content::Script(shell::read(text))),
    (&["keepalived.conf"], |text| Content::Keepalived(keepalived::read(text))),
    (&["haproxy.cfg"], |text| Content::Haproxy(haproxy::read(text))),
    (&["nginx.conf"], |text| Content::Nginx(nginx::read(text))),
    (&[".yaml", ".yml", ".json", "config", "kubeconfig"], |text| Content::Yaml(yaml::read(text))),
    (&[".toml", ".env"], |text| Content::Settings(settings::read(text))),
    (&["chrony.conf", "ntp.conf", "resolv.conf", "/hosts", "/crontab", "/fstab"], |text| {
        Content::Lines(lines(text))
    }),
];

/// Template suffixes; a template is parsed as the file that it renders to.
pub(crate) const TEMPLATES: [&str; 6] = [".j2", ".tera", ".tmpl", ".tpl", ".erb", ".template"];

/// Formats by directory.
const BY_DIRECTORY: &[(&[&str], Kind)] = &[
    (&["/nginx/"], |text| Content::Nginx(nginx::read(text))),
    (&["/keepalived/"], |text| Content::Keepalived(keepalived::read(text))),
    (&["sysctl", "/sysconfig/", "/default/", "/etcd/"], |text| Content::Settings(settings::read(text))),
    (&["modules-load.d/", "/cron", "/chrony/"], |text| Content::Lines(lines(text))),
];

/// Formats by the text at the start of a line.
const BY_TEXT: &[(&[&str], Kind)] = &[
    (&["#!"], |text| Content::Script(shell::read(text))),
    (&["vrrp_instance ", "vrrp_script ", "global_defs"], |text| Content::Keepalived(keepalived::read(text))),
    (&["backend ", "frontend ", "listen "], |text| Content::Haproxy(haproxy::read(text))),
    (&["[Unit]", "[Service]"], |text| Content::Unit(unit::read(text))),
    (&["apiVersion:", "{"], |text| Content::Yaml(yaml::read(text))),
    (&["stream {", "upstream "], |text| Content::Nginx(nginx::read(text))),
    (&["KUBE", "ETCD_", "export "], |text| Content::Settings(settings::read(text))),
];

/// Maximum nesting of here-documents: a script that writes a script that writes a file.
const DEEPEST: usize = 4;

/// Reads a file and, if it is a script, the files that it writes.
pub(super) fn read<'a>(machine: &'a str, file: &'a File, documents: &mut Vec<Document<'a>>) {
    read_at(machine, file, (&file.path, Word::whole(&file.text)), documents, 0);
}

fn read_at<'a>(
    machine: &'a str,
    file: &'a File,
    (path, text): (&'a str, Word<'a>),
    documents: &mut Vec<Document<'a>>,
    depth: usize,
) {
    let path = TEMPLATES.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    let content = kind(path, text.text).map_or(Content::Other, |kind| kind(text));
    let commands = typed(&content, path, text);
    let written = content.script().map(|script| script.documents.clone()).unwrap_or_default();
    documents.push(Document { machine, file, path, text, content, commands });
    for document in written.into_iter().filter(|_| depth < DEEPEST) {
        if let Some(target) = document.target {
            read_at(machine, file, (target.text, document.body), documents, depth + 1);
        }
    }
}

fn kind(path: &str, text: &str) -> Option<Kind> {
    let first = |line: &str, words: &[&str]| words.iter().any(|word| line.starts_with(word));
    if text.starts_with("#!") {
        return Some(BY_TEXT[0].1);
    }
    // Distributions put a file shared by all components next to the kubeconfigs.
    if path.ends_with("/config") && text.lines().any(|line| line.starts_with("KUBE")) {
        return Some(|text| Content::Settings(settings::read(text)));
    }
    let by_path = BY_PATH.iter().find(|(ends, _)| ends.iter().any(|end| path.ends_with(end)));
    let by_directory = || BY_DIRECTORY.iter().find(|(parts, _)| parts.iter().any(|part| path.contains(part)));
    let by_drop_in = || path.contains(".service.d/").then_some(&BY_PATH[0]);
    let by_text =
        || BY_TEXT.iter().find(|(words, _)| text.lines().any(|line| first(line.trim_start(), words)));
    by_drop_in().or(by_path).or_else(by_directory).or_else(by_text).map(|(_, kind)| *kind)
}

/// Returns the commands that a file runs, if it is a script, a unit or a crontab.
fn typed<'a>(content: &Content<'a>, path: &str, text: Word<'a>) -> Vec<Command<'a>> {
    match content {
        Content::Script(script) => script.commands.clone(),
        Content::Unit(sections) => {
            let settings = sections
                .iter()
                .flat_map(|section| &section.body)
                .filter(|line| line.name().text.starts_with("Exec"));
            settings.flat_map(|setting| shell::commands(without_signs(&setting.words[1..]), None)).collect()
        }
        Content::Lines(lines) if path.contains("/cron") => {
            lines.iter().flat_map(|line| scheduled(line, path, text)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the words of a command without systemd's prefixes, such as `-` in `-/usr/sbin/iptables`.
pub(super) fn without_signs<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let sign = |word: &Word<'a>| {
        word.from(word.text.len() - word.text.trim_start_matches(['-', '@', '+', '!', ':', '|']).len())
    };
    words.first().map(sign).into_iter().chain(words.iter().skip(1).copied()).collect()
}

/// Returns the command of a crontab(5) line, which follows the schedule, and the user in a system crontab.
fn scheduled<'a>(line: &Statement<'a>, path: &str, text: Word<'a>) -> Vec<Command<'a>> {
    let schedule = if line.name().text.starts_with('@') { 1 } else { 5 };
    let user = usize::from(path.ends_with("/crontab") || path.contains("/cron.d/"));
    let (Some(first), Some(last)) = (line.words.get(schedule + user), line.words.last()) else {
        return Vec::new();
    };
    shell::read(text.part(first.at - text.at..last.at + last.text.len() - text.at)).commands
}

fn lines(text: Word<'_>) -> Vec<Statement<'_>> {
    let meant = text
        .lines()
        .map(Word::trim)
        .filter(|line| !line.text.is_empty() && !line.text.starts_with(['#', '!', ';', '%']));
    meant.map(|line| Statement::new(line.words().collect())).collect()
}

impl<'a> Content<'a> {
    pub(crate) fn keepalived(&self) -> Option<&Vec<Statement<'a>>> {
        if let Self::Keepalived(statements) = self { Some(statements) } else { None }
    }

    pub(crate) fn haproxy(&self) -> Option<&Vec<Statement<'a>>> {
        if let Self::Haproxy(statements) = self { Some(statements) } else { None }
    }

    pub(crate) fn nginx(&self) -> Option<&Vec<Statement<'a>>> {
        if let Self::Nginx(statements) = self { Some(statements) } else { None }
    }

    pub(crate) fn unit(&self) -> Option<&Vec<Statement<'a>>> {
        if let Self::Unit(statements) = self { Some(statements) } else { None }
    }

    pub(crate) fn lines(&self) -> Option<&Vec<Statement<'a>>> {
        if let Self::Lines(statements) = self { Some(statements) } else { None }
    }

    pub(crate) fn yaml(&self) -> Option<&Vec<Node<'a>>> {
        if let Self::Yaml(nodes) = self { Some(nodes) } else { None }
    }

    pub(crate) fn script(&self) -> Option<&Script<'a>> {
        if let Self::Script(script) = self { Some(script) } else { None }
    }

    pub(crate) fn settings(&self) -> Option<&Vec<Setting<'a>>> {
        if let Self::Settings(settings) = self { Some(settings) } else { None }
    }
}
