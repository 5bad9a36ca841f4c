//! kube-proxy modes: how kube-proxy forwards service traffic to pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::{Companion, Component, KubernetesVersion};

/// A kube-proxy mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyMode {
    /// iptables rules
    Iptables,
    /// nftables rules: Kubernetes 1.29 or higher, the default since 1.33
    Nftables,
    /// The kernel's load balancer: Kubernetes 1.11 or higher, deprecated since 1.35
    Ipvs,
}

impl ProxyMode {
    const ALL: [Self; 3] = [Self::Iptables, Self::Nftables, Self::Ipvs];

    /// Returns the name in cluster files and in kube-proxy's configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        }
    }

    /// Returns the default mode of a version.
    pub(crate) fn of(version: KubernetesVersion) -> Self {
        let name = version.companion(Component::ProxyMode);
        Self::ALL.into_iter().find(|mode| mode.name() == name).expect("the table lists known modes")
    }

    /// Returns the overlays that the mode needs in addition to the overlays for kube-proxy itself.
    pub(crate) fn overlays(self) -> &'static [&'static str] {
        match self {
            Self::Iptables | Self::Nftables => &[],
            Self::Ipvs => &["kube-proxy-ipvs"],
        }
    }

    /// Returns the mode's row in the compatibility table.
    pub(crate) fn row(self) -> &'static Companion {
        Companion::find(Component::ProxyMode, self.name()).expect("the table contains every mode")
    }
}

#[cfg(test)]
mod tests {
    use super::ProxyMode;
    use crate::cluster::resolve;
    use crate::profile::tests::{edited, problems, read};
    use crate::words::{KubernetesVersion, Role};

    #[test]
    fn the_default_is_what_the_version_is_made_for() {
        for (minor, mode) in [
            (6, ProxyMode::Iptables),
            (32, ProxyMode::Iptables),
            (33, ProxyMode::Nftables),
            (36, ProxyMode::Nftables),
        ] {
            assert_eq!(ProxyMode::of(KubernetesVersion { major: 1, minor, patch: 0 }), mode, "1.{minor}");
        }
    }

    #[test]
    fn a_mode_that_the_version_lacks_is_refused_and_ipvs_brings_its_modules() {
        let with = |mode: &str| edited("[network]", &format!("[network]\nproxy-mode = \"{mode}\""));
        let refused = "`\"nftables\"`: kube-proxy in Kubernetes 1.20.2 does not support the mode `nftables` \
            (remove `proxy-mode`, or use Kubernetes 1.29 or later)";
        assert_eq!(problems(&with("nftables")), [refused]);
        let cluster = resolve(&read(&with("ipvs"))).unwrap();
        assert!(
            [Role::ControlPlane, Role::Worker]
                .iter()
                .all(|role| cluster.overlays[role].contains(&"kube-proxy-ipvs".to_owned()))
        );
        assert!(
            cluster.has_ipvs(&cluster.nodes[0])
                && !cluster.overlays[&Role::Lb].contains(&"kube-proxy-ipvs".to_owned())
        );
    }
}
