//! Docker as the container runtime, for kubelet versions that support it.

use crate::common::Variant;
use crate::common::approve;
use crate::common::lab::{PATIENCE, eventually, succeeded};
use crate::running::{Expected, MASTERS, RAW, Running, with_images};

const DOCKER: (&str, &str) = ("[cluster]", "[cluster]\nruntime = \"docker\"");

impl Running {
    /// The response of a node's Docker to a request for an API path.
    fn docker(&self, node: &str, path: &str) -> String {
        let url = format!("http://docker/v1.40/{path}");
        approve(self.lab.kiln(&["exec", node, "--"]).args([
            "curl",
            "--silent",
            "--fail",
            "--unix-socket",
            "/run/docker.sock",
            &url,
        ]))
    }

    /// Lets dockerd validate its configuration file, and checks that it would reject an unknown key.
    fn docker_accepts_its_configuration(&self, node: &str) {
        let validate = |script: &str| self.lab.inside(node, &["sh", "-c", script]);
        let good = validate("dockerd --validate --config-file /etc/docker/daemon.json");
        succeeded(&good, "configuration OK").unwrap();
        let other = "sed 's/live-restore/live-restored/' /etc/docker/daemon.json >/run/other.json; dockerd \
            --validate --config-file /run/other.json";
        let refused = validate(other);
        assert!(
            !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("live-restored"),
            "{refused:?}"
        );
    }

    /// Starts an idle pod on `node` and returns its address in the CNI network.
    fn idle_pod_on(&self, node: &str) -> String {
        let name = format!("idle-{node}");
        let node = format!(
            "--overrides={{\"spec\":{{\"nodeName\":\"{node}\",\"tolerations\":[{{\"operator\":\"Exists\"}}]}}}}"
        );
        let kubectl = |arguments: &[&str]| self.client.kubectl(&self.lab, arguments);
        eventually("the pod is created", PATIENCE, || {
            succeeded(
                &kubectl(&["run", &name, "--image=k8s.gcr.io/pause:3.2", "--restart=Never", &node]),
                "created",
            )
        });
        let mut address = String::new();
        eventually(&format!("{name} runs"), PATIENCE, || {
            let output = kubectl(&["get", "pod", &name, "--output=jsonpath={.status.phase} {.status.podIP}"]);
            succeeded(&output, "Running 10.244.")?;
            address = String::from_utf8_lossy(&output.stdout).split(' ').nth(1).unwrap().to_owned();
            Ok(())
        });
        address
    }

    /// Checks that all three kubelets report Docker as their runtime.
    fn kubelets_use_docker(&self) {
        let runtime =
            ["get", "nodes", "--output=jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}"];
        let runtimes = self.client.kubectl(&self.lab, &runtime);
        succeeded(&runtimes, "docker://").unwrap();
        assert_eq!(String::from_utf8_lossy(&runtimes.stdout).matches("docker://").count(), 3, "{runtimes:?}");
    }

    fn docker_is_configured_as_kubelets_need(&self, node: &str) {
        let information = self.docker(node, "info");
        for setting in [
            "\"CgroupDriver\":\"systemd\"",
            "\"Driver\":\"overlay2\"",
            "\"LoggingDriver\":\"json-file\"",
            "\"LiveRestoreEnabled\":true",
        ] {
            assert!(information.contains(setting), "{setting} is not in {information}");
        }
    }

    /// Starts a pod on each of two nodes and checks that Docker runs the pods of `m1` and that each pod is
    /// reachable from the other node.
    fn pods_run_in_docker_and_reach_each_other(&self) {
        let (first, second) = (self.idle_pod_on("m1"), self.idle_pod_on("m2"));
        for pod in [
            "k8s_idle-m1_idle-m1_default",
            "k8s_haproxy_haproxy-m1_kube-system",
            "k8s_keepalived_keepalived-m1_kube-system",
        ] {
            let containers = self.docker("m1", "containers/json");
            assert!(containers.contains(pod), "Docker runs no {pod}: {containers}");
        }
        assert!(self.lab.reaches(Some("m2"), &first, 9), "m2 cannot reach a pod on m1");
        assert!(self.lab.reaches(Some("m1"), &second, 9), "m1 cannot reach a pod on m2");
    }

    /// Checks that Docker adds no packet filter rules and no bridge.
    fn docker_leaves_the_packet_filter_alone(&self, node: &str) {
        let rules = self.lab.inside(node, &["sh", "-c", "iptables-save; ip -brief link"]);
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        assert!(
            rules.contains(":FORWARD ACCEPT") && !rules.contains("DOCKER") && !rules.contains("docker0"),
            "{rules}"
        );
    }

    fn pods_survive_a_restart_of_docker(&self) {
        let id = |text: String| text.split("\"Id\":\"").nth(1).unwrap()[..64].to_owned();
        let filter = "containers/json?filters=%7B%22name%22%3A%5B%22k8s_POD_idle-m1%22%5D%7D";
        let before = id(self.docker("m1", filter));
        succeeded(&self.lab.inside("m1", &["systemctl", "restart", "docker.service"]), "").unwrap();
        assert_eq!(id(self.docker("m1", filter)), before, "the pod was replaced");
    }
}

#[test]
fn docker_runs_the_pods_of_kubelets_that_speak_to_it_and_leaves_the_network_alone() {
    let Some(images) = with_images() else { return };
    let variant = Variant {
        name: "docker",
        profile: "ha-static-pods",
        changes: Box::leak(Box::new([RAW, images, DOCKER])),
    };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    running.kubelets_use_docker();
    running.docker_is_configured_as_kubelets_need("m1");
    running.docker_accepts_its_configuration("m1");
    running.pods_run_in_docker_and_reach_each_other();
    running.docker_leaves_the_packet_filter_alone("m1");
    running.pods_survive_a_restart_of_docker();

    running.survives_the_holder_as("static_pods_carry_the_vip_as_services_do");
    running.ends_well();
}
