//! What does not go together: Kubernetes, and what a suite brings of its companions. The table is `cluster::COMPANIONS`.

use crate::lint::Lint;
use crate::lint::flags::runtime;
use crate::lint::subject::{Findings, Subject};
use crate::words::{Companion, Part, Runtime, STOCK, SUITES, Suite, too_old};

/// Each companion that a suite brings: the overlay that has it, and its name for people.
const COMPANIONS: &[(Part, &str, &str)] = &[
    (Part::Cgroups, "kubelet", "control groups"),
    (Part::Containerd, "containerd", "containerd"),
    (Part::Docker, "docker", "Docker"),
    (Part::Etcd, "etcd", "etcd"),
];

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

/// The first minor whose kubeadm has `kubeadm init phase`.
const PHASES: u32 = 13;

/// The setting that the findings are about.
const VERSION: &str = "cluster.kubernetes";
const SEE: &str = "`kiln list versions` shows what goes together";

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA219", "the kubelet and the suite's containerd speak no common CRI")
        .why("kubelets up to 1.9 speak v1alpha1, up to 1.22 v1alpha2, since 1.26 v1; containerd 1.x speaks the last two, 2.x only v1; the kubelet of another version starts no pod")
        .fix(SEE)
        .files(runtime)
        .cluster(|subject, findings| unsupported(Part::Containerd, subject, findings)),
    Lint::warning("HA226", "this Kubernetes can't do all that kiln promises")
        .why("kiln writes for each version what that version understands; what came later it can't give to an earlier one")
        .fix("use Kubernetes 1.16 or later")
        .cluster(|subject, findings| {
        let version = subject.cluster.kubernetes;
        let missing: Vec<String> = PROMISES
            .iter()
            .filter(|(since, _)| !version.at_least(*since))
            .map(|(since, what)| format!("{what} (since 1.{since})"))
            .collect();
        if !missing.is_empty() {
            findings.at(VERSION, format!("Kubernetes {version} is too old for this: {}", missing.join("; ")));
        }
    }),
    Lint::warning("HA227", "the suite's containerd is older than this Kubernetes is made for")
        .why("it may work, but Kubernetes and containerd test this version with newer ones only, and the next version may refuse it")
        .fix(SEE)
        .cluster(|subject, findings| outdated(Part::Containerd, subject, findings)),
    Lint::error("HA228", "the kubelet can't use the control groups of the suite")
        .why("a machine mounts either hierarchy of control groups; kubelets before 1.19 know only v1 and stop on v2, those since 1.35 the other way round")
        .fix("use `suite = \"bookworm\"` or `cgroups` in `[base]`; `kiln list versions` shows what goes together")
        .cluster(|subject, findings| unsupported(Part::Cgroups, subject, findings)),
    Lint::error("HA229", "etcd is too old for this Kubernetes")
        .why("API servers count on what etcd could do when they were released; kubeadm refuses the same combination")
        .fix(SEE)
        .cluster(|subject, findings| unsupported(Part::Etcd, subject, findings)),
    Lint::error("HA230", "kubeadm of this version can't be driven in phases")
        .why("a node of the profile `kubeadm` runs phases of `kubeadm init` at each boot; before 1.13 there are none, and their configuration has another shape")
        .fix("use Kubernetes 1.13 or later, or the profile `ha`, which has every version")
        .cluster(|subject, findings| {
        let version = subject.cluster.kubernetes;
        if !version.at_least(PHASES) && subject.chosen().any(|overlay| overlay.name == "kubeadm") {
            findings.at(VERSION, format!("kubeadm {version} has no phases (since 1.{PHASES})"));
        }
    }),
    Lint::error("HA231", "the kubelet and the suite's Docker do not speak to each other")
        .why("kubelets have a shim for Docker up to 1.23, and it reads what Docker's API has up to 1.43; a kubelet without its runtime starts no pod")
        .fix(SEE)
        .cluster(|subject, findings| unsupported(Part::Docker, subject, findings)),
    Lint::error("HA232", "Docker can't be given an image by its digest")
        .why("it takes a digest from the registry that it pulled from and from nobody else: a pod that names one looks for a registry although its image is there")
        .fix("name the image by its tag alone: the lock pins its digest all the same")
        .cluster(images_by_digest),
    Lint::error("HA233", "no image can be made of this suite")
        .why("an image opens its root and finds its state with systemd-cryptsetup, systemd-repart and an initrd of systemd, which Debian has complete since trixie")
        .fix("use stock images of the suite, `formats = [\"cloud-init\"]` in `[outputs]`, or `suite = \"trixie\"`")
        .cluster(|subject, findings| {
            let suite = Suite::named(&subject.cluster.base.suite);
            if let Some(format) = subject.cluster.outputs.iter().find(|format| !suite.images && *format != STOCK) {
                findings.at("base.suite", format!("`{format}` can't be made of `{}`", suite.name));
            }
        }),
    Lint::error("HA234", "the image of a balancer is too old for its configuration")
        .why("the configuration has words that such a version does not know: the pod starts again and again, and the VIP stays where nothing answers")
        .fix("name a newer image")
        .cluster(old_balancers),
];

