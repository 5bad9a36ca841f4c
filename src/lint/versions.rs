//! What does not go together: Kubernetes, and what a suite brings of its companions. The table is `cluster::COMPANIONS`.

use crate::cluster::{Companion, Part, SUITES, Suite};
use crate::error::Severity;
use crate::lint::{Findings, Lint, Subject};

/// Each companion that a suite brings: the overlay that has it, and its name for people.
const COMPANIONS: &[(Part, &str, &str)] =
    &[(Part::Cgroups, "kubelet", "control groups"), (Part::Containerd, "containerd", "containerd"), (Part::Etcd, "etcd", "etcd")];

/// What kiln promises and only later versions of Kubernetes can do: the first minor that does, and the promise.
const PROMISES: &[(u32, &str)] = &[
    (7, "secrets are encrypted in etcd"),
    (7, "a kubelet changes no node but its own"),
    (8, "the audit log follows a policy"),
    (9, "a dead API server leaves the `kubernetes` service"),
    (10, "old TLS is refused"),
    (12, "the controller manager's metrics ask who reads them"),
    (13, "the scheduler's metrics ask who reads them"),
    (16, "balancers are told before an API server stops"),
];

const SEE: &str = "`kiln list versions` shows what goes together";

pub(super) const CGROUPS: Lint = Lint {
    id: "HA218",
    severity: Severity::Error,
    title: "the kubelet can't use the control groups of the suite",
    why: "a machine mounts either hierarchy of control groups; kubelets before 1.19 know only v1 and stop on v2, those since 1.35 the other way round",
    fix: SEE,
    check: |subject, findings| unsupported(Part::Cgroups, subject, findings),
};

pub(super) const RUNTIME: Lint = Lint {
    id: "HA219",
    severity: Severity::Error,
    title: "the kubelet and the suite's containerd speak no common CRI",
    why: "kubelets up to 1.9 speak v1alpha1, up to 1.22 v1alpha2, since 1.26 v1; containerd 1.x speaks the last two, 2.x only v1; the kubelet of another version starts no pod",
    fix: SEE,
    check: |subject, findings| unsupported(Part::Containerd, subject, findings),
};

pub(super) const STORE: Lint = Lint {
    id: "HA224",
    severity: Severity::Error,
    title: "the suite's etcd is too old for this Kubernetes",
    why: "API servers count on what etcd could do when they were released; kubeadm refuses the same combination",
    fix: SEE,
    check: |subject, findings| unsupported(Part::Etcd, subject, findings),
};

pub(super) const PROMISED: Lint = Lint {
    id: "HA226",
    severity: Severity::Warning,
    title: "this Kubernetes can't do all that kiln promises",
    why: "kiln writes for each version what that version understands; what came later it can't give to an earlier one",
    fix: "use Kubernetes 1.16 or later",
    check: |subject, findings| {
        let version = subject.cluster.kubernetes;
        let missing: Vec<String> = PROMISES
            .iter()
            .filter(|(since, _)| !version.at_least(*since))
            .map(|(since, what)| format!("{what} (since 1.{since})"))
            .collect();
        if !missing.is_empty() {
            findings.at("cluster.kubernetes", format!("Kubernetes {version} is too old for this: {}", missing.join("; ")));
        }
    },
};

pub(super) const UNTESTED: Lint = Lint {
    id: "HA227",
    severity: Severity::Warning,
    title: "the suite brings something older than this Kubernetes is made for",
    why: "it may work, but the Kubernetes project tests this version with newer ones only, and the next version may refuse it",
    fix: SEE,
    check: |subject, findings| {
        let minor = subject.cluster.kubernetes.minor;
        for (part, suite, companion, name) in brought(subject).filter(|(_, _, companion, _)| companion.span.covers(minor)) {
            if let Some(deprecated) = companion.span.deprecated.filter(|deprecated| minor >= *deprecated) {
                let message = format!(
                    "Kubernetes {} is made for something newer than {name} {} of `{}`",
                    subject.cluster.kubernetes, companion.version, suite.name
                );
                let older = format!("Kubernetes 1.{} or older", deprecated - 1);
                findings.with_fix("cluster.kubernetes", message, advice(&older, part, name, |other| other.span.is_current(minor)));
            }
        }
    },
};

