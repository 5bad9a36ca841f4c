//! What the Debian suites bring of Kubernetes' companions.

use super::{Companion, Part};

/// One suite, and the minor versions of its packages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// What else the archive calls it.
    pub(crate) aliases: &'static [&'static str],
    /// Of the package `etcd-server`; always `3.x`.
    pub(crate) etcd: &'static str,
    pub(crate) containerd: &'static str,
    /// Of the package `docker.io`.
    pub(crate) docker: &'static str,
    /// The control groups that its systemd can mount and its kernel has for kubelets; what it mounts by itself comes first.
    pub(crate) cgroups: &'static [&'static str],
    /// Whether it has all that an image needs to boot; else its stock systems are all there is.
    pub(crate) images: bool,
}

/// The output for stock systems, which needs no image of a role.
pub(crate) const STOCK: &str = "cloud-init";

/// Every suite that can be a base, the oldest first. All mount control groups v2 by themselves. trixie's kernel has no memory and no CPU
/// sets in v1 (`CONFIG_MEMCG_V1`, `CONFIG_CPUSETS_V1`), and systemd can't mount v1 at all since 258.
pub(crate) static SUITES: &[Suite] = &[
    Suite {
        name: "bullseye",
        aliases: &["oldoldstable"],
        etcd: "3.3",
        containerd: "1.4",
        docker: "20.10",
        cgroups: &["v2", "v1"],
        images: false,
    },
    Suite {
        name: "bookworm",
        aliases: &["oldstable"],
        etcd: "3.4",
        containerd: "1.6",
        docker: "20.10",
        cgroups: &["v2", "v1"],
        images: false,
    },
    Suite { name: "trixie", aliases: &["stable"], etcd: "3.5", containerd: "1.7", docker: "26.1", cgroups: &["v2"], images: true },
    Suite {
        name: "sid",
        aliases: &["forky", "testing", "unstable"],
        etcd: "3.5",
        containerd: "2.1",
        docker: "28.5",
        cgroups: &["v2"],
        images: true,
    },
];

impl Suite {
    /// The suite of this name. One that the table does not know is taken for the newest.
    pub(crate) fn named(name: &str) -> &'static Self {
        let known = SUITES.iter().find(|suite| suite.name == name || suite.aliases.contains(&name));
        known.or(SUITES.last()).expect("there are suites")
    }

    /// What it has of each part.
    pub(crate) fn companions(&self) -> impl Iterator<Item = (Part, &'static str)> {
        let packages = [(Part::Etcd, self.etcd), (Part::Containerd, self.containerd), (Part::Docker, self.docker)];
        packages.into_iter().chain(self.cgroups.iter().map(|version| (Part::Cgroups, *version)))
    }

    /// Its versions of `part`, as the table has them; the usual one first.
    pub(crate) fn all(&self, part: Part) -> impl Iterator<Item = &'static Companion> {
        let versions = self.companions().filter(move |(other, _)| *other == part);
        versions.filter_map(move |(_, version)| Companion::find(part, version))
    }

    /// Its usual version of `part`.
    pub(crate) fn companion(&self, part: Part) -> Option<&'static Companion> {
        self.all(part).next()
    }

    /// The `x` of its etcd 3.x.
    pub(crate) fn etcd_minor(&self) -> u32 {
        self.etcd.strip_prefix("3.").and_then(|minor| minor.parse().ok()).expect("suites have etcd 3.x")
    }
}

#[cfg(test)]
mod tests {
    use super::Suite;

    #[test]
    fn a_suite_is_known_by_every_name_and_a_new_one_is_taken_for_the_newest() {
        for (name, etcd, containerd) in [("trixie", 5, "1.7"), ("stable", 5, "1.7"), ("bookworm", 4, "1.6"), ("duke", 5, "2.1")] {
            let suite = Suite::named(name);
            assert_eq!((suite.etcd_minor(), suite.containerd), (etcd, containerd), "{name}");
        }
    }
}
