//! Known bad practice: what could be built and would hurt. One row a lint, each with its reason and its cure.
//!
//! Identifiers are stable and never given twice. A comment in the cluster file accepts a finding: `# kiln: allow HA011 because …`.
//! Some lints look at the resolved cluster, some at the files that nodes get, some at both.

mod addons;
mod allow;
mod balancer;
mod balancers;
mod certificates;
mod check_script;
mod endpoint;
mod flags;
mod found;
mod keepalived;
mod listen;
mod network;
mod node;
mod pods;
mod row;
mod secrets;
mod segment;
mod subject;
mod topology;
mod units;
mod versions;
mod vocabulary;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::cluster::Cluster;
use crate::config::{Machine, Target};
use crate::error::{Problem, Report};
use crate::overlay::Overlays;
use crate::profile::Profile;
use crate::segment::Finding;

pub(crate) use row::Lint;
use subject::{Findings, Subject};
pub(crate) use vocabulary::{host, vips};

/// The families: HA0xx are networks and topology, HA1xx keys and certificates, HA2xx components and versions, HA3xx balancers,
/// HA4xx the machine below.
static FAMILIES: &[&[Lint]] = &[
    network::ROWS,
    topology::ROWS,
    versions::ROWS,
    check_script::ROWS,
    keepalived::ROWS,
    balancers::ROWS,
    pods::ROWS,
    secrets::ROWS,
    units::ROWS,
    addons::ROWS,
    endpoint::ROWS,
    segment::ROWS,
    certificates::ROWS,
];

/// Every lint, by identifier.
pub(crate) static LINTS: LazyLock<Vec<&'static Lint>> = LazyLock::new(|| {
    let mut lints: Vec<&Lint> =
        FAMILIES.iter().chain(flags::FAMILIES).chain(balancer::FAMILIES).chain(node::FAMILIES).flat_map(|family| family.iter()).collect();
    lints.sort_by_key(|lint| lint.id);
    lints
});

/// What follows in files from a finding of the cluster file: a machine that carries the VIP alone has no peers to name.
const FOLLOWING: [(&str, &str); 1] = [("HA015", "HA313")];

/// Runs every lint over a resolved cluster file and the files that its nodes get. Accepted findings become remarks.
pub(crate) fn check(profile: &Profile, cluster: &Cluster, overlays: &Overlays, machines: &[Machine], target: Target) -> Report {
    let mut report = profile.report.clone();
    let subject = Subject { profile, cluster, overlays };
    for lint in LINTS.iter() {
        let mut findings = Findings::default();
        if let Some(look) = lint.on_cluster {
            look(&subject, &mut findings);
        }
        report.problems.extend(findings.0.into_iter().map(|(field, message, fix)| problem(lint, profile, field, message, fix)));
    }
    // What the cluster file shows is not told again for the files that follow from it.
    let mut told: BTreeSet<_> = report.problems.iter().filter_map(|problem| problem.code).collect();
    told.extend(FOLLOWING.iter().filter(|(cause, _)| told.contains(cause)).map(|(_, effect)| *effect).collect::<Vec<_>>());
    let of_files = check_files(machines, target).into_iter();
    report.problems.extend(of_files.filter(|problem| !problem.code.is_some_and(|code| told.contains(code))));
    allow::apply(&profile.source.text, &mut report);
    report.problems.sort_by_key(|problem| {
        let file = problem.source.as_ref().map(|source| source.path.clone());
        (file, problem.span.as_ref().map_or(0, |span| span.start))
    });
    report
}

/// Runs every lint over files, wherever they come from: each problem with the file and the line that a person would edit.
pub(crate) fn check_files(machines: &[Machine], target: Target) -> Vec<Problem> {
    let findings = found::check(machines, target, &LINTS);
    let one = |finding: found::Finding<'_>| {
        let (source, span) = finding.origin();
        Problem {
            severity: finding.lint.severity,
            code: Some(finding.lint.id),
            field: format!("{}:{}", finding.machine, finding.path),
            span: Some(span),
            source: Some(source.clone()),
            message: finding.message,
            hint: Some(finding.lint.fix.to_owned()),
        }
    };
    findings.into_iter().map(one).collect()
}

/// What a look at the segment found, as problems of the cluster file that has to change.
pub(crate) fn check_segment(profile: &Profile, findings: &[Finding]) -> Vec<Problem> {
    let one = |finding: &Finding| {
        let lint = LINTS.iter().find(|lint| lint.on_segment == Some(finding.about)).expect("every subject has its lint");
        problem(lint, profile, segment::field(finding.about).into(), finding.message.clone(), Some(finding.fix.clone()))
    };
    let mut problems = findings.iter().map(one).collect::<Vec<_>>();
    allow::accept(&profile.source.text, &mut problems);
    problems
}

fn problem(lint: &Lint, profile: &Profile, field: String, message: String, fix: Option<String>) -> Problem {
    Problem {
        severity: lint.severity,
        code: Some(lint.id),
        span: profile.places.span(&field),
        source: None,
        field,
        message,
        hint: Some(fix.unwrap_or_else(|| lint.fix.to_owned())),
    }
}

#[cfg(test)]
pub(crate) mod tests;
