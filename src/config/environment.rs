//! Flags in variables: environment files, and `Environment=` in units. A variable that contains flags is part
//! of a command line.

use super::commands::{Extent, Flag, Invocation, PROGRAMS, flags, invocation};
use super::settings::Setting;
use super::word::{Statement, Word};
use super::{Document, etcd};

/// Environment files that distributions do not name after programs. Findings in the file shared by all
/// components refer to one component.
const FILES: [(&str, &str); 6] = [
    ("apiserver", "kube-apiserver"),
    ("controller-manager", "kube-controller-manager"),
    ("scheduler", "kube-scheduler"),
    ("proxy", "kube-proxy"),
    ("config", "kube-controller-manager"),
    ("docker", "dockerd"),
];

/// Reads `KUBELET_OPTS="--v=2 …"` in a component's file, and etcd's `ETCD_NAME=…`, each of which is a flag.
pub(super) fn read<'a>(document: &Document<'a>, settings: &[Setting<'a>]) -> Vec<Invocation<'a>> {
    let mut found = etcd::of_environment(settings);
    let file = document.path.rsplit('/').next().unwrap_or_default();
    found.extend(settings.iter().filter_map(|setting| of_variable(setting, file)));
    // If there are several variables, none of them contains every flag.
    let programs: Vec<&str> = found.iter().map(|part| part.program).collect();
    for part in found
        .iter_mut()
        .filter(|part| programs.iter().filter(|program| **program == part.program).count() > 1)
    {
        part.extent = Extent::Part;
    }
    found
}

/// Reads `Environment="KUBELET_EXTRA_ARGS=--v=2 …"`, which `ExecStart=` may or may not use.
pub(super) fn of_unit<'a>(document: &Document<'a>, sections: &[Statement<'a>]) -> Vec<Invocation<'a>> {
    let variables = sections
        .iter()
        .flat_map(|section| section.all(&["Environment"]))
        .flat_map(|setting| &setting.words[1..]);
    let settings: Vec<Setting<'a>> = variables
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| Setting { key, value: value.unquoted() })
        .collect();
    let mut found = etcd::of_environment(&settings);
    found.extend(
        settings.iter().filter_map(|setting| of_variable(setting, document.unit().unwrap_or_default())),
    );
    found.iter_mut().for_each(|part| part.extent = Extent::Part);
    found
}

fn of_variable<'a>(setting: &Setting<'a>, file: &str) -> Option<Invocation<'a>> {
    let words: Vec<Word<'a>> = setting.value.words().filter(|word| word.text != "\\").collect();
    // `$OTHER --v=2` extends another variable.
    let open = words.first()?.text.starts_with('$');
    if !words.iter().find(|word| !word.text.starts_with('$'))?.text.starts_with("--") {
        return None;
    }
    let name = setting.key.text.to_lowercase().replace('_', "-");
    let program =
        PROGRAMS.iter().find(|program| name.starts_with(**program) || file.starts_with(**program)).copied();
    let program =
        program.or_else(|| FILES.iter().find(|(stem, _)| *stem == file).map(|(_, program)| *program))?;
    Some(invocation(program, setting.key, flags(&words), if open { Extent::Part } else { Extent::Whole }))
}

/// Converts a variable, without `prefix`, to a flag.
pub(super) fn flag<'a>(setting: &Setting<'a>, prefix: &str) -> Option<Flag<'a>> {
    let name = setting.key.text.strip_prefix(prefix)?.to_lowercase().replace('_', "-");
    Some(Flag { name, value: setting.value, word: setting.key, document: 0 })
}
