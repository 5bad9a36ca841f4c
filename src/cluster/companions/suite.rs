//! What the Debian suites bring of Kubernetes' companions.

use super::{Companion, Part};

/// One suite, and the minor versions of its packages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// Of the package `etcd-server`; always `3.x`.
    pub(crate) etcd: &'static str,
    pub(crate) containerd: &'static str,
    /// The control groups that its systemd mounts.
    pub(crate) cgroups: &'static str,
}

/// Every suite that can be a base, the oldest first. Their systemd mounts v2, and trixie's kernel has no memory or CPU sets in v1.
pub(crate) static SUITES: &[Suite] = &[
    Suite { name: "bookworm", etcd: "3.4", containerd: "1.6", cgroups: "v2" },
    Suite { name: "trixie", etcd: "3.5", containerd: "1.7", cgroups: "v2" },
    Suite { name: "sid", etcd: "3.5", containerd: "2.1", cgroups: "v2" },
];

impl Suite {
    /// The suite of this name. One that the table does not know is taken for the newest.
    pub(crate) fn named(name: &str) -> &'static Self {
        SUITES.iter().find(|suite| suite.name == name).or(SUITES.last()).expect("there are suites")
    }

    /// What it has of each part.
    pub(crate) fn companions(&self) -> [(Part, &'static str); 3] {
        [(Part::Etcd, self.etcd), (Part::Containerd, self.containerd), (Part::Cgroups, self.cgroups)]
    }

    /// Its version of `part`, as the table has it.
    pub(crate) fn companion(&self, part: Part) -> Option<&'static Companion> {
        let (_, version) = self.companions().into_iter().find(|(other, _)| *other == part)?;
        Companion::find(part, version)
    }

    /// The `x` of its etcd 3.x.
    pub(crate) fn etcd_minor(&self) -> u32 {
        self.etcd.strip_prefix("3.").and_then(|minor| minor.parse().ok()).expect("suites have etcd 3.x")
    }
}
