//! Component command lines: flags in units, static pods, kubeadm's configuration, environment files and
//! scripts.

use super::kinds::without_signs;
use super::word::{Statement, Word};
use super::yaml::Node;
use super::{Content, Document, environment, etcd, shell};

/// Programs whose flags are checked by lints.
pub(crate) const PROGRAMS: [&str; 9] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "etcd",
    "flanneld",
    "dockerd",
    "kubeadm",
];

/// Programs that execute the program named by their first argument.
const WRAPPERS: [&str; 3] = ["hyperkube", "exec", "sudo"];

/// Paths of `extraArgs` in kubeadm's configuration, and the programs that they apply to.
const KUBEADM: [(&str, &str); 5] = [
    ("apiServer.extraArgs", "kube-apiserver"),
    ("controllerManager.extraArgs", "kube-controller-manager"),
    ("scheduler.extraArgs", "kube-scheduler"),
    ("etcd.local.extraArgs", "etcd"),
    ("nodeRegistration.kubeletExtraArgs", "kubelet"),
];

/// A command line, or the part of it that a file contains.
#[derive(Clone, Debug)]
pub(crate) struct Invocation<'a> {
    pub(crate) program: &'static str,
    /// Name of the program, or the word that represents it.
    pub(crate) word: Word<'a>,
    /// Index of the document that contains the command line.
    pub(crate) document: usize,
    pub(crate) machine: &'a str,
    pub(crate) flags: Vec<Flag<'a>>,
    pub(crate) extent: Extent,
}

/// Known extent of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every flag.
    Whole,
    /// Flags added to the flags that kubeadm sets itself.
    Added,
    /// Some flags: others come from a variable or an environment file.
    Part,
}

/// A flag.
#[derive(Clone, Debug)]
pub(crate) struct Flag<'a> {
    /// Name without leading dashes and with dashes in place of underscores, as in Kubernetes.
    pub(crate) name: String,
    /// Value; empty for a flag without one.
    pub(crate) value: Word<'a>,
    /// Flag as written.
    pub(crate) word: Word<'a>,
    pub(crate) document: usize,
}

impl<'a> Invocation<'a> {
    /// Returns the last flag with this name, which is the one that takes effect.
    pub(crate) fn flag(&self, name: &str) -> Option<&Flag<'a>> {
        self.flags.iter().rev().find(|flag| flag.name == name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.flag(name).map(|flag| flag.value.text)
    }

    /// Returns the elements of a flag whose value is a list; the flag may occur several times.
    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        let flags = self.flags.iter().filter(|flag| flag.name == name);
        flags.flat_map(|flag| flag.value.text.split(',')).filter(|part| !part.is_empty()).collect()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.extent == Extent::Whole
    }
}

/// Returns every command line in the documents.
pub(super) fn all<'a>(documents: &[Document<'a>]) -> Vec<Invocation<'a>> {
    let mut found = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let start = found.len();
        match &document.content {
            Content::Unit(sections) => found.extend(of_unit(document, sections, documents)),
            Content::Script(script) => {
                found.extend(script.commands.iter().filter_map(|command| of_words(&command.words)));
            }
            Content::Settings(settings) => found.extend(environment::read(document, settings)),
            Content::Yaml(nodes) => nodes.iter().for_each(|node| found.extend(of_yaml(node))),
            _ => {}
        }
        for invocation in &mut found[start..] {
            invocation.document = index;
            invocation.machine = document.machine;
            invocation.flags.iter_mut().for_each(|flag| flag.document = index);
        }
    }
    found
}

pub(super) fn invocation<'a>(
    program: &'static str,
    word: Word<'a>,
    flags: Vec<Flag<'a>>,
    extent: Extent,
) -> Invocation<'a> {
    Invocation { program, word, document: 0, machine: "", flags, extent }
}

