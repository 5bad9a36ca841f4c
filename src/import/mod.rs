//! From the configuration that a cluster has today to the cluster file that it means, and what is wrong with that configuration.
//!
//! Placeholders are filled in; files become facts, each with its line; facts become settings and nodes; what files say differently
//! or leave open is told.

mod balancers;
mod components;
mod directory;
mod facts;
mod inventory;
mod machines;
mod manifests;
mod nodes;
mod placeholders;
mod settings;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Fleet, Machine, Target};
use crate::error::{Problem, Report, Result, Severity};
use crate::host;
use crate::lint;
use crate::words::{Companion, KubernetesVersion, Part};
use facts::Facts;
use settings::{ROWS, Setting, Shape};

/// What was read from a directory of configuration files.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The cluster file.
    pub(crate) text: String,
    /// What is wrong with the files, and where they contradict each other.
    pub(crate) report: Report,
    /// How many files were read.
    pub(crate) files: usize,
}

/// Reads the configuration files below `directory` as a cluster file that starts from `profile`.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the directory holds no text file.
pub(crate) fn import(directory: &Path, profile: &str) -> Result<Imported> {
    let name = directory.file_name().and_then(|name| settings::label(&name.to_string_lossy()));
    let found = directory::read(directory)?;
    let mut imported = of_machines(&found.machines, profile, &name.unwrap_or_else(|| "imported".to_owned()), host::clock::now());
    imported.report.problems.extend(found.report.problems);
    Ok(imported)
}

/// As [`import`], of files that were read already.
fn of_machines(machines: &[Machine], profile: &str, name: &str, now: u64) -> Imported {
    let machines = &placeholders::fill(machines);
    let fleet = Fleet::read(machines, target(*KubernetesVersion::MINORS.end(), now));
    let facts = learn(&fleet);
    let nodes = nodes::nodes(&facts);
    Imported {
        text: write::cluster_file(&facts, &nodes, profile, name),
        report: report(machines, &facts, placeholders::open(&fleet, &facts), now),
        files: machines.iter().map(|machine| machine.files.len()).sum(),
    }
}

/// What the files say. Of what they say differently the first counts: configuration before what was typed or planned, and what was
/// written before what was filled in.
fn learn(fleet: &Fleet<'_>) -> Facts {
    let mut facts = Facts::default();
    balancers::learn(fleet, &mut facts);
    components::learn(fleet, &mut facts);
    inventory::learn(fleet, &mut facts);
    manifests::learn(fleet, &mut facts);
    machines::learn(fleet, &mut facts);
    facts.settings.sort_by_key(|fact| fact.filled);
    facts
}

/// Every lint, for the version that the files are for and for the newest, which is where an upgrade leads.
fn report(machines: &[Machine], facts: &Facts, open: Vec<Problem>, now: u64) -> Report {
    let newest = *KubernetesVersion::MINORS.end();
    let own = facts.value(Setting::Version).and_then(|version| version.parse::<KubernetesVersion>().ok());
    let minors = own.map(|version| version.minor).into_iter().chain([newest]);
    let mut problems: Vec<Problem> = Vec::new();
    let mut told = BTreeSet::new();
    for problem in minors.flat_map(|minor| lint::check_files(machines, target(minor, now))) {
        let start = problem.span.as_ref().map(|span| (span.start, span.end));
        if told.insert((problem.code, problem.field.clone(), start, problem.message.clone())) {
            problems.push(problem);
        }
    }
    let told = problems.iter().any(|problem| problem.code == Some("HA007"));
    problems.extend(open);
    problems.extend(conflicts(facts).filter(|problem| !told || problem.field != Setting::Vip.row().path()));
    let place = |problem: &Problem| {
        let path = problem.source.as_ref().map(|source| source.path.clone());
        (path, problem.span.as_ref().map_or(0, |span| span.start))
    };
    problems.sort_by_key(place);
    Report { source: None, problems }
}

/// What two files say differently.
fn conflicts(facts: &Facts) -> impl Iterator<Item = Problem> {
    ROWS.iter().filter(|row| row.shape != Shape::List).flat_map(|row| {
        let mut found = facts.of(row.setting);
        let first = found.next();
        let others = found.filter_map(move |other| Some((first?, other))).filter(|(first, other)| first.value != other.value);
        others.map(|(first, other)| Problem {
            severity: Severity::Warning,
            code: (row.setting == Setting::Vip).then_some("HA007"),
            field: row.path(),
            message: format!("`{}` is `{}` here, and `{}` in {}", row.key, other.value, first.value, first.origin),
            span: Some(other.origin.span.clone()),
            source: Some(other.origin.source.clone()),
            hint: Some(format!("the cluster file has `{}`: correct it if that is the wrong one", first.value)),
        })
    })
}

fn target(kubernetes: u32, now: u64) -> Target {
    let etcd = Companion::of(Part::Etcd, kubernetes).and_then(|version| version.split('.').nth(1)).and_then(|minor| minor.parse().ok());
    Target { kubernetes, etcd: etcd.unwrap_or_default(), now }
}
