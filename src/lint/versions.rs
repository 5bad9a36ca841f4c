//! Lints for the compatibility of Kubernetes with the components in a suite. The table is
//! `words::COMPANIONS`.

use crate::lint::Lint;
use crate::lint::companions::{VERSION, outdated, unsupported};
use crate::lint::flags::runtime;
use crate::lint::subject::{Findings, Subject};
use crate::words::{Component, Runtime, Suite, too_old};

/// Guarantees that need a minimum Kubernetes version: that minor version, and the feature behind the
/// guarantee.
const PROMISES: &[(u32, &str)] = &[
    (7, "encryption of secrets in etcd"),
    (7, "restriction of kubelets to their own node"),
    (8, "an audit policy"),
    (9, "removal of failed API servers from the `kubernetes` service"),
    (10, "rejection of old TLS versions"),
    (12, "authentication for controller manager metrics"),
    (13, "authentication for scheduler metrics"),
    (16, "notification of balancers before an API server stops"),
];

/// First minor version whose kubelets leave the protection of the pause image to the runtime
/// (kubernetes#118544).
const UNPROTECTED: u32 = 29;
/// Suites whose containerd does not pin the pause image (containerd#8718); bookworm has 1.6.20.
const UNPINNED: [&str; 2] = ["bullseye", "bookworm"];

/// First minor version whose kubeadm supports `kubeadm init phase`.
const PHASES: u32 = 13;

const SEE: &str = "run `kiln list versions` to see compatible versions";

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA219", "the kubelet and the suite's containerd have no CRI version in common")
        .why(
            "kubelets use CRI v1alpha1 up to 1.9, v1alpha2 up to 1.22 and v1 since 1.26; containerd 1.x \
            supports the last two, 2.x only v1; without a common version the kubelet starts no pods",
        )
        .fix(SEE)
        .files(runtime)
        .cluster(|subject, findings| unsupported(Component::Containerd, subject, findings)),
    Lint::warning("HA226", "this Kubernetes version does not support everything that kiln guarantees")
        .why("kiln configures what each version supports; it can't add later features to an earlier version")
        .fix("use Kubernetes 1.16 or later")
        .cluster(|subject, findings| {
            let version = subject.cluster.kubernetes;
            let missing: Vec<String> = PROMISES
                .iter()
                .filter(|(since, _)| !version.at_least(*since))
                .map(|(since, what)| format!("{what} (since 1.{since})"))
                .collect();
            if !missing.is_empty() {
                findings.at(
                    VERSION,
                    format!(
                        "Kubernetes {version} lacks features that kiln otherwise guarantees: {}",
                        missing.join("; ")
                    ),
                );
            }
        }),
    Lint::warning("HA227", "the suite's containerd is older than this Kubernetes version expects")
        .why(
            "the combination may work, but this Kubernetes version is tested only with newer containerd, and \
            the next Kubernetes version may refuse to start with this containerd",
        )
        .fix(SEE)
        .cluster(|subject, findings| outdated(Component::Containerd, subject, findings)),
    Lint::error("HA228", "the kubelet does not support the suite's cgroup version")
        .why(
            "a machine mounts either cgroup v1 or v2; kubelets before 1.19 support only v1 and exit on v2, \
            and kubelets since 1.35 exit on v1",
        )
        .fix(
            "set `suite = \"bookworm\"` or `cgroups` in `[base]`; `kiln list versions` shows compatible \
            versions",
        )
        .cluster(|subject, findings| unsupported(Component::Cgroups, subject, findings)),
    Lint::error("HA229", "etcd is too old for this Kubernetes version")
        .why(
            "API servers rely on the etcd features available at their release; kubeadm rejects the same \
            combination",
        )
        .fix(SEE)
        .cluster(|subject, findings| unsupported(Component::Etcd, subject, findings)),
    Lint::error("HA230", "this kubeadm version does not support phases")
        .why(
            "nodes with the `kubeadm` profile run phases of `kubeadm init` at each boot; kubeadm before 1.13 \
            has no phases, and its configuration has a different format",
        )
        .fix("use Kubernetes 1.13 or later, or the `ha` profile, which supports every version")
        .cluster(|subject, findings| {
            let version = subject.cluster.kubernetes;
            if !version.at_least(PHASES) && subject.chosen().any(|overlay| overlay.name == "kubeadm") {
                findings.at(
                    VERSION,
                    format!("kubeadm {version} does not support phases (available since 1.{PHASES})"),
                );
            }
        }),
    Lint::error("HA231", "the kubelet is not compatible with the suite's Docker")
        .why(
            "kubelets up to 1.23 include a shim for Docker, which supports Docker API versions up to 1.43; a \
            kubelet without a compatible runtime starts no pods",
        )
        .fix(SEE)
        .cluster(|subject, findings| unsupported(Component::Docker, subject, findings)),
    Lint::error("HA232", "Docker can't import an image by digest")
        .why(
            "Docker records a digest only when it pulls from a registry: a pod with a digest in its image \
            name contacts the registry even if the image is present",
        )
        .fix("name the image by tag only; the lock pins its digest anyway")
        .cluster(images_by_digest),
    Lint::error("HA233", "images can't be built from this suite")
        .why(
            "images unlock their root and find their state with systemd-cryptsetup, systemd-repart and a \
            systemd initrd, which Debian provides in full only since trixie",
        )
        .fix(
            "use the suite's stock images, with `formats = [\"cloud-init\"]` in `[outputs]`, or set `suite \
            = \"trixie\"`",
        )
        .cluster(|subject, findings| {
            let suite = Suite::named(&subject.cluster.base.suite);
            if let Some(format) =
                subject.cluster.outputs.iter().find(|format| !suite.images && format.needs_images())
            {
                findings.at("base.suite", format!("`{format}` can't be built from `{}`", suite.name));
            }
        }),
    Lint::error("HA234", "a balancer image is too old for its configuration")
        .why(
            "the configuration uses keywords that this version does not support: the pod keeps restarting, \
            and the VIP stays where nothing responds",
        )
        .fix("use a newer image")
        .cluster(old_balancers),
    Lint::warning("HA235", "nothing protects the pause image from garbage collection")
        .why(
            "kubelets since 1.29 leave this to the runtime, and containerd pins the image only since 1.6.22 \
            and 1.7.3: when a disk is nearly full, the kubelet removes the image, and without a registry no \
            pod starts",
        )
        .fix(
            "use `suite = \"trixie\"`, or import the image on each machine with the label \
            `io.cri-containerd.pinned=pinned`",
        )
        .cluster(unpinned_pause),
];