fn old_balancers(subject: &Subject<'_>, findings: &mut Findings) {
    for (program, image) in &subject.cluster.endpoint.images {
        let program = program.replace('_', "-");
        if let Some(least) = too_old(&program, image) {
            findings
                .at(format!("endpoint.images.{program}"), format!("`{image}` is older than {least}, for which kiln configures {program}"));
        }
    }
}

/// Images that the cluster file may name for the project's: what they are, the setting, and what overlays call them.
const OWN_IMAGES: &[(Part, &str, &str)] = &[
    (Part::Pause, "cluster.images.pause", "computed.sandbox_image"),
    (Part::Dns, "cluster.images.coredns", "computed.dns_image"),
    (Part::Flannel, "cluster.images.flannel", "computed.flannel.program"),
    (Part::FlannelPlugin, "cluster.images.flannel-cni-plugin", "computed.flannel.plugin"),
];

/// Images of pods that bring no registry with them.
fn images_by_digest(subject: &Subject<'_>, findings: &mut Findings) {
    let cluster = subject.cluster;
    if cluster.runtime != Runtime::Docker || !subject.chosen().any(|overlay| overlay.name == "preload") {
        return;
    }
    let held = |name: &str| subject.chosen().any(|overlay| overlay.manifest.images.iter().any(|image| image.contains(&format!("{name} "))));
    let of_endpoint = cluster.endpoint.images.iter().map(|(program, image)| {
        (format!("endpoint.images.{}", program.replace('_', "-")), format!("cluster.endpoint.images.{program}"), image)
    });
    let own = OWN_IMAGES
        .iter()
        .filter_map(|(part, setting, name)| Some(((*setting).to_owned(), (*name).to_owned(), cluster.own_images.get(part)?)));
    for (setting, _, image) in of_endpoint.chain(own).filter(|(_, name, image)| image.contains('@') && held(name)) {
        findings.at(setting, format!("`{image}` names a digest"));
    }
}

/// A companion that the cluster's overlays use.
struct Brought {
    companion: &'static Companion,
    /// Its name for people.
    name: &'static str,
    /// What it is of: the suite, or the table of the cluster file that names its version.
    by: String,
    /// The setting to change.
    field: &'static str,
}

fn brought(part: Part, subject: &Subject<'_>) -> Option<Brought> {
    let (_, overlay, name) = COMPANIONS.iter().find(|(other, ..)| *other == part)?;
    let cluster = subject.cluster;
    if !subject.chosen().any(|chosen| chosen.name == *overlay) {
        return None;
    }
    if let Some(own) = cluster.etcd.filter(|_| part == Part::Etcd) {
        return Some(Brought { companion: own.companion()?, name, by: "[etcd]".to_owned(), field: "etcd.version" });
    }
    // Below Docker, containerd answers no kubelet.
    if part == Part::Containerd && cluster.runtime.kind().part != part {
        return None;
    }
    let suite = Suite::named(&cluster.base.suite);
    let companion = match part {
        Part::Cgroups => Companion::find(part, cluster.base.cgroups.name())?,
        _ => suite.companion(part)?,
    };
    Some(Brought { companion, name, by: suite.name.to_owned(), field: VERSION })
}

