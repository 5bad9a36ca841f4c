//! What lints find in files, each mistake once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::config::{Document, File, Flag, Fleet, Machine, Target, Word};
use crate::error::Source;
use crate::lint::row::Lint;

/// What one lint found in files.
#[derive(Debug)]
pub(crate) struct Finding<'a> {
    pub(crate) lint: &'static Lint,
    /// A machine that has it; others may have it too.
    pub(crate) machine: &'a str,
    pub(crate) path: &'a str,
    pub(crate) file: &'a File,
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

/// What lints found in files.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    lint: &'static Lint,
    findings: Vec<Finding<'a>>,
}

impl<'a> Found<'a> {
    /// Tells a word of a document.
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

    /// Tells a document as a whole.
    pub(crate) fn about(&mut self, document: &Document<'a>, message: impl Into<String>) {
        self.at(document, document.text.part(0..0), message);
    }

    /// Tells a flag of a command line.
    pub(crate) fn flag(&mut self, flag: &Flag<'a>, fleet: &Fleet<'a>, message: impl Into<String>) {
        self.at(&fleet.documents[flag.document], flag.word, message);
    }
}

/// Runs lints over the files of machines; each mistake is told once, however many machines share the file that it stands in.
pub(crate) fn check<'a>(machines: &'a [Machine], target: Target, lints: &[&'static Lint]) -> Vec<Finding<'a>> {
    let fleet = Fleet::read(machines, target);
    let mut findings: Vec<Finding<'a>> = Vec::new();
    let mut told: BTreeMap<Place<'a>, Vec<(&'a str, String)>> = BTreeMap::new();
    for lint in lints {
        let Some(look) = lint.on_files else { continue };
        let mut found = Found { lint, findings: Vec::new() };
        look(&fleet, &mut found);
        for finding in found.findings {
            let before = told.entry(finding.place()).or_default();
            // One mistake is said twice, or in a file that machines share, where it may be said with other numbers.
            if !before.iter().any(|(machine, message)| *machine != finding.machine || *message == finding.message) {
                before.push((finding.machine, finding.message.clone()));
                findings.push(finding);
            }
        }
    }
    findings
}

/// The lint, and where a person corrects what it found.
type Place<'a> = (&'static str, &'a Path, usize, usize);

impl<'a> Finding<'a> {
    fn place(&self) -> Place<'a> {
        let (source, span) = (&self.file.source, self.file.place(self.span.clone()));
        (self.lint.id, source.path.as_path(), span.start, span.end)
    }

    /// The text that a person edits, and the place in it.
    pub(crate) fn origin(&self) -> (&Source, Range<usize>) {
        (&self.file.source, self.file.place(self.span.clone()))
    }
}
