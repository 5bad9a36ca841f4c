//! Taints that nodes register with; they repel pods without a matching toleration.

use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::words::{Companion, Component, Role};

/// One taint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Taint {
    pub(crate) key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) value: String,
    pub(crate) effect: String,
}

impl Cluster {
    /// Returns the taints of `node`: the taints set in the cluster file or, by default, the usual
    /// control-plane taints on a control-plane node of a cluster with workers.
    pub(crate) fn taints(&self, node: &Node) -> Vec<Taint> {
        if let Some(taints) = &node.taints {
            return taints.iter().map(|text| Taint::parse(text)).collect();
        }
        let workers = self.with_role(Role::Worker).next().is_some();
        let spared =
            workers && node.roles.contains(&Role::ControlPlane) && !node.roles.contains(&Role::Worker);
        let keys = Companion::all(Component::RoleTaint, self.kubernetes.minor).map(|row| row.version);
        let taint =
            |key: &str| Taint { key: key.to_owned(), value: String::new(), effect: "NoSchedule".to_owned() };
        keys.filter(|_| spared).map(taint).collect()
    }
}

impl Taint {
    /// Parses `key=value:Effect`, validated when the cluster file is read; the value may be missing.
    fn parse(text: &str) -> Self {
        let (rest, effect) = text.rsplit_once(':').unwrap_or((text, ""));
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        Self { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() }
    }

    /// Formats the taint for `--register-with-taints` in every Kubernetes version: with `=`, even without a
    /// value.
    pub(crate) fn flag(&self) -> String {
        format!("{}={}:{}", self.key, self.value, self.effect)
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::{Cluster, resolve};
    use crate::profile::tests::{SAMPLE, read};
    use crate::words::KubernetesVersion;

    const WORKER: &str = "\n[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n";

    fn of_first(cluster: &Cluster) -> Vec<String> {
        cluster.taints(&cluster.nodes[0]).iter().map(super::Taint::flag).collect()
    }

    #[test]
    fn control_plane_nodes_are_spared_where_there_are_workers_and_nowhere_else() {
        let mut cluster = resolve(&read(&format!("{SAMPLE}{WORKER}"))).unwrap();
        let (master, control_plane) = (
            "node-role.kubernetes.io/master=:NoSchedule",
            "node-role.kubernetes.io/control-plane=:NoSchedule",
        );
        for (minor, expected) in
            [(6, &[master][..]), (23, &[master]), (24, &[control_plane, master]), (25, &[control_plane])]
        {
            cluster.kubernetes = KubernetesVersion { major: 1, minor, patch: 0 };
            assert_eq!(of_first(&cluster), expected, "1.{minor}");
        }
        assert!(cluster.taints(cluster.nodes.last().unwrap()).is_empty());
        assert!(of_first(&resolve(&read(SAMPLE)).unwrap()).is_empty(), "without workers, they run the pods");
    }

    #[test]
    fn the_cluster_file_has_the_last_word() {
        let with = |taints: &str| {
            let text = format!("{SAMPLE}{WORKER}").replacen(
                "name = \"m1\"",
                &format!("name = \"m1\"\ntaints = {taints}"),
                1,
            );
            of_first(&resolve(&read(&text)).unwrap())
        };
        assert!(with("[]").is_empty());
        assert_eq!(
            with("[\"dedicated=db:NoExecute\", \"busy:NoSchedule\"]"),
            ["dedicated=db:NoExecute", "busy=:NoSchedule"]
        );
    }
}
