//! Compatibility of Kubernetes with the components from a suite or the cluster file, and the versions to use
//! instead.

use crate::lint::subject::{Findings, Subject};
use crate::words::{Companion, Component, SUITES, Suite};

/// Companions in a suite: the component, the overlay that uses it, and its display name.
const COMPANIONS: &[(Component, &str, &str)] = &[
    (Component::Cgroups, "kubelet", "cgroup"),
    (Component::Containerd, "containerd", "containerd"),
    (Component::Docker, "docker", "Docker"),
    (Component::Etcd, "etcd", "etcd"),
];

/// Setting that the findings point to.
pub(super) const VERSION: &str = "cluster.kubernetes";

/// A companion that the cluster's overlays use.
struct Brought {
    companion: &'static Companion,
    /// Its display name.
    name: &'static str,
    /// Its source: the suite, or the cluster file table that sets its version.
    by: String,
    /// The setting to change.
    field: &'static str,
}

fn brought(part: Component, subject: &Subject<'_>) -> Option<Brought> {
    let (_, overlay, name) = COMPANIONS.iter().find(|(other, ..)| *other == part)?;
    let cluster = subject.cluster;
    if !subject.chosen().any(|chosen| chosen.name == *overlay) {
        return None;
    }
    if let Some(own) = cluster.etcd.filter(|_| part == Component::Etcd) {
        return Some(Brought {
            companion: own.companion()?,
            name,
            by: "[etcd]".to_owned(),
            field: "etcd.version",
        });
    }
    // With Docker, the kubelet does not use containerd.
    if part == Component::Containerd && cluster.runtime.kind().part != part {
        return None;
    }
    let suite = Suite::named(&cluster.base.suite);
    let companion = match part {
        Component::Cgroups => Companion::find(part, cluster.base.cgroups.name())?,
        _ => suite.companion(part)?,
    };
    Some(Brought { companion, name, by: suite.name.to_owned(), field: VERSION })
}

/// Reports a companion that is not compatible with the cluster's Kubernetes version, and suggests compatible
/// ones.
pub(super) fn unsupported(part: Component, subject: &Subject<'_>, findings: &mut Findings) {
    let version = subject.cluster.kubernetes;
    let Some(brought) = brought(part, subject) else { return };
    let span = brought.companion.span;
    if span.covers(version.minor) {
        return;
    }
    let other = match span.removed {
        Some(removed) if version.minor >= removed => format!("Kubernetes 1.{} or older", removed - 1),
        _ => format!("Kubernetes 1.{} or later", span.introduced),
    };
    let suite = Suite::named(&subject.cluster.base.suite);
    let message = format!(
        "Kubernetes {version} is not compatible with {} {} from `{}`",
        brought.name, brought.companion.version, brought.by
    );
    let advice = || advice(&other, part, &brought, version.minor, |other| other.span.covers(version.minor));
    let fix = match setting(part, subject, suite) {
        // The suite supports both versions.
        Some(setting) if part == Component::Cgroups => format!("use {other}, or {setting}"),
        Some(setting) => format!("{}, or {setting}", advice()),
        None => advice(),
    };
    findings.with_fix(brought.field, message, fix);
}

/// Returns a cluster file setting that makes the same suite and Kubernetes version compatible.
fn setting(part: Component, subject: &Subject<'_>, suite: &Suite) -> Option<String> {
    let (version, runtime) = (subject.cluster.kubernetes, subject.cluster.runtime.kind());
    if part == Component::Cgroups {
        let other = suite.all(part).find(|row| row.span.covers(version.minor))?;
        return Some(format!("`cgroups = \"{}\"` in `[base]`", other.version));
    }
    let other = (runtime.part == part).then(|| runtime.instead(version, suite))??;
    Some(format!("`runtime = \"{}\"` in `[cluster]`", other.name))
}

/// Reports a companion that works with the cluster's Kubernetes version but is older than expected.
pub(super) fn outdated(part: Component, subject: &Subject<'_>, findings: &mut Findings) {
    let version = subject.cluster.kubernetes;
    let Some(brought) = brought(part, subject) else { return };
    let span = brought.companion.span;
    let Some(deprecated) =
        span.deprecated.filter(|deprecated| version.minor >= *deprecated && span.covers(version.minor))
    else {
        return;
    };
    let other = format!("Kubernetes 1.{} or older", deprecated - 1);
    let message = format!(
        "Kubernetes {version} expects something newer than {} {} from `{}`",
        brought.name, brought.companion.version, brought.by
    );
    let fix = advice(&other, part, &brought, version.minor, |other| other.span.is_current(version.minor));
    findings.with_fix(brought.field, message, fix);
}

/// Returns the alternatives: another Kubernetes version, or another version of `part` from the newest
/// suitable suite.
fn advice(
    kubernetes: &str,
    part: Component,
    now: &Brought,
    minor: u32,
    will_do: impl Fn(&Companion) -> bool,
) -> String {
    let name = now.name;
    if let Some(better) = Companion::of(part, minor).filter(|_| now.field != VERSION) {
        return format!("use {kubernetes}, or {name} {better}");
    }
    let mut suites = SUITES.iter().rev().flat_map(|suite| suite.all(part).map(move |row| (suite.name, row)));
    match suites.find(|(_, row)| will_do(row)) {
        Some((suite, row)) => {
            format!("use {kubernetes}, or `suite = \"{suite}\"`, which has {name} {}", row.version)
        }
        None => format!("use {kubernetes}"),
    }
}
