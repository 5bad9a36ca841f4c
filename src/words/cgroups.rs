//! cgroup version that machines use, and its kernel parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::{Companion, Component, KubernetesVersion, Suite};

/// A cgroup version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cgroups {
    /// One hierarchy per controller: for kubelet versions before 1.19, on bullseye and bookworm
    V1,
    /// One hierarchy for all controllers: for kubelet 1.19 or higher
    V2,
}

impl Cgroups {
    const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// Returns the name in cluster files, which is also the version in the compatibility table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// Returns the default for a version and a suite: the suite's default if the kubelet can use it,
    /// otherwise the other version if the kubelet can use that.
    pub(crate) fn of(version: KubernetesVersion, suite: &Suite) -> Self {
        let usual = suite.cgroups[0];
        let usable = suite.cgroups.iter().find(|name| {
            Companion::find(Component::Cgroups, name).is_some_and(|row| row.span.covers(version.minor))
        });
        let name = usable.copied().unwrap_or(usual);
        Self::ALL.into_iter().find(|cgroups| cgroups.name() == name).expect("suites list known versions")
    }

    /// Returns the parameters for the kernel command line (systemd(1), "Kernel Command Line"). v1 is pure v1,
    /// without systemd's hybrid hierarchy.
    pub(crate) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &["systemd.unified_cgroup_hierarchy=0", "systemd.legacy_systemd_cgroup_controller=1"],
            Self::V2 => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cgroups;
    use crate::cluster::resolve;
    use crate::profile::tests::{edited, problems, read};
    use crate::words::SUITES;

    fn with(version: &str, base: &str) -> String {
        edited("1.20.2", version).replacen("[cluster]", &format!("[base]\n{base}\n[cluster]"), 1)
    }

    #[test]
    fn old_kubelets_get_the_old_hierarchy_where_there_is_one() {
        let of = |version: &str, suite: &str| {
            resolve(&read(&with(version, &format!("suite = \"{suite}\"")))).unwrap().base.cgroups
        };
        for suite in SUITES {
            let old = if suite.cgroups.contains(&"v1") { Cgroups::V1 } else { Cgroups::V2 };
            assert_eq!(
                (of("1.18.20", suite.name), of("1.19.16", suite.name)),
                (old, Cgroups::V2),
                "{}",
                suite.name
            );
        }
        assert_eq!(of("1.18.20", "bookworm"), Cgroups::V1);
    }

    #[test]
    fn a_hierarchy_that_the_suite_lacks_is_refused_with_the_suites_that_have_it() {
        let refused = |suite: &str| {
            format!(
                "`\"v1\"`: `{suite}` machines have no cgroup v1 hierarchy that a kubelet can use (remove \
                `cgroups`, or use `suite = \"bookworm\"`)"
            )
        };
        for suite in ["trixie", "sid"] {
            assert_eq!(
                problems(&with("1.20.2", &format!("suite = \"{suite}\"\ncgroups = \"v1\""))),
                [refused(suite)]
            );
        }
    }
}
