//! A control plane created by kubeadm.

use crate::common::lab::{FAILOVER, PATIENCE, eventually, succeeded};
use crate::common::{Variant, approve};
use crate::running::{Expected, MASTERS, RAW, Running, with_images};

/// Removes the worker from the profile's cluster file: three control planes keep this machine busy enough.
const WITHOUT_WORKER: (&str, &str) =
    ("[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n", "");

impl Running {
    /// Checks that every control plane pod and kube-proxy are ready on each of `nodes`.
    fn pods_are_ready(&self, nodes: &[&str]) -> Result<(), String> {
        let row = "{.metadata.labels.component}{.metadata.labels.k8s-app} {.spec.nodeName} \
            {.status.containerStatuses[*].ready}";
        let format = format!("--output=jsonpath={{range .items[*]}}{row}{{\"\\n\"}}{{end}}");
        let output = self.client.kubectl(&self.lab, &["--namespace=kube-system", "get", "pods", &format]);
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];
        let wanted = wanted.iter().flat_map(|pod| nodes.iter().map(move |node| format!("{pod} {node} true")));
        let missing: Vec<String> = wanted.filter(|row| !seen.lines().any(|line| line == row)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are not in\n{seen}")) }
    }

    /// Checks that the join service of the node has succeeded: the node created the cluster or joined it.
    fn has_joined(&self, node: &str) -> Result<(), String> {
        let show = [
            "systemctl",
            "show",
            "--property=Result,ActiveState,ExecMainStatus,ExecMainStartTimestampMonotonic",
            "kiln-kubeadm-join",
        ];
        let said = String::from_utf8_lossy(&self.lab.inside(node, &show).stdout).into_owned();
        let over = ["Result=success", "ActiveState=inactive", "ExecMainStatus=0"]
            .iter()
            .all(|line| said.contains(line));
        if over && !said.contains("Monotonic=0\n") { Ok(()) } else { Err(format!("{node}: {said}")) }
    }
}

#[test]
fn kubeadm_forms_a_control_plane_that_survives_the_holder_and_takes_it_back() {
    let Some(images) = with_images() else { return };
    let variant = Variant {
        name: "kubeadm",
        profile: "kubeadm",
        changes: Box::leak(Box::new([RAW, images, WITHOUT_WORKER])),
    };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let nodes = ["m1", "m2", "m3"];
    eventually("every node has joined", PATIENCE, || {
        nodes.iter().try_for_each(|node| running.has_joined(node))
    });
    eventually("every pod runs", PATIENCE, || running.pods_are_ready(&nodes));
    let recorded = running.client.kubectl(
        &running.lab,
        &["--namespace=kube-system", "get", "configmap", "kubeadm-config", "--output=yaml"],
    );
    succeeded(&recorded, "controlPlaneEndpoint: 10.0.0.10:8443").unwrap();

    let lost = running.survives_the_holder();
    approve(&mut running.lab.kiln(&["start", &lost]));
    let local = format!("{}:6443", running.lab.address(&lost));
    eventually("the API server of the lost node is ready again", PATIENCE, || {
        running.client.ready(&running.lab, &local)
    });
    eventually("the lost node has joined the running cluster", PATIENCE, || running.has_joined(&lost));
    let journal =
        running.lab.inside(&lost, &["journalctl", "--boot", "--unit=kiln-kubeadm-join", "--output=cat"]);
    succeeded(&journal, "the cluster version is 1.20.2: ").unwrap();
    eventually("every pod runs again", PATIENCE, || running.pods_are_ready(&nodes));

    // A power cut of all nodes, after which the first node in the cluster file stays off.
    nodes.iter().for_each(|node| running.kill(node));
    let others = ["m2", "m3"];
    others.iter().for_each(|node| _ = approve(&mut running.lab.kiln(&["start", node])));
    eventually("two nodes are enough to start the cluster", PATIENCE, || running.ready());
    eventually("both nodes have joined the recorded cluster", PATIENCE, || {
        others.iter().try_for_each(|node| running.has_joined(node))
    });
    eventually("earlier writes are still there", FAILOVER, || {
        succeeded(&running.client.kubectl(&running.lab, &["get", "configmap", "before"]), "before")
    });
    running.ends_well();
}