fn old_balancers(subject: &Subject<'_>, findings: &mut Findings) {
    for (program, image) in &subject.cluster.endpoint.images {
        let program = program.replace('_', "-");
        if let Some(least) = too_old(&program, image) {
            findings.at(
                format!("endpoint.images.{program}"),
                format!("`{image}` is too old: kiln configures {program} {least} or later"),
            );
        }
    }
}

/// Images that the cluster file may override: the component, the setting, and the name in overlays.
const OWN_IMAGES: &[(Component, &str, &str)] = &[
    (Component::Pause, "cluster.images.pause", "computed.sandbox_image"),
    (Component::Dns, "cluster.images.coredns", "computed.dns_image"),
    (Component::Flannel, "cluster.images.flannel", "computed.flannel.program"),
    (Component::FlannelPlugin, "cluster.images.flannel-cni-plugin", "computed.flannel.plugin"),
];

/// Reports kubelets and a containerd that both leave the pause image unprotected.
fn unpinned_pause(subject: &Subject<'_>, findings: &mut Findings) {
    let (version, suite) = (subject.cluster.kubernetes, Suite::named(&subject.cluster.base.suite));
    let is_containerd = subject.cluster.runtime == Runtime::Containerd;
    if is_containerd && version.at_least(UNPROTECTED) && UNPINNED.contains(&suite.name) {
        findings.at(
            "base.suite",
            format!(
                "neither kubelet {version} nor containerd {} from `{}` protects the pause image",
                suite.containerd, suite.name
            ),
        );
    }
}

