//! How components are started: the flags of units, static pods, kubeadm's configuration, environment files and scripts, alike.

use super::word::Word;
use super::yaml::Node;
use super::{Content, Document};

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
    /// Whether all flags are here: nothing comes from a variable or an environment file.
    pub(crate) whole: bool,
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

    /// The parts of a flag whose value is a list.
    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        self.value(name).unwrap_or_default().split(',').filter(|part| !part.is_empty()).collect()
    }
}

/// Every command line of the documents.
pub(super) fn all<'a>(documents: &[Document<'a>]) -> Vec<Invocation<'a>> {
    let mut found = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let start = found.len();
        match &document.content {
            Content::Unit(sections) => {
                let settings = sections.iter().flat_map(|section| section.all(&["ExecStart"]));
                found.extend(settings.filter_map(|setting| of_words(&setting.words[1..])));
            }
            Content::Script(script) => found.extend(script.commands.iter().filter_map(|command| of_words(&command.words))),
            Content::Settings(settings) => found.extend(of_environment(document, settings)),
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

fn invocation<'a>(program: &'static str, word: Word<'a>, flags: Vec<Flag<'a>>, whole: bool) -> Invocation<'a> {
    Invocation { program, word, document: 0, machine: "", flags, whole }
}

fn known(word: &str) -> Option<&'static str> {
    let name = word.rsplit('/').next().unwrap_or_default().trim_start_matches(['-', '@', '+', '!', ':']);
    PROGRAMS.iter().find(|program| **program == name).copied()
}

/// A program's name and its arguments; `hyperkube kubelet` is a kubelet.
fn of_words<'a>(words: &[Word<'a>]) -> Option<Invocation<'a>> {
    let at = usize::from(words.first().is_some_and(|word| WRAPPERS.iter().any(|name| word.text.rsplit('/').next() == Some(name))));
    let program = known(words.get(at)?.text)?;
    let whole = !words[at + 1..].iter().any(|word| word.text.starts_with('$'));
    Some(invocation(program, words[at], flags(&words[at + 1..]), whole))
}

fn flags<'a>(words: &[Word<'a>]) -> Vec<Flag<'a>> {
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

/// `KUBELET_OPTS="--v=2 …"` in a file of a component's, and etcd's `ETCD_NAME=…`, each of which is a flag.
fn of_environment<'a>(document: &Document<'a>, settings: &[super::Setting<'a>]) -> Vec<Invocation<'a>> {
    let own: Vec<Flag<'a>> = settings.iter().filter_map(of_etcd).collect();
    let mut found = Vec::new();
    if let Some(first) = own.first() {
        found.push(invocation("etcd", first.word, own.clone(), true));
    }
    let stem = document.path.rsplit('/').next().unwrap_or_default();
    for setting in settings.iter().filter(|setting| setting.value.text.trim_start().starts_with("--")) {
        let name = setting.key.text.to_lowercase().replace('_', "-");
        let fits = |program: &&&str| name.starts_with(**program) || stem.starts_with(**program);
        if let Some(program) = PROGRAMS.iter().find(fits) {
            let words: Vec<Word<'a>> = setting.value.words().filter(|word| word.text != "\\").collect();
            found.push(invocation(program, setting.key, flags(&words), true));
        }
    }
    // Of several variables none has every flag.
    let parts = found.clone();
    for part in &mut found {
        part.whole = parts.iter().filter(|other| other.program == part.program).count() == 1;
    }
    found
}

fn of_etcd<'a>(setting: &super::Setting<'a>) -> Option<Flag<'a>> {
    let name = setting.key.text.strip_prefix("ETCD_")?.to_lowercase().replace('_', "-");
    Some(Flag { name, value: setting.value, word: setting.key, document: 0 })
}

/// The containers of a pod, and kubeadm's `extraArgs`.
fn of_yaml<'a>(node: &Node<'a>) -> Vec<Invocation<'a>> {
    let mut found = Vec::new();
    for containers in node.find_all("containers") {
        found.extend(containers.items().iter().filter_map(of_container));
    }
    for (path, program) in &KUBEADM {
        if let Some(arguments) = node.get(path) {
            found.push(invocation(program, arguments.word, of_arguments(arguments), false));
        }
    }
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