/// Finds a companion that does not go with the cluster's Kubernetes, and says which version would.
fn unsupported(part: Part, subject: &Subject<'_>, findings: &mut Findings) {
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
    let message = format!("Kubernetes {version} does not go with {} {} of `{}`", brought.name, brought.companion.version, brought.by);
    let advice = || advice(&other, part, &brought, version.minor, |other| other.span.covers(version.minor));
    let fix = match setting(part, subject, suite) {
        // The suite has both.
        Some(setting) if part == Part::Cgroups => format!("use {other}, or {setting}"),
        Some(setting) => format!("{}, or {setting}", advice()),
        None => advice(),
    };
    findings.with_fix(brought.field, message, fix);
}

/// A setting of the cluster file by which the same suite and Kubernetes would go together.
fn setting(part: Part, subject: &Subject<'_>, suite: &Suite) -> Option<String> {
    let (version, runtime) = (subject.cluster.kubernetes, subject.cluster.runtime.kind());
    if part == Part::Cgroups {
        let other = suite.all(part).find(|row| row.span.covers(version.minor))?;
        return Some(format!("`cgroups = \"{}\"` in `[base]`", other.version));
    }
    let other = (runtime.part == part).then(|| runtime.instead(version, suite))??;
    Some(format!("`runtime = \"{}\"` in `[cluster]`", other.name))
}

/// Finds a companion that goes with the cluster's Kubernetes, which is made for a newer one.
fn outdated(part: Part, subject: &Subject<'_>, findings: &mut Findings) {
    let version = subject.cluster.kubernetes;
    let Some(brought) = brought(part, subject) else { return };
    let span = brought.companion.span;
    let Some(deprecated) = span.deprecated.filter(|deprecated| version.minor >= *deprecated && span.covers(version.minor)) else { return };
    let other = format!("Kubernetes 1.{} or older", deprecated - 1);
    let message =
        format!("Kubernetes {version} is made for something newer than {} {} of `{}`", brought.name, brought.companion.version, brought.by);
    let fix = advice(&other, part, &brought, version.minor, |other| other.span.is_current(version.minor));
    findings.with_fix(brought.field, message, fix);
}

