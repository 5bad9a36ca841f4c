//! The cluster part of `kubeadm init`: records the configuration and the add-ons as API objects. If they are
//! already recorded, the node joins as with `kubeadm join`, and updates the objects only if its Kubernetes
//! version is the same or newer.
//!
//! This can't create a second cluster: the state in etcd is read first, through the endpoint. Nodes may run
//! this at the same time and in any order; each phase may be repeated.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::kubectl::Kubectl;
use crate::error::Result;
use crate::host;
use crate::words::KubernetesVersion;

/// Administrator credentials, which the kubeadm phases use as well.
const KUBECONFIG: &str = "/etc/kubernetes/admin.conf";

/// A kubeadm phase and its configuration file.
type Phase = (&'static [&'static str], &'static str);

const INIT: &str = "/etc/kubernetes/kubeadm/init.yaml";
const JOIN: &str = "/etc/kubernetes/kubeadm/join.yaml";
/// Phases that write the cluster's objects.
const RECORD: [Phase; 2] =
    [(&["init", "phase", "upload-config", "all"], INIT), (&["init", "phase", "addon", "all"], INIT)];
/// Phases for the first node and for all other nodes.
const FIRST: Phase = (&["init", "phase", "mark-control-plane"], INIT);
const OTHER: Phase = (&["join", "phase", "control-plane-join", "all"], JOIN);

#[derive(Debug, Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// Records the cluster, or joins it if it is already recorded.
///
/// # Errors
///
/// [`crate::error::Kind::Tool`] if the endpoint does not respond or kubeadm fails.
pub(crate) fn join(version: KubernetesVersion, journal: &dyn Fn(&str)) -> Result<()> {
    let map: Option<ConfigMap> = Kubectl::new(Path::new(KUBECONFIG)).get(&[
        "configmap",
        "kubeadm-config",
        "--namespace=kube-system",
    ])?;
    let recorded = map.and_then(|map| recorded(map.data.get("ClusterConfiguration")?));
    match recorded {
        None => journal(&format!("no cluster version is recorded yet: recording {version}")),
        Some(recorded) if version >= recorded => {
            journal(&format!("the cluster version is {recorded}: recording {version} and joining"));
        }
        Some(recorded) => journal(&format!("the cluster version is {recorded}: joining")),
    }
    for (words, configuration) in phases(version, recorded) {
        let mut command = host::process::command("kubeadm");
        let output = host::process::run(command.args(words).arg(format!("--config={configuration}")))?;
        String::from_utf8_lossy(&output.stdout).lines().for_each(journal);
    }
    Ok(())
}

fn phases(version: KubernetesVersion, recorded: Option<KubernetesVersion>) -> Vec<Phase> {
    let records = recorded.is_none_or(|recorded| version >= recorded);
    let written = RECORD.into_iter().filter(|_| records);
    written.chain([if recorded.is_some() { OTHER } else { FIRST }]).collect()
}

/// Returns the version in a `ClusterConfiguration`, as kubeadm writes it.
fn recorded(configuration: &str) -> Option<KubernetesVersion> {
    configuration.lines().find_map(|line| line.strip_prefix("kubernetesVersion: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{phases, recorded};

    #[test]
    fn objects_are_written_by_the_first_node_and_by_the_same_or_a_newer_version() {
        let words = |version: &str, there: Option<&str>| {
            let recorded = there
                .and_then(|version| recorded(&format!("etcd: {{}}\nkubernetesVersion: v{version}\nx: y\n")));
            phases(version.parse().unwrap(), recorded)
                .iter()
                .map(|(words, _)| words[0..3].join(" "))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let written = "init phase upload-config, init phase addon";
        assert_eq!(words("1.20.2", None), format!("{written}, init phase mark-control-plane"));
        assert_eq!(words("1.20.2", Some("1.20.2")), format!("{written}, join phase control-plane-join"));
        assert_eq!(words("1.20.10", Some("1.20.9")), format!("{written}, join phase control-plane-join"));
        assert_eq!(words("1.20.2", Some("1.21.0")), "join phase control-plane-join");
    }
}