/// What the suite brings that the cluster's overlays use: part, suite, row, and name for people.
fn brought<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = (Part, &'static Suite, &'static Companion, &'static str)> + 'a {
    let suite = Suite::named(&subject.cluster.base.suite);
    let used = COMPANIONS.iter().filter(|(_, overlay, _)| subject.chosen().any(|chosen| chosen.name == *overlay));
    used.filter_map(move |(part, _, name)| Some((*part, suite, suite.companion(*part)?, *name)))
}

/// Finds a companion that does not go with the cluster's Kubernetes, and says which version would.
fn unsupported(part: Part, subject: &Subject<'_>, findings: &mut Findings) {
    let version = subject.cluster.kubernetes;
    let of_part = brought(subject).filter(|(other, ..)| *other == part);
    for (_, suite, companion, name) in of_part.filter(|(_, _, companion, _)| !companion.span.covers(version.minor)) {
        let message = format!("Kubernetes {version} does not go with {name} {} of `{}`", companion.version, suite.name);
        let span = companion.span;
        let other = match span.removed {
            Some(removed) if version.minor >= removed => format!("Kubernetes 1.{} or older", removed - 1),
            _ => format!("Kubernetes 1.{} or later", span.introduced),
        };
        findings.with_fix("cluster.kubernetes", message, advice(&other, part, name, |other| other.span.covers(version.minor)));
    }
}

/// What to use instead: another Kubernetes, or the newest suite with a version of `part` that will do.
fn advice(kubernetes: &str, part: Part, name: &str, will_do: impl Fn(&Companion) -> bool) -> String {
    let brought = SUITES.iter().rev().filter_map(|suite| Some((suite.name, suite.companion(part)?)));
    match brought.into_iter().find(|(_, row)| will_do(row)) {
        Some((suite, row)) => format!("use {kubernetes}, or `suite = \"{suite}\"`, which has {name} {}", row.version),
        None => format!("use {kubernetes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{CGROUPS, RUNTIME, STORE, UNTESTED};
    use crate::cluster::{self, KubernetesVersion, SUITES};
    use crate::lint::{Findings, Lint, Subject};
    use crate::overlay::Overlays;
    use crate::profile::tests::{edited, read};

    const LINTS: [&Lint; 4] = [&CGROUPS, &RUNTIME, &STORE, &UNTESTED];

    /// What a lint says of a Kubernetes minor on a suite: the companion, as `containerd 1.7`, and the fix.
    fn told(lint: &Lint, minor: u32, suite: &str) -> Vec<(String, String)> {
        let text = edited("1.20.2", &format!("1.{minor}.0")).replacen("[cluster]", &format!("[base]\nsuite = \"{suite}\"\n[cluster]"), 1);
        let profile = read(&text);
        let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
        let mut findings = Findings::default();
        (lint.check)(&Subject { profile: &profile, cluster: &cluster, overlays: &overlays }, &mut findings);
        let one = |(_, message, fix): (String, String, Option<String>)| {
            let (before, _) = message.split_once(" of `").unwrap();
            let companion = before.rsplit_once(" with ").or_else(|| before.rsplit_once(" than ")).unwrap().1;
            (companion.to_owned(), fix.unwrap())
        };
        findings.0.into_iter().map(one).collect()
    }

    /// The first Kubernetes minor and the suite that a fix names.
    fn advised(fix: &str) -> (u32, Option<&str>) {
        let (_, minor) = fix.split_once("Kubernetes 1.").unwrap();
        (minor.split([' ', ',']).next().unwrap().parse().unwrap(), fix.split('"').nth(1))
    }

    #[test]
    fn what_a_lint_advises_it_accepts() {
        let mut seen = [0; LINTS.len()];
        for (lint, seen) in LINTS.iter().zip(&mut seen) {
            for (minor, suite) in KubernetesVersion::MINORS.flat_map(|minor| SUITES.iter().map(move |suite| (minor, suite.name))) {
                for (companion, fix) in told(lint, minor, suite) {
                    *seen += 1;
                    let (other, better) = advised(&fix);
                    let again = told(lint, other, suite);
                    assert!(
                        again.iter().all(|(same, _)| *same != companion),
                        "{}: 1.{minor} on {suite}, then 1.{other}: {again:?}",
                        lint.id
                    );
                    let name = companion.rsplit_once(' ').unwrap().0;
                    let again = better.map_or_else(Vec::new, |better| told(lint, minor, better));
                    assert!(again.iter().all(|(same, _)| !same.starts_with(name)), "{}: 1.{minor} on {suite}: {fix}: {again:?}", lint.id);
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    }
}
