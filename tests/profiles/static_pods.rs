//! Load balancers as static pods.

use std::fs;
use std::process::Command;

use crate::common::lab::{FAILOVER, PATIENCE, eventually, succeeded};
use crate::common::{Variant, approve};
use crate::running::{Expected, MASTERS, RAW, Running, with_images};

/// Checks that an API server accepts kube-vip's pod and objects. No distribution packages kube-vip itself.
fn kube_vips_files_are_what_an_api_server_takes(running: &Running) {
    let scratch = tempfile::tempdir().unwrap();
    let kiln = |arguments: &[&str]| {
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.current_dir(scratch.path()).args(arguments);
        kiln.output().unwrap()
    };
    assert!(kiln(&["init", "--profile", "kube-vip"]).status.success());
    let bgp = "[endpoint.bgp]\nlocal-as = 64512\npeers = [\"10.0.0.1:64513\"]\n";
    let rendered = |path: &str| {
        let output = kiln(&["render", "m1", path]);
        assert!(output.status.success(), "{output:?}");
        fs::write(scratch.path().join("file.yaml"), output.stdout).unwrap();
        scratch.path().join("file.yaml").to_str().unwrap().to_owned()
    };
    for change in ["", bgp] {
        let file = scratch.path().join("cluster.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n{change}")).unwrap();
        for (path, mode) in [
            ("/etc/kubernetes/manifests/kube-vip.yaml", "--dry-run=client"),
            ("/etc/kubernetes/bootstrap/20-kube-vip.yaml", "--dry-run=server"),
        ] {
            let file = rendered(path);
            let create = ["create", "--validate=true", mode, "--filename", &file];
            succeeded(&running.client.kubectl(&running.lab, &create), "created").unwrap();
        }
    }
}

#[test]
fn static_pods_carry_the_vip_as_services_do() {
    let Some(images) = with_images() else { return };
    let variant = Variant {
        name: "ha-static-pods",
        profile: "ha-static-pods",
        changes: Box::leak(Box::new([RAW, images])),
    };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let holder = running.one_holder();
    let inside = |program: &[&str]| running.lab.inside(&holder, program);
    for program in ["haproxy", "keepalived"] {
        running.runs_only_as_a_pod(program, &holder);
    }
    let pinned = inside(&[
        "ctr",
        "--namespace",
        "k8s.io",
        "images",
        "ls",
        "labels.\"io.cri-containerd.pinned\"==pinned",
    ]);
    for image in ["k8s.gcr.io/pause:3.2", "docker.io/library/haproxy:3.0", "localhost/keepalived:2.3"] {
        succeeded(&pinned, image).unwrap();
    }

    kube_vips_files_are_what_an_api_server_takes(&running);

    // The VIP leaves a node whose load balancer pod was removed.
    let manifest = "/etc/kubernetes/manifests/haproxy.yaml";
    succeeded(&inside(&["mv", manifest, "/run/haproxy.yaml"]), "").unwrap();
    eventually("the VIP has left the node without HAProxy", FAILOVER, || match running.holder() {
        Ok(now) if now != holder => running.ready(),
        other => Err(format!("{other:?}")),
    });
    succeeded(&inside(&["cp", "/run/haproxy.yaml", manifest]), "").unwrap();
    eventually("HAProxy runs again", FAILOVER, || {
        succeeded(&inside(&["cat", "/run/kiln-guard/verdict"]), "0")
    });

    let lost = running.survives_the_holder();
    running.imports_no_image_after_a_restart(&lost);
    running.ends_well();
}

#[test]
fn nginx_and_keepalived_carry_the_vip_as_static_pods() {
    const NGINX: (&str, &str) = ("# balancer = \"haproxy\"", "balancer = \"nginx\"");
    let Some(images) = with_images() else { return };
    let variant = Variant {
        name: "ha-nginx-static-pods",
        profile: "ha-static-pods",
        changes: Box::leak(Box::new([RAW, NGINX, images])),
    };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let holder = running.one_holder();
    for program in ["nginx", "keepalived"] {
        running.runs_only_as_a_pod(program, &holder);
    }
    // The probes reached nginx's own endpoint: no container was restarted.
    let restarts = "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let pods = running.client.kubectl(&running.lab, &["--namespace=kube-system", "get", "pods", restarts]);
    assert!(
        pods.status.success()
            && String::from_utf8_lossy(&pods.stdout).split_whitespace().all(|count| count == "0"),
        "{pods:?}"
    );
    running.one_holder();
    running.survives_the_holder_as("static_pods_carry_the_vip_as_services_do");
    running.ends_well();
}

impl Running {
    /// Starts a machine that lost power and checks that it does not import images again.
    fn imports_no_image_after_a_restart(&self, node: &str) {
        approve(&mut self.lab.kiln(&["start", node]));
        let log = ["journalctl", "--unit=preload-images.service", "--output=cat", "--no-pager"];
        eventually("the images are still there", PATIENCE, || {
            let log = self.lab.inside(node, &log);
            let text = String::from_utf8_lossy(&log.stdout).into_owned();
            // The journal does not distinguish the boots of a container.
            let [_, first, second] = &text.split("Starting ").collect::<Vec<_>>()[..] else {
                return Err(text);
            };
            let done = |boot: &str| boot.contains("Finished").then(|| boot.contains("importing"));
            if (done(first), done(second)) == (Some(true), Some(false)) { Ok(()) } else { Err(text) }
        });
    }

    /// Checks that a program runs in a ready pod and is not installed on the machine.
    fn runs_only_as_a_pod(&self, program: &str, node: &str) {
        let found = self.lab.inside(node, &["which", program]);
        assert!(!found.status.success(), "{program} is installed on the machine: {found:?}");
        let format = "--output=jsonpath={.status.containerStatuses[0].ready} {.status.hostIP}";
        let pod = format!("{program}-{node}");
        let expected = format!("true {}", self.lab.address(node));
        eventually(&format!("the API server reports {pod} as ready"), PATIENCE, || {
            succeeded(
                &self.client.kubectl(&self.lab, &["--namespace=kube-system", "get", "pod", &pod, format]),
                &expected,
            )
        });
    }
}
