//! The text files of machines, read: one file a format, every word with its place. It does not matter here where they come from.

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

pub(crate) use backends::{BACKENDS, api_backends, checking, inherited, mode, of_server, seconds, servers, streams};
pub(crate) use commands::{Extent, Flag, Invocation};
pub(crate) use kinds::{Content, TEMPLATES};
pub(crate) use settings::Setting;
pub(crate) use shell::{Command, Script};
pub(crate) use view::{Block, Kind, View};
pub(crate) use word::{Statement, Word};
pub(crate) use yaml::Node;

/// One text file of a machine.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Where it lies on the machine.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    /// Permission bits, where they are known.
    pub(crate) mode: Option<u32>,
    /// What a person edits to change it: itself, or the template that it was rendered from.
    pub(crate) source: Source,
}

/// One machine and its files.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) files: Vec<File>,
    /// References of the container images that are on it and pinned, where that is known.
    pub(crate) images: Vec<String>,
}

/// The versions that the files are meant for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The `y` of Kubernetes 1.y.
    pub(crate) kubernetes: u32,
    /// The `y` of etcd 3.y.
    pub(crate) etcd: u32,
    /// When the files are looked at, in seconds since 1970: certificates are judged by it.
    pub(crate) now: u64,
}

/// A file that was read, or a here-document that a script writes as one.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) machine: &'a str,
    pub(crate) file: &'a File,
    /// Where it lies on the machine.
    pub(crate) path: &'a str,
    pub(crate) text: Word<'a>,
    pub(crate) content: Content<'a>,
    /// What it has run, as a script, a unit or a table of cron's.
    pub(crate) commands: Vec<Command<'a>>,
}

/// Every file of every machine.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    pub(crate) documents: Vec<Document<'a>>,
    pub(crate) invocations: Vec<Invocation<'a>>,
    pub(crate) target: Target,
    /// References of container images that are on machines already, pinned by digest.
    pub(crate) images: BTreeSet<&'a str>,
    /// Where each machine's documents are.
    places: BTreeMap<&'a str, Range<usize>>,
}

impl<'a> Document<'a> {
    /// The name of the unit that it is of, without its ending; drop-ins are of theirs.
    pub(crate) fn unit(&self) -> Option<&'a str> {
        self.content.unit()?;
        let path = self.path.split_once(".service.d/").map_or(self.path, |(unit, _)| unit);
        path.rsplit('/').next().map(|name| name.trim_end_matches(".service"))
    }

    pub(crate) fn is_drop_in(&self) -> bool {
        self.path.contains(".service.d/")
    }

    /// Whether it is a drop-in that empties `ExecStart=` of the same unit, to start something else.
    fn replaces_start_of(&self, base: &Document<'_>) -> bool {
        let empties = |section: &Statement<'_>| section.all(&["ExecStart"]).any(|setting| setting.words.len() == 1);
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

    /// Documents of all machines.
    fn all(&self) -> View<'_, 'a> {
        View(&self.documents)
    }

    /// Names of the machines.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &'a str> {
        self.places.keys().copied()
    }

    /// Documents of one machine.
    pub(crate) fn on(&self, machine: &str) -> View<'_, 'a> {
        View(self.places.get(machine).map_or(&[], |place| &self.documents[place.clone()]))
    }

    /// Blocks of one kind, of all machines.
    pub(crate) fn blocks(&self, kind: Kind<'a>) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().blocks(kind)
    }

    /// Statements on the top level of keepalived's configurations.
    pub(crate) fn keepalived(&self, name: &'static str) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().keepalived(name)
    }

    /// Sections of haproxy's configurations.
    pub(crate) fn haproxy(&self, names: &'static [&str]) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().haproxy(names)
    }

    /// Sections of systemd's units.
    pub(crate) fn units(&self, section: &'static str) -> impl Iterator<Item = Block<'_, 'a>> {
        self.all().units(section)
    }

    /// YAML documents with the files that they stand in.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&Document<'a>, &Node<'a>)> {
        self.all().manifests()
    }

    /// YAML documents of one kind.
    pub(crate) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (&Document<'a>, &Node<'a>)> {
        self.all().of_kind(kind)
    }

    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&Document<'a>, &Script<'a>)> {
        self.documents.iter().filter_map(|document| Some((document, document.content.script()?)))
    }

    /// Every command of every script, unit and table of cron's.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&Document<'a>, &Command<'a>)> {
        self.documents.iter().flat_map(|document| document.commands.iter().map(move |command| (document, command)))
    }

    /// Every `key = value` line, of files whose path holds `place`.
    pub(crate) fn settings(&self, place: &'static str) -> impl Iterator<Item = (&Document<'a>, &Setting<'a>)> {
        self.all().settings(place)
    }

    /// Command lines of a program.
    pub(crate) fn programs(&self, name: &'static str) -> impl Iterator<Item = &Invocation<'a>> {
        self.invocations.iter().filter(move |invocation| invocation.program == name)
    }
}

/// The commands of a piece of shell, such as a setting that holds one.
pub(crate) fn commands_of(text: Word<'_>) -> Vec<Command<'_>> {
    shell::read(text).commands
}

/// The documents in a piece of YAML or JSON, such as a value of a `ConfigMap`.
pub(crate) fn yaml_of(text: Word<'_>) -> Vec<Node<'_>> {
    yaml::read(text)
}

impl File {
    /// The place in the source that made `span` of the text.
    pub(crate) fn place(&self, span: Range<usize>) -> Range<usize> {
        origin::place(&self.text, &self.source.text, span)
    }
}