/// What to use instead: another Kubernetes, or another version of `part`, from the newest suite with one that will do.
fn advice(kubernetes: &str, part: Part, now: &Brought, minor: u32, will_do: impl Fn(&Companion) -> bool) -> String {
    let name = now.name;
    if let Some(better) = Companion::of(part, minor).filter(|_| now.field != VERSION) {
        return format!("use {kubernetes}, or {name} {better}");
    }
    let mut suites = SUITES.iter().rev().flat_map(|suite| suite.all(part).map(move |row| (suite.name, row)));
    match suites.find(|(_, row)| will_do(row)) {
        Some((suite, row)) => format!("use {kubernetes}, or `suite = \"{suite}\"`, which has {name} {}", row.version),
        None => format!("use {kubernetes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::ROWS;
    use crate::cluster;
    use crate::lint::Lint;
    use crate::lint::subject::{Findings, Subject};
    use crate::overlay::Overlays;
    use crate::profile::tests::{edited, read};
    use crate::words::{KubernetesVersion, SUITES};

    /// Those that say which version would work.
    fn lints() -> impl Iterator<Item = &'static Lint> {
        ROWS.iter().filter(|lint| !["HA226", "HA230", "HA232", "HA233", "HA234"].contains(&lint.id))
    }

    /// What a lint says of a Kubernetes minor on a suite: the companion, as `containerd 1.7`, and the fix.
    fn told(lint: &Lint, minor: u32, suite: &str, runtime: &str) -> Vec<(String, String)> {
        let settings = format!("[base]\nsuite = \"{suite}\"\n[cluster]\nruntime = \"{runtime}\"");
        let text = edited("1.20.2", &format!("1.{minor}.0")).replacen("[cluster]", &settings, 1);
        let profile = read(&text);
        let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
        let mut findings = Findings::default();
        (lint.on_cluster.unwrap())(&Subject { profile: &profile, cluster: &cluster, overlays: &overlays }, &mut findings);
        let one = |(_, message, fix): (String, String, Option<String>)| {
            let (before, _) = message.split_once(" of `").unwrap();
            let companion = before.rsplit_once(" with ").or_else(|| before.rsplit_once(" than ")).unwrap().1;
            (companion.to_owned(), fix.unwrap())
        };
        findings.0.into_iter().map(one).collect()
    }

    /// The first Kubernetes minor, and the suite and the runtime that a fix names.
    fn advised(fix: &str) -> (u32, Option<&str>, Option<&str>) {
        let (_, minor) = fix.split_once("Kubernetes 1.").unwrap();
        let setting = |name: &str| fix.split_once(&format!("`{name} = \"")).and_then(|(_, value)| value.split('"').next());
        (minor.split([' ', ',']).next().unwrap().parse().unwrap(), setting("suite"), setting("runtime"))
    }

    #[test]
    fn docker_gets_no_image_by_its_digest_whichever_setting_names_it() {
        let digest = format!("k8s.gcr.io/pause:3.2@sha256:{:064}", 0);
        let text = edited("[endpoint]", "[endpoint]\nrun = \"static-pod\"");
        let told = |settings: &str| {
            let profile = read(&text.replace("[cluster]", &format!("[cluster]\n{settings}")));
            let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
            let mut findings = Findings::default();
            super::images_by_digest(&Subject { profile: &profile, cluster: &cluster, overlays: &overlays }, &mut findings);
            findings.0.len()
        };
        assert_eq!(told(&format!("runtime = \"docker\"\nimages.pause = \"{digest}\"")), 1);
        assert_eq!(told(&format!("runtime = \"docker\"\nimages.coredns = \"{digest}\"")), 0, "no overlay holds it");
        assert_eq!(told(&format!("images.pause = \"{digest}\"")), 0);
    }

    #[test]
    fn what_a_lint_advises_it_accepts() {
        let mut seen = vec![0; lints().count()];
        for (lint, seen) in lints().zip(&mut seen) {
            let runtimes = ["containerd", "docker"];
            let every = KubernetesVersion::MINORS.flat_map(|minor| SUITES.iter().map(move |suite| (minor, suite.name)));
            for ((minor, suite), runtime) in every.flat_map(|case| runtimes.map(|runtime| (case, runtime))) {
                for (companion, fix) in told(lint, minor, suite, runtime) {
                    *seen += 1;
                    let (other, better, instead) = advised(&fix);
                    let again = told(lint, other, suite, runtime);
                    assert!(
                        again.iter().all(|(same, _)| *same != companion),
                        "{}: 1.{minor} on {suite}, then 1.{other}: {again:?}",
                        lint.id
                    );
                    let name = companion.rsplit_once(' ').unwrap().0;
                    if let Some(instead) = instead {
                        assert!(
                            lints().all(|lint| !["HA219", "HA231"].contains(&lint.id) || told(lint, minor, suite, instead).is_empty()),
                            "{fix}"
                        );
                    }
                    let again = better.map_or_else(Vec::new, |better| told(lint, minor, better, runtime));
                    assert!(again.iter().all(|(same, _)| !same.starts_with(name)), "{}: 1.{minor} on {suite}: {fix}: {again:?}", lint.id);
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    }

    #[test]
    fn an_etcd_that_the_file_names_is_judged_by_its_version_and_not_by_the_suites() {
        let lint = ROWS.iter().find(|lint| lint.id == "HA229").unwrap();
        let told = |kubernetes: &str, etcd: &str| {
            let text = edited("1.20.2", kubernetes).replacen("[cluster]", &format!("[etcd]\nversion = \"{etcd}\"\n[cluster]"), 1);
            let profile =
                read(&text.replace("[cluster]", "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[cluster]"));
            let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
            let mut findings = Findings::default();
            (lint.on_cluster.unwrap())(&Subject { profile: &profile, cluster: &cluster, overlays: &overlays }, &mut findings);
            findings.0.into_iter().map(|(field, message, fix)| format!("{field}: {message} ({})", fix.unwrap())).collect::<Vec<_>>()
        };
        let old = "etcd.version: Kubernetes 1.20.2 does not go with etcd 3.1 of `[etcd]` (use Kubernetes 1.11 or older, or etcd 3.4)";
        assert_eq!(told("1.20.2", "3.1.20"), [old]);
        // The suite's 3.4 would not do.
        assert_eq!(told("1.36.0", "3.6.5"), [""; 0]);
    }
}
