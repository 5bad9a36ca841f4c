//! Known bad practice: what could be built and would hurt. One row a lint, each with its reason and its cure.
//!
//! Identifiers are stable and never given twice. A comment in the cluster file accepts a finding: `# kiln: allow HA011 because …`.

mod allow;
mod network;
mod topology;
mod versions;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cluster::{Cluster, Role};
use crate::error::{Problem, Report, Severity};
use crate::overlay::{Overlay, Overlays};
use crate::profile::Profile;

/// One lint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Lint {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What is wrong, in general.
    pub(crate) title: &'static str,
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
    #[serde(skip)]
    check: fn(&Subject<'_>, &mut Findings),
}

/// Every lint, by identifier. HA0xx looks at networks and topology, HA2xx at versions, HA3xx at balancers, HA4xx at nodes.
pub(crate) static LINTS: &[Lint] = &[
    network::HOST_BITS,
    network::OVERLAP,
    network::PODS_PER_NODE,
    network::PODS_FOR_ALL,
    network::NODE_PORTS,
    network::PUBLIC_ADDRESS,
    network::VIP_SEGMENT,
    topology::ETCD_QUORUM,
    topology::TWO_MASTERS,
    topology::ETCD_WITH_WORK,
    topology::ENDPOINT_PORT,
    topology::ONE_BALANCER,
    topology::UNKNOWN_OVERLAY,
    versions::RUNTIME,
    versions::PROMISED,
    versions::UNTESTED,
    versions::CGROUPS,
    versions::STORE,
    topology::ROUTER_ID,
    topology::TIME,
];

/// What lints look at.
#[derive(Debug)]
struct Subject<'a> {
    profile: &'a Profile,
    cluster: &'a Cluster,
    overlays: &'a Overlays,
}

impl<'a> Subject<'a> {
    /// The overlays of all the nodes' roles that exist.
    fn chosen(&self) -> impl Iterator<Item = &'a Overlay> {
        let names: BTreeSet<&String> = self.cluster.nodes.iter().flat_map(|node| self.names(&node.roles)).collect();
        names.into_iter().filter_map(|name| self.overlays.get(name).ok())
    }

    /// The overlays of some roles.
    fn names(&self, roles: &BTreeSet<Role>) -> BTreeSet<&'a String> {
        roles.iter().filter_map(|role| self.cluster.overlays.get(role)).flatten().collect()
    }
}

/// What one lint found: the setting's path, the message, and what to do if it is not what the lint always says.
#[derive(Debug, Default)]
struct Findings(Vec<(String, String, Option<String>)>);

impl Findings {
    fn at(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push((path.into(), message.into(), None));
    }

    fn with_fix(&mut self, path: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) {
        self.0.push((path.into(), message.into(), Some(fix.into())));
    }
}

/// Runs every lint over a resolved cluster file. Accepted findings become remarks.
pub(crate) fn check(profile: &Profile, cluster: &Cluster, overlays: &Overlays) -> Report {
    let mut report = profile.report.clone();
    let subject = Subject { profile, cluster, overlays };
    for lint in LINTS {
        let mut findings = Findings::default();
        (lint.check)(&subject, &mut findings);
        report.problems.extend(findings.0.into_iter().map(|(field, message, fix)| problem(lint, profile, field, message, fix)));
    }
    allow::apply(&profile.source.text, &mut report);
    report.problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
    report
}

fn problem(lint: &Lint, profile: &Profile, field: String, message: String, fix: Option<String>) -> Problem {
    Problem {
        severity: lint.severity,
        code: Some(lint.id),
        span: profile.places.span(&field),
        field,
        message,
        hint: Some(fix.unwrap_or_else(|| lint.fix.to_owned())),
    }
}

#[cfg(test)]
mod tests;
