//! Lints: configurations that build but cause problems in operation. Each lint is a row with a reason and a
//! fix.
//!
//! Identifiers are stable and never reused. A comment in the cluster file accepts a finding:
//! `# kiln: allow HA011 because …`.
//! Some lints check the resolved cluster, some the nodes' files, some both, and some the network segment.

mod addons;
mod allow;
mod balancer;
mod balancers;
mod certificates;
mod check_script;
mod companions;
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

/// Lint families: HA0xx networks and topology, HA1xx keys and certificates, HA2xx components and
/// versions, HA3xx balancers, HA4xx the machine itself.
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

/// Every lint, sorted by identifier.
pub(crate) static LINTS: LazyLock<Vec<&'static Lint>> = LazyLock::new(|| {
    let mut lints: Vec<&Lint> = FAMILIES
        .iter()
        .chain(flags::FAMILIES)
        .chain(balancer::FAMILIES)
        .chain(node::FAMILIES)
        .flat_map(|family| family.iter())
        .collect();
    lints.sort_by_key(|lint| lint.id);
    lints
});

/// Lints on files that follow from a lint on the cluster file: a single VIP holder has no peers to list.
const FOLLOWING: [(&str, &str); 1] = [("HA015", "HA313")];

/// Runs every lint on a resolved cluster file and its nodes' files. Accepted findings become infos.
pub(crate) fn check(
    profile: &Profile,
    cluster: &Cluster,
    overlays: &Overlays,
    machines: &[Machine],
    target: Target,
) -> Report {
    let mut report = profile.report.clone();
    let subject = Subject { profile, cluster, overlays };
    for lint in LINTS.iter() {
        let mut findings = Findings::default();
        if let Some(look) = lint.on_cluster {
            look(&subject, &mut findings);
        }
        report.problems.extend(
            findings.0.into_iter().map(|(field, message, fix)| problem(lint, profile, field, message, fix)),
        );
    }
    // A finding in the cluster file is not reported again for the files rendered from it.
    let mut reported: BTreeSet<_> = report.problems.iter().filter_map(|problem| problem.code).collect();
    reported.extend(
        FOLLOWING
            .iter()
            .filter(|(cause, _)| reported.contains(cause))
            .map(|(_, effect)| *effect)
            .collect::<Vec<_>>(),
    );
    let of_files = check_files(machines, target).into_iter();
    report
        .problems
        .extend(of_files.filter(|problem| !problem.code.is_some_and(|code| reported.contains(code))));
    allow::apply(&profile.source.text, &mut report);
    report.problems.sort_by_key(|problem| {
        let file = problem.source.as_ref().map(|source| source.path.clone());
        (file, problem.span.as_ref().map_or(0, |span| span.start))
    });
    report
}

/// Runs every lint on files of any origin; each problem names the file and line to edit.
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

/// Converts findings on the segment to problems in the cluster file, where they can be fixed.
pub(crate) fn check_segment(profile: &Profile, findings: &[Finding]) -> Vec<Problem> {
    let one = |finding: &Finding| {
        let lint = LINTS
            .iter()
            .find(|lint| lint.on_segment == Some(finding.about))
            .expect("every segment property has a lint");
        problem(
            lint,
            profile,
            segment::field(finding.about).into(),
            finding.message.clone(),
            Some(finding.fix.clone()),
        )
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
