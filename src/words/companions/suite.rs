//! Component versions in Debian suites.

use super::{Companion, Component};

/// A suite, and the minor versions of its packages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// Other names of the suite in the archive.
    pub(crate) aliases: &'static [&'static str],
    /// Version of the `etcd-server` package; always `3.x`.
    pub(crate) etcd: &'static str,
    pub(crate) containerd: &'static str,
    /// Version of the `docker.io` package.
    pub(crate) docker: &'static str,
    /// cgroup versions that the suite's systemd can mount and that its kernel supports for kubelets; the
    /// default comes first.
    pub(crate) cgroups: &'static [&'static str],
    /// True if the suite has all packages that an image needs to boot; otherwise only stock systems are
    /// supported.
    pub(crate) images: bool,
}

/// Every suite that can be a base, oldest first. All suites mount cgroup v2 by default. trixie's kernel has
/// no memory and cpuset controllers in v1 (`CONFIG_MEMCG_V1`, `CONFIG_CPUSETS_V1`), and systemd 258 and later
/// can't mount v1 at all.
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
    Suite {
        name: "trixie",
        aliases: &["stable"],
        etcd: "3.5",
        containerd: "1.7",
        docker: "26.1",
        cgroups: &["v2"],
        images: true,
    },
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
    /// Returns the suite of this name; an unknown suite is treated as the newest.
    pub(crate) fn named(name: &str) -> &'static Self {
        let known = SUITES.iter().find(|suite| suite.name == name || suite.aliases.contains(&name));
        known.or(SUITES.last()).expect("the table of suites is not empty")
    }

    /// Returns the suite's version of each component.
    pub(crate) fn companions(&self) -> impl Iterator<Item = (Component, &'static str)> {
        let packages = [
            (Component::Etcd, self.etcd),
            (Component::Containerd, self.containerd),
            (Component::Docker, self.docker),
        ];
        packages.into_iter().chain(self.cgroups.iter().map(|version| (Component::Cgroups, *version)))
    }

    /// Returns the suite's versions of `part` as rows of the table, the default first.
    pub(crate) fn all(&self, part: Component) -> impl Iterator<Item = &'static Companion> {
        let versions = self.companions().filter(move |(other, _)| *other == part);
        versions.filter_map(move |(_, version)| Companion::find(part, version))
    }

    /// Returns the suite's default version of `part`.
    pub(crate) fn companion(&self, part: Component) -> Option<&'static Companion> {
        self.all(part).next()
    }

    /// Returns the `x` of the suite's etcd 3.x.
    pub(crate) fn etcd_minor(&self) -> u32 {
        self.etcd.strip_prefix("3.").and_then(|minor| minor.parse().ok()).expect("suites have etcd 3.x")
    }
}

#[cfg(test)]
mod tests {
    use super::Suite;

    #[test]
    fn a_suite_is_known_by_every_name_and_a_new_one_is_taken_for_the_newest() {
        for (name, etcd, containerd) in
            [("trixie", 5, "1.7"), ("stable", 5, "1.7"), ("bookworm", 4, "1.6"), ("duke", 5, "2.1")]
        {
            let suite = Suite::named(name);
            assert_eq!((suite.etcd_minor(), suite.containerd), (etcd, containerd), "{name}");
        }
    }
}
