//! The user's settings: a cluster file, merged over the defaults of the profile that it names.
//!
//! Reading does not stop at the first mistake: syntax, structure and spelling problems are collected with
//! their positions, and `cluster::resolve` continues with the rest. The structure is declared once, by the
//! types in [`document`]: editors use the JSON Schema generated from them, and [`check`] validates every file
//! against it.

mod catalog;
mod check;
mod document;
mod format;
mod merge;
mod places;
mod schema;
mod suggest;
mod syntax;

pub(crate) use catalog::{Catalog, Definition};
pub(crate) use document::{Document, MatchSection, NodeSection};
pub(crate) use format::find as format;
pub(crate) use places::Places;
pub(crate) use schema::cluster_file as schema;
pub(crate) use suggest::{closest, slip};

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::DeTable;

use crate::error::{Doing as _, Error, Kind, Problem, Report, Result, Source};
use crate::host;

/// A cluster file, as far as it could be read, with every problem found in it.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) source: Source,
    /// The user's settings, completed with the profile's defaults.
    pub(crate) document: Document,
    /// Profile that the file is based on; `None` if the file names no existing profile.
    pub(crate) definition: Option<Definition>,
    /// Syntax, structure and spelling problems.
    pub(crate) report: Report,
    pub(crate) places: Places,
    /// True if the whole file could be read: only then is a missing setting really missing.
    pub(crate) complete: bool,
}

/// Reads the cluster file at `path`; profiles are the built-in ones and the ones in `profile_directories`.
///
/// # Errors
///
/// [`Kind::Input`] if the file does not exist or a profile is malformed. Problems in the cluster file are not
/// errors yet: they are in the returned report.
pub(crate) fn load(path: &Path, profile_directories: &[PathBuf]) -> Result<Profile> {
    if !path.exists() {
        return Err(Error::new(Kind::Input, format!("there is no cluster file `{}`", path.display()))
            .hint("run `kiln init` to create one, or specify yours with `--file`"));
    }
    let text = String::from_utf8(host::fs::read(path)?).map_err(|err| {
        let line = err.as_bytes()[..err.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        Error::new(Kind::Input, format!("line {line} of `{}` is not valid UTF-8", path.display()))
            .hint("save the file as UTF-8")
    })?;
    let source = Source { path: path.to_owned(), text: text.into() };
    parse(source, &Catalog::load(profile_directories)?)
}

/// Parses the text of a cluster file.
///
/// # Errors
///
/// [`Kind::Input`] if the profile that it names is malformed.
pub(crate) fn parse(source: Source, catalog: &Catalog) -> Result<Profile> {
    let text = source.text.clone();
    let mut report = Report::about(source.clone());
    let (table, complete) = syntax::parse(&text, &mut report);
    let mut places = Places::default();
    let broken_lines: Vec<Option<usize>> =
        report.problems.iter().map(|problem| line(&text, problem)).collect();
    let table = check::check(&schema::checked::<Document>(), table, &text, &mut places, &mut report);
    // Invalid TOML may look like anything, and its line has already been reported.
    let syntax_errors = broken_lines.len();
    let mut found = report.problems.split_off(syntax_errors);
    found.retain(|problem| !broken_lines.contains(&line(&text, problem)));
    report.problems.append(&mut found);
    let definition = definition(&table, catalog, &places, &mut report)?;
    let document = match &definition {
        Some(definition) => read(with_defaults(table, definition, &mut places)?)?,
        None => read(table)?,
    };
    Ok(Profile { complete: complete && definition.is_some(), document, source, definition, report, places })
}

/// Returns the profile that a file names.
fn definition(
    table: &DeTable<'_>,
    catalog: &Catalog,
    places: &Places,
    report: &mut Report,
) -> Result<Option<Definition>> {
    let Some(name) = table.get("profile").and_then(|value| value.get_ref().as_str()) else {
        if !places.is_broken("profile") {
            let names: Vec<&str> = catalog.names().collect();
            report.error("profile", None, "the file does not name a profile").hint(format!(
                "begin the file with `profile = \"ha\"`; available profiles: {}",
                names.join(", ")
            ));
        }
        return Ok(None);
    };
    let found = catalog.get(name);
    if found.is_none() {
        let hint = match closest(name, catalog.names()) {
            Some(other) => format!("did you mean `{other}`?"),
            None => "run `kiln list profiles` to see the available profiles, or specify your own directory \
                with `--profile-dir`"
                .to_owned(),
        };
        report.error("profile", places.span("profile"), format!("unknown profile `{name}`")).hint(hint);
    }
    found.transpose()
}

/// Returns the line on which a problem begins, counted from 0.
fn line(text: &str, problem: &Problem) -> Option<usize> {
    problem.span.as_ref().map(|span| text[..span.start].matches('\n').count())
}

fn with_defaults<'text>(
    mut table: DeTable<'text>,
    definition: &'text Definition,
    places: &mut Places,
) -> Result<DeTable<'text>> {
    let origin = places.span("profile").unwrap_or_default();
    for defaults in definition.defaults()? {
        merge::under(&mut table, defaults, &origin, places);
    }
    Ok(table)
}

/// Converts a validated table to settings: everything that could fail has been reported and removed.
fn read(table: DeTable<'_>) -> Result<Document> {
    let deserializer = toml::Deserializer::from(toml::Spanned::new(0..0, table));
    Document::deserialize(deserializer)
        .doing(Kind::Internal, || "reading a cluster file that passed validation".into())
}

#[cfg(test)]
pub(crate) mod tests;
