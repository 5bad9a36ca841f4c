//! Conversion of a cluster's existing configuration to a cluster file, with a report of that configuration's
//! problems.
//!
//! Placeholders are filled in; files become facts, each with its line; facts become settings and nodes;
//! contradictions and gaps are reported.

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
use crate::words::{Companion, Component, KubernetesVersion};
use facts::Facts;
use settings::{ROWS, Setting, Shape};

/// Result of importing a directory of configuration files.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The cluster file.
    pub(crate) text: String,
    /// Problems in the files, and contradictions between them.
    pub(crate) report: Report,
    /// Number of files read.
    pub(crate) files: usize,
}

/// Converts the configuration files below `directory` to a cluster file based on `profile`.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the directory contains no text files.
pub(crate) fn import(directory: &Path, profile: &str) -> Result<Imported> {
    let name = directory.file_name().and_then(|name| settings::label(&name.to_string_lossy()));
    let found = directory::read(directory)?;
    let mut imported = of_machines(
        &found.machines,
        profile,
        &name.unwrap_or_else(|| "imported".to_owned()),
        host::clock::now(),
    );
    imported.report.problems.extend(found.report.problems);
    Ok(imported)
}

/// Imports files that have already been read; otherwise the same as [`import`].
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

/// Returns the facts in the files. If facts contradict each other, the first one is used: configuration
/// precedes recorded commands and plans, and values written in a file precede values that replaced a
/// placeholder.
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

/// Runs every lint, both for the Kubernetes version of the files and for the newest one, to prepare for an
/// upgrade.
fn report(machines: &[Machine], facts: &Facts, open: Vec<Problem>, now: u64) -> Report {
    let newest = *KubernetesVersion::MINORS.end();
    let own = facts.value(Setting::Version).and_then(|version| version.parse::<KubernetesVersion>().ok());
    let minors = own.map(|version| version.minor).into_iter().chain([newest]);
    let mut problems: Vec<Problem> = Vec::new();
    let mut reported = BTreeSet::new();
    for problem in minors.flat_map(|minor| lint::check_files(machines, target(minor, now))) {
        let start = problem.span.as_ref().map(|span| (span.start, span.end));
        if reported.insert((problem.code, problem.field.clone(), start, problem.message.clone())) {
            problems.push(problem);
        }
    }
    let reported = problems.iter().any(|problem| problem.code == Some("HA007"));
    problems.extend(open);
    problems
        .extend(conflicts(facts).filter(|problem| !reported || problem.field != Setting::Vip.row().path()));
    let place = |problem: &Problem| {
        let path = problem.source.as_ref().map(|source| source.path.clone());
        (path, problem.span.as_ref().map_or(0, |span| span.start))
    };
    problems.sort_by_key(place);
    Report { source: None, problems }
}

/// Returns the contradictions between files.
fn conflicts(facts: &Facts) -> impl Iterator<Item = Problem> {
    ROWS.iter().filter(|row| row.shape != Shape::List).flat_map(|row| {
        let mut found = facts.of(row.setting);
        let first = found.next();
        let others = found
            .filter_map(move |other| Some((first?, other)))
            .filter(|(first, other)| first.value != other.value);
        others.map(|(first, other)| Problem {
            severity: Severity::Warning,
            code: (row.setting == Setting::Vip).then_some("HA007"),
            field: row.path(),
            message: format!(
                "`{}` is `{}` here, but `{}` in {}",
                row.key, other.value, first.value, first.origin
            ),
            span: Some(other.origin.span.clone()),
            source: Some(other.origin.source.clone()),
            hint: Some(format!(
                "the cluster file uses `{}`; change the setting there if that value is wrong",
                first.value
            )),
        })
    })
}

fn target(kubernetes: u32, now: u64) -> Target {
    let etcd = Companion::of(Component::Etcd, kubernetes)
        .and_then(|version| version.split('.').nth(1))
        .and_then(|minor| minor.parse().ok());
    Target { kubernetes, etcd: etcd.unwrap_or_default(), now }
}