/// Reports images named by digest if Docker imports its images without a registry.
fn images_by_digest(subject: &Subject<'_>, findings: &mut Findings) {
    let cluster = subject.cluster;
    if cluster.runtime != Runtime::Docker || !subject.chosen().any(|overlay| overlay.name == "preload") {
        return;
    }
    let held = |name: &str| {
        subject
            .chosen()
            .any(|overlay| overlay.manifest.images.iter().any(|image| image.contains(&format!("{name} "))))
    };
    let of_endpoint = cluster.endpoint.images.iter().map(|(program, image)| {
        (
            format!("endpoint.images.{}", program.replace('_', "-")),
            format!("cluster.endpoint.images.{program}"),
            image,
        )
    });
    let own = OWN_IMAGES.iter().filter_map(|(part, setting, name)| {
        Some(((*setting).to_owned(), (*name).to_owned(), cluster.own_images.get(part)?))
    });
    for (setting, _, image) in
        of_endpoint.chain(own).filter(|(_, name, image)| image.contains('@') && held(name))
    {
        findings.at(setting, format!("`{image}` contains a digest"));
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

    /// Returns the lints whose fix names a version that works.
    fn lints() -> impl Iterator<Item = &'static Lint> {
        ROWS.iter().filter(|lint| ["HA219", "HA227", "HA228", "HA229", "HA231"].contains(&lint.id))
    }

    /// Returns a lint's findings for a Kubernetes minor version on a suite: the companion, as `containerd
    /// 1.7`, and the fix.
    fn reported(lint: &Lint, minor: u32, suite: &str, runtime: &str) -> Vec<(String, String)> {
        let settings = format!("[base]\nsuite = \"{suite}\"\n[cluster]\nruntime = \"{runtime}\"");
        let text = edited("1.20.2", &format!("1.{minor}.0")).replacen("[cluster]", &settings, 1);
        let profile = read(&text);
        let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
        let mut findings = Findings::default();
        (lint.on_cluster.unwrap())(
            &Subject { profile: &profile, cluster: &cluster, overlays: &overlays },
            &mut findings,
        );
        let one = |(_, message, fix): (String, String, Option<String>)| {
            let (before, _) = message.split_once(" from `").unwrap();
            let companion = before.rsplit_once(" with ").or_else(|| before.rsplit_once(" than ")).unwrap().1;
            (companion.to_owned(), fix.unwrap())
        };
        findings.0.into_iter().map(one).collect()
    }

    /// Returns the first Kubernetes minor version, the suite and the runtime in a fix.
    fn advised(fix: &str) -> (u32, Option<&str>, Option<&str>) {
        let (_, minor) = fix.split_once("Kubernetes 1.").unwrap();
        let setting = |name: &str| {
            fix.split_once(&format!("`{name} = \"")).and_then(|(_, value)| value.split('"').next())
        };
        (minor.split([' ', ',']).next().unwrap().parse().unwrap(), setting("suite"), setting("runtime"))
    }

    #[test]
    fn docker_gets_no_image_by_its_digest_whichever_setting_names_it() {
        let digest = format!("k8s.gcr.io/pause:3.2@sha256:{:064}", 0);
        let text = edited("[endpoint]", "[endpoint]\nrun = \"static-pod\"");
        let reported = |settings: &str| {
            let profile = read(&text.replace("[cluster]", &format!("[cluster]\n{settings}")));
            let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
            let mut findings = Findings::default();
            super::images_by_digest(
                &Subject { profile: &profile, cluster: &cluster, overlays: &overlays },
                &mut findings,
            );
            findings.0.len()
        };
        assert_eq!(reported(&format!("runtime = \"docker\"\nimages.pause = \"{digest}\"")), 1);
        assert_eq!(
            reported(&format!("runtime = \"docker\"\nimages.coredns = \"{digest}\"")),
            0,
            "no overlay contains it"
        );
        assert_eq!(reported(&format!("images.pause = \"{digest}\"")), 0);
    }

    #[test]
    fn what_a_lint_advises_it_accepts() {
        let mut seen = vec![0; lints().count()];
        for (lint, seen) in lints().zip(&mut seen) {
            let runtimes = ["containerd", "docker"];
            let every = KubernetesVersion::MINORS
                .flat_map(|minor| SUITES.iter().map(move |suite| (minor, suite.name)));
            for ((minor, suite), runtime) in every.flat_map(|case| runtimes.map(|runtime| (case, runtime))) {
                for (companion, fix) in reported(lint, minor, suite, runtime) {
                    *seen += 1;
                    let (other, better, instead) = advised(&fix);
                    let again = reported(lint, other, suite, runtime);
                    assert!(
                        again.iter().all(|(same, _)| *same != companion),
                        "{}: 1.{minor} on {suite}, then 1.{other}: {again:?}",
                        lint.id
                    );
                    let name = companion.rsplit_once(' ').unwrap().0;
                    if let Some(instead) = instead {
                        assert!(
                            lints().all(|lint| !["HA219", "HA231"].contains(&lint.id)
                                || reported(lint, minor, suite, instead).is_empty()),
                            "{fix}"
                        );
                    }
                    let again = better.map_or_else(Vec::new, |better| reported(lint, minor, better, runtime));
                    assert!(
                        again.iter().all(|(same, _)| !same.starts_with(name)),
                        "{}: 1.{minor} on {suite}: {fix}: {again:?}",
                        lint.id
                    );
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    }

    #[test]
    fn an_etcd_that_the_file_names_is_judged_by_its_version_and_not_by_the_suites() {
        let lint = ROWS.iter().find(|lint| lint.id == "HA229").unwrap();
        let reported = |kubernetes: &str, etcd: &str| {
            let text = edited("1.20.2", kubernetes).replacen(
                "[cluster]",
                &format!("[etcd]\nversion = \"{etcd}\"\n[cluster]"),
                1,
            );
            let profile = read(&text.replace(
                "[cluster]",
                "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[cluster]",
            ));
            let (cluster, overlays) = (cluster::resolve(&profile).unwrap(), Overlays::load(&[]).unwrap());
            let mut findings = Findings::default();
            (lint.on_cluster.unwrap())(
                &Subject { profile: &profile, cluster: &cluster, overlays: &overlays },
                &mut findings,
            );
            findings
                .0
                .into_iter()
                .map(|(field, message, fix)| format!("{field}: {message} ({})", fix.unwrap()))
                .collect::<Vec<_>>()
        };
        let old = "etcd.version: Kubernetes 1.20.2 is not compatible with etcd 3.1 from `[etcd]` (use \
            Kubernetes 1.11 or older, or etcd 3.4)";
        assert_eq!(reported("1.20.2", "3.1.20"), [old]);
        // The suite's 3.4 would not be compatible.
        assert_eq!(reported("1.36.0", "3.6.5"), [""; 0]);
    }
}
