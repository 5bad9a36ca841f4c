//! Lint findings in files, with each mistake reported once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::config::{Document, File, Flag, Fleet, Machine, Target, Word};
use crate::error::Source;
use crate::lint::row::Lint;

/// A lint finding in a file.
#[derive(Debug)]
pub(crate) struct Finding<'a> {
    pub(crate) lint: &'static Lint,
    /// A machine with this mistake; other machines may have the same one.
    pub(crate) machine: &'a str,
    pub(crate) path: &'a str,
    pub(crate) file: &'a File,
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

/// Collector for one lint's findings.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    lint: &'static Lint,
    findings: Vec<Finding<'a>>,
}

impl<'a> Found<'a> {
    /// Adds a finding at a word in a document.
    pub(crate) fn at(&mut self, document: &Document<'a>, word: Word<'_>, message: impl Into<String>) {
        self.findings.push(Finding {
            lint: self.lint,
            machine: document.machine,
            path: document.path,
            file: document.file,
            span: word.span(),
            message: message.into(),
        });
    }

    /// Adds a finding about a document as a whole.
    pub(crate) fn about(&mut self, document: &Document<'a>, message: impl Into<String>) {
        self.at(document, document.text.part(0..0), message);
    }

    /// Adds a finding at a command-line flag.
    pub(crate) fn flag(&mut self, flag: &Flag<'a>, fleet: &Fleet<'a>, message: impl Into<String>) {
        self.at(&fleet.documents[flag.document], flag.word, message);
    }
}

/// Runs lints on the machines' files; reports each mistake once, even if several machines share the file.
pub(crate) fn check<'a>(
    machines: &'a [Machine],
    target: Target,
    lints: &[&'static Lint],
) -> Vec<Finding<'a>> {
    let fleet = Fleet::read(machines, target);
    let mut findings: Vec<Finding<'a>> = Vec::new();
    let mut reported: BTreeMap<Place<'a>, Vec<(&'a str, String)>> = BTreeMap::new();
    for lint in lints {
        let Some(look) = lint.on_files else { continue };
        let mut found = Found { lint, findings: Vec::new() };
        look(&fleet, &mut found);
        for finding in found.findings {
            let before = reported.entry(finding.place()).or_default();
            // Skips repetitions, and the same place in a file that several machines share, where only numbers
            // may differ.
            if !before
                .iter()
                .any(|(machine, message)| *machine != finding.machine || *message == finding.message)
            {
                before.push((finding.machine, finding.message.clone()));
                findings.push(finding);
            }
        }
    }
    findings
}

/// A lint, and the place in the source where the user fixes its finding.
type Place<'a> = (&'static str, &'a Path, usize, usize);

impl<'a> Finding<'a> {
    fn place(&self) -> Place<'a> {
        let (source, span) = (&self.file.source, self.file.place(self.span.clone()));
        (self.lint.id, source.path.as_path(), span.start, span.end)
    }

    /// Returns the source that the user edits, and the range in it.
    pub(crate) fn origin(&self) -> (&Source, Range<usize>) {
        (&self.file.source, self.file.place(self.span.clone()))
    }
}
