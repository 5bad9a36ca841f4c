//! Docker below the kubelets, for versions that speak to it.

use crate::common::Variant;
use crate::common::approve;
use crate::common::lab::{PATIENCE, eventually, succeeded};
use crate::running::{Expected, MASTERS, RAW, Running, with_images};

const DOCKER: (&str, &str) = ("[cluster]", "[cluster]\nruntime = \"docker\"");

impl Running {
    /// What a node's Docker says at a path of its API.
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

    /// The daemon itself judges its file, and would refuse a word that it does not know.
    fn docker_has_nothing_to_say_about_its_configuration(&self, node: &str) {
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

    /// Starts a pod on `node` that does nothing, and returns its address in the network of CNI.
    fn idle_pod_on(&self, node: &str) -> String {
        let name = format!("idle-{node}");
        let node = format!(
            "--overrides={{\"spec\":{{\"nodeName\":\"{node}\",\"tolerations\":[{{\"operator\":\"Exists\"}}]}}}}"
        );
        let kubectl = |arguments: &[&str]| self.client.kubectl(&self.lab, arguments);
        eventually("the pod is taken", PATIENCE, || {
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
    let runtime = ["get", "nodes", "--output=jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}"];
    let runtimes = running.client.kubectl(&running.lab, &runtime);
    succeeded(&runtimes, "docker://").unwrap();
    assert_eq!(String::from_utf8_lossy(&runtimes.stdout).matches("docker://").count(), 3, "{runtimes:?}");
    let information = running.docker("m1", "info");
    for setting in [
        "\"CgroupDriver\":\"systemd\"",
        "\"Driver\":\"overlay2\"",
        "\"LoggingDriver\":\"json-file\"",
        "\"LiveRestoreEnabled\":true",
    ] {
        assert!(information.contains(setting), "{setting} is not in {information}");
    }

    running.docker_has_nothing_to_say_about_its_configuration("m1");

    let (first, second) = (running.idle_pod_on("m1"), running.idle_pod_on("m2"));
    for pod in [
        "k8s_idle-m1_idle-m1_default",
        "k8s_haproxy_haproxy-m1_kube-system",
        "k8s_keepalived_keepalived-m1_kube-system",
    ] {
        let containers = running.docker("m1", "containers/json");
        assert!(containers.contains(pod), "Docker runs no {pod}: {containers}");
    }
    assert!(running.lab.reaches(Some("m2"), &first, 9), "packets of other nodes are forwarded to pods of m1");
    assert!(
        running.lab.reaches(Some("m1"), &second, 9),
        "packets of other nodes are forwarded to pods of m2"
    );
    let rules = running.lab.inside("m1", &["sh", "-c", "iptables-save; ip -brief link"]);
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    assert!(
        rules.contains(":FORWARD ACCEPT") && !rules.contains("DOCKER") && !rules.contains("docker0"),
        "{rules}"
    );

    // Its pods outlive a daemon that is started anew.
    let id = |text: String| text.split("\"Id\":\"").nth(1).unwrap()[..64].to_owned();
    let filter = "containers/json?filters=%7B%22name%22%3A%5B%22k8s_POD_idle-m1%22%5D%7D";
    let before = id(running.docker("m1", filter));
    succeeded(&running.lab.inside("m1", &["systemctl", "restart", "docker.service"]), "").unwrap();
    assert_eq!(id(running.docker("m1", filter)), before, "the pod is another one");

    running.survives_the_holder_as("static_pods_carry_the_vip_as_services_do");
    running.ends_well();
}
