//! etcd's other sources of flags: environment variables, and a YAML file.

use super::commands::{Extent, Flag, Invocation, invocation};
use super::environment::flag;
use super::settings::Setting;
use super::word::Word;
use super::yaml::Node;

/// Keys that identify an etcd configuration file.
const OWN: [&str; 4] =
    ["initial-cluster", "listen-client-urls", "listen-peer-urls", "initial-advertise-peer-urls"];
/// Sections of the file, and the prefix that their keys have as flags.
const SECTIONS: [(&str, &str); 2] = [("client-transport-security", ""), ("peer-transport-security", "peer-")];

/// Reads `ETCD_NAME=…`, and flannel's `FLANNELD_ETCD_ENDPOINTS=…`.
pub(super) fn of_environment<'a>(settings: &[Setting<'a>]) -> Vec<Invocation<'a>> {
    let of = |program, prefix| {
        let flags: Vec<Flag<'a>> = settings.iter().filter_map(|setting| flag(setting, prefix)).collect();
        flags.first().map(|first| first.word).map(|word| invocation(program, word, flags, Extent::Whole))
    };
    // flannel packages start flanneld through a script that uses a different name for the variable.
    let shortened = settings.iter().any(|setting| setting.key.text == "FLANNEL_ETCD_ENDPOINTS");
    let flannel = if shortened { of("flanneld", "FLANNEL_") } else { of("flanneld", "FLANNELD_") };
    of("etcd", "ETCD_").into_iter().chain(flannel).collect()
}

/// Reads the `--config-file` file, whose keys are flags.
pub(super) fn of_yaml<'a>(node: &Node<'a>) -> Option<Invocation<'a>> {
    let (first, _) = node.entries().iter().find(|(key, _)| OWN.contains(&key.text))?;
    let flag = |prefix: &str, key: Word<'a>, value: &Node<'a>| {
        Some(Flag { name: format!("{prefix}{}", key.text), value: value.scalar()?, word: key, document: 0 })
    };
    let mut flags: Vec<Flag<'a>> =
        node.entries().iter().filter_map(|(key, value)| flag("", *key, value)).collect();
    for (section, prefix) in SECTIONS {
        let entries = node.get(section).map(Node::entries).unwrap_or_default();
        flags.extend(entries.iter().filter_map(|(key, value)| flag(prefix, *key, value)));
    }
    Some(invocation("etcd", *first, flags, Extent::Whole))
}
