//! How components are started: the flags of units, static pods, kubeadm's configuration, environment files and scripts, alike.

use super::kinds::without_signs;
use super::word::{Statement, Word};
use super::yaml::Node;
use super::{Content, Document, environment, etcd, shell};

/// Programs whose flags lints know.
pub(crate) const PROGRAMS: [&str; 9] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "etcd", "flanneld", "dockerd", "kubeadm"];

/// Programs that become the one that their first argument names.
const WRAPPERS: [&str; 3] = ["hyperkube", "exec", "sudo"];

/// Keys of kubeadm's configuration and the programs whose `extraArgs` stand below them.
const KUBEADM: [(&str, &str); 5] = [
    ("apiServer.extraArgs", "kube-apiserver"),
    ("controllerManager.extraArgs", "kube-controller-manager"),
    ("scheduler.extraArgs", "kube-scheduler"),
    ("etcd.local.extraArgs", "etcd"),
    ("nodeRegistration.kubeletExtraArgs", "kubelet"),
];

/// One command line, or the part of one that a file holds.
#[derive(Clone, Debug)]
pub(crate) struct Invocation<'a> {
    pub(crate) program: &'static str,
    /// The program's name, or what stands for it.
    pub(crate) word: Word<'a>,
    /// Index of the document that it stands in.
    pub(crate) document: usize,
    pub(crate) machine: &'a str,
    pub(crate) flags: Vec<Flag<'a>>,
    pub(crate) extent: Extent,
}

/// How much of a command line is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every flag.
    Whole,
    /// What is added to kubeadm's own flags.
    Added,
    /// Some flags: more come from a variable or an environment file.
    Part,
}

/// One flag.
#[derive(Clone, Debug)]
pub(crate) struct Flag<'a> {
    /// Without dashes; underscores are dashes, as Kubernetes reads them.
    pub(crate) name: String,
    /// Empty for a flag without a value.
    pub(crate) value: Word<'a>,
    /// The flag as it is written.
    pub(crate) word: Word<'a>,
    pub(crate) document: usize,
}

impl<'a> Invocation<'a> {
    /// The last flag of this name, which is the one that counts.
    pub(crate) fn flag(&self, name: &str) -> Option<&Flag<'a>> {
        self.flags.iter().rev().find(|flag| flag.name == name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.flag(name).map(|flag| flag.value.text)
    }

    /// The parts of a flag whose value is a list, which may also be given several times.
    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        let flags = self.flags.iter().filter(|flag| flag.name == name);
        flags.flat_map(|flag| flag.value.text.split(',')).filter(|part| !part.is_empty()).collect()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.extent == Extent::Whole
    }
}

/// Every command line of the documents.
pub(super) fn all<'a>(documents: &[Document<'a>]) -> Vec<Invocation<'a>> {
    let mut found = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let start = found.len();
        match &document.content {
            Content::Unit(sections) => found.extend(of_unit(document, sections, documents)),
            Content::Script(script) => found.extend(script.commands.iter().filter_map(|command| of_words(&command.words))),
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

pub(super) fn invocation<'a>(program: &'static str, word: Word<'a>, flags: Vec<Flag<'a>>, extent: Extent) -> Invocation<'a> {
    Invocation { program, word, document: 0, machine: "", flags, extent }
}

/// What a unit starts, and what it puts into the environment of that; a drop-in may have started it otherwise.
fn of_unit<'a>(document: &Document<'a>, sections: &[Statement<'a>], documents: &[Document<'a>]) -> Vec<Invocation<'a>> {
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

/// A program's name and its arguments; `hyperkube kubelet` is a kubelet.
fn of_words<'a>(words: &[Word<'a>]) -> Option<Invocation<'a>> {
    let at = usize::from(words.first().is_some_and(|word| WRAPPERS.iter().any(|name| word.text.rsplit('/').next() == Some(name))));
    let program = known(words.get(at)?.text)?;
    // A variable, or an expression of a template, may stand for any flag.
    let open = words[at + 1..].iter().any(|word| word.text.starts_with(['$', '{']));
    Some(invocation(program, words[at], flags(&words[at + 1..]), if open { Extent::Part } else { Extent::Whole }))
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

/// The containers of a pod, and kubeadm's `extraArgs`.
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
    let words = |name: &str| container.get(name).map(|list| list.items().iter().filter_map(Node::scalar).collect::<Vec<_>>());
    let all: Vec<Word<'a>> = ["command", "args"].iter().filter_map(|name| words(name)).flatten().collect();
    of_words(&all)
}

/// A map of names and values, or since v1beta4 a list of both.
fn of_arguments<'a>(node: &Node<'a>) -> Vec<Flag<'a>> {
    let flag = |name: Word<'a>, value: &Node<'a>| Flag { name: name.text.replace('_', "-"), value: value.word, word: name, document: 0 };
    let of_map = node.entries().iter().map(|(name, value)| flag(*name, value));
    let of_list = node.items().iter().filter_map(|item| Some(flag(item.text("name")?, item.get("value")?)));
    of_map.chain(of_list).collect()
}
