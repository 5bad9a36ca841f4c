//! Parsers for text files on machines: one module per format, and a position for every word. They do not
//! depend on where the files come from.

mod backends;
mod commands;
mod environment;
mod etcd;
mod flow;
mod haproxy;
mod keepalived;
mod kinds;
mod nginx;
mod origin;
mod settings;
mod shell;
mod unit;
mod view;
mod word;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::error::Source;

pub(crate) use backends::{
    BACKENDS, api_backends, checking, inherited, mode, of_server, port, seconds, servers, streams,
};
pub(crate) use commands::{Extent, Flag, Invocation};
pub(crate) use kinds::{Content, TEMPLATES};
pub(crate) use settings::Setting;
pub(crate) use shell::{Command, Script};
pub(crate) use view::{Block, Kind, View};
pub(crate) use word::{Statement, Word};
pub(crate) use yaml::Node;

/// One text file on a machine.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Path on the machine.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    /// Permission bits, if known.
    pub(crate) mode: Option<u32>,
    /// Source that a user edits to change the file: the file itself, or its template.
    pub(crate) source: Source,
}

/// A machine and its files.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) files: Vec<File>,
    /// References of the pinned container images on the machine, if known.
    pub(crate) images: Vec<String>,
}

/// Versions that the files are intended for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Kubernetes minor version: the `y` in 1.y.
    pub(crate) kubernetes: u32,
    /// etcd minor version: the `y` in 3.y.
    pub(crate) etcd: u32,
    /// Time of the check, in seconds since 1970, used to check the validity of certificates.
    pub(crate) now: u64,
}

/// A parsed file, or a here-document that a script writes to a file.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) machine: &'a str,
    pub(crate) file: &'a File,
    /// Path on the machine.
    pub(crate) path: &'a str,
    pub(crate) text: Word<'a>,
    pub(crate) content: Content<'a>,
    /// Commands that the document runs, if it is a script, unit or crontab.
    pub(crate) commands: Vec<Command<'a>>,
}

/// Every file of every machine.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    pub(crate) documents: Vec<Document<'a>>,
    pub(crate) invocations: Vec<Invocation<'a>>,
    pub(crate) target: Target,
    /// References of container images that are already on machines, pinned by digest.
    pub(crate) images: BTreeSet<&'a str>,
    /// Index range of each machine's documents.
    places: BTreeMap<&'a str, Range<usize>>,
}

impl<'a> Document<'a> {
    /// Returns the unit's name without the suffix; for a drop-in, the name of the unit that it extends.
    pub(crate) fn unit(&self) -> Option<&'a str> {
        self.content.unit()?;
        let path = self.path.split_once(".service.d/").map_or(self.path, |(unit, _)| unit);
        path.rsplit('/').next().map(|name| name.trim_end_matches(".service"))
    }

    pub(crate) fn is_drop_in(&self) -> bool {
        self.path.contains(".service.d/")
    }

    /// Checks whether this is a drop-in that resets the same unit's `ExecStart=` to start something else.
    fn replaces_start_of(&self, base: &Document<'_>) -> bool {
        let empties =
            |section: &Statement<'_>| section.all(&["ExecStart"]).any(|setting| setting.words.len() == 1);
        self.machine == base.machine
            && self.is_drop_in()
            && self.unit() == base.unit()
            && self.content.unit().is_some_and(|sections| sections.iter().any(empties))
    }
}

impl<'a> Fleet<'a> {
    pub(crate) fn read(machines: &'a [Machine], target: Target) -> Self {
        let mut documents = Vec::new();
        let mut places = BTreeMap::new();
        for machine in machines {
            let start = documents.len();
            for file in &machine.files {
                kinds::read(&machine.name, file, &mut documents);
            }
            places.insert(machine.name.as_str(), start..documents.len());
        }
        let invocations = commands::all(&documents);
        let images = machines.iter().flat_map(|machine| machine.images.iter().map(String::as_str)).collect();
        Self { documents, invocations, target, images, places }
    }

    /// Returns the documents of all machines.
    fn all(&self) -> View<'_, 'a> {
        View(&self.documents)
    }

    /// Returns the names of the machines.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &'a str> {
        self.places.keys().copied()
    }

    /// Returns the documents of one machine.
    pub(crate) fn on(&self, machine: &str) -> View<'_, 'a> {
        View(self.places.get(machine).map_or(&[], |place| &self.documents[place.clone()]))
    }

    /// Returns the blocks of one kind on all machines.
    pub(crate) fn blocks(&self, kind: Kind<'a>) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().blocks(kind)
    }

    /// Returns the top-level statements with this name in keepalived configurations.
    pub(crate) fn keepalived(&self, name: &'static str) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().keepalived(name)
    }

    /// Returns the sections with these names in HAProxy configurations.
    pub(crate) fn haproxy(&self, names: &'static [&str]) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().haproxy(names)
    }

    /// Returns the sections with this name in systemd units.
    pub(crate) fn units(&self, section: &'static str) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().units(section)
    }

    /// Returns YAML documents with the files that contain them.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&Document<'a>, &Node<'a>)> {
        self.all().manifests()
    }

    /// Returns the YAML documents of one kind.
    pub(crate) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (&Document<'a>, &Node<'a>)> {
        self.all().of_kind(kind)
    }

    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&Document<'a>, &Script<'a>)> {
        self.documents.iter().filter_map(|document| Some((document, document.content.script()?)))
    }

    /// Returns every command of every script, unit and crontab.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&Document<'a>, &Command<'a>)> {
        self.documents
            .iter()
            .flat_map(|document| document.commands.iter().map(move |command| (document, command)))
    }

    /// Returns every `key = value` line of files whose path contains `place`.
    pub(crate) fn settings(
        &self,
        place: &'static str,
    ) -> impl Iterator<Item = (&Document<'a>, &Setting<'a>)> {
        self.all().settings(place)
    }

    /// Returns the command lines of a program.
    pub(crate) fn programs(&self, name: &'static str) -> impl Iterator<Item = &Invocation<'a>> {
        self.invocations.iter().filter(move |invocation| invocation.program == name)
    }
}

/// Returns the commands in shell text, such as the value of a setting.
pub(crate) fn commands_of(text: Word<'_>) -> Vec<Command<'_>> {
    shell::read(text).commands
}

/// Returns the documents in YAML or JSON text, such as a value in a `ConfigMap`.
pub(crate) fn yaml_of(text: Word<'_>) -> Vec<Node<'_>> {
    yaml::read(text)
}

impl File {
    /// Returns the position in the source that produced `span` of the text.
    pub(crate) fn place(&self, span: Range<usize>) -> Range<usize> {
        origin::place(&self.text, &self.source.text, span)
    }
}