/// Returns the command lines in a unit's `ExecStart=`, unless a drop-in replaces it, and in its environment.
fn of_unit<'a>(
    document: &Document<'a>,
    sections: &[Statement<'a>],
    documents: &[Document<'a>],
) -> Vec<Invocation<'a>> {
    let replaced = !document.is_drop_in() && documents.iter().any(|other| other.replaces_start_of(document));
    let started = sections.iter().filter(|_| !replaced).flat_map(|section| section.all(&["ExecStart"]));
    let commands = started.flat_map(|setting| shell::commands(without_signs(&setting.words[1..]), None));
    let mut found: Vec<Invocation<'a>> = commands.filter_map(|command| of_words(&command.words)).collect();
    found.extend(environment::of_unit(document, sections));
    found
}

fn known(word: &str) -> Option<&'static str> {
    let name = word.rsplit('/').next().unwrap_or_default().trim_start_matches(['-', '@', '+', '!', ':']);
    PROGRAMS.iter().find(|program| **program == name).copied()
}

/// Returns the invocation of a program and its arguments; `hyperkube kubelet` is a kubelet.
fn of_words<'a>(words: &[Word<'a>]) -> Option<Invocation<'a>> {
    let at = usize::from(
        words
            .first()
            .is_some_and(|word| WRAPPERS.iter().any(|name| word.text.rsplit('/').next() == Some(name))),
    );
    let program = known(words.get(at)?.text)?;
    // A variable or a template expression may expand to any flag.
    let open = words[at + 1..].iter().any(|word| word.text.starts_with(['$', '{']));
    Some(invocation(
        program,
        words[at],
        flags(&words[at + 1..]),
        if open { Extent::Part } else { Extent::Whole },
    ))
}

pub(super) fn flags<'a>(words: &[Word<'a>]) -> Vec<Flag<'a>> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(name) = word.text.strip_prefix('-') else { continue };
        let start = word.text.len() - name.trim_start_matches('-').len();
        let (name, value) = match word.from(start).split_once('=') {
            Some((name, value)) => (name, value.unquoted()),
            None => {
                let next = words.get(index + 1).filter(|next| !next.text.starts_with('-'));
                (word.from(start), next.copied().unwrap_or(word.from(word.text.len())))
            }
        };
        found.push(Flag { name: name.text.replace('_', "-"), value, word: *word, document: 0 });
    }
    found
}

/// Returns the command lines of a pod's containers, and of kubeadm's `extraArgs`.
fn of_yaml<'a>(node: &Node<'a>) -> Vec<Invocation<'a>> {
    let mut found = Vec::new();
    for containers in node.find_all("containers") {
        found.extend(containers.items().iter().filter_map(of_container));
    }
    for (path, program) in &KUBEADM {
        if let Some(arguments) = node.get(path) {
            found.push(invocation(program, arguments.word, of_arguments(arguments), Extent::Added));
        }
    }
    found.extend(etcd::of_yaml(node));
    found
}

fn of_container<'a>(container: &Node<'a>) -> Option<Invocation<'a>> {
    let words = |name: &str| {
        container.get(name).map(|list| list.items().iter().filter_map(Node::scalar).collect::<Vec<_>>())
    };
    let all: Vec<Word<'a>> = ["command", "args"].iter().filter_map(|name| words(name)).flatten().collect();
    of_words(&all)
}

/// Returns the flags in a map from names to values or, since v1beta4, in a list of names and values.
fn of_arguments<'a>(node: &Node<'a>) -> Vec<Flag<'a>> {
    let flag = |name: Word<'a>, value: &Node<'a>| Flag {
        name: name.text.replace('_', "-"),
        value: value.word,
        word: name,
        document: 0,
    };
    let of_map = node.entries().iter().map(|(name, value)| flag(*name, value));
    let of_list = node.items().iter().filter_map(|item| Some(flag(item.text("name")?, item.get("value")?)));
    of_map.chain(of_list).collect()
}
