//! Configurations as printed in articles: byte for byte in `tests/fixtures/import` (except for a line break
//! that article 001 lost), and with placeholders filled in as the articles instruct.

mod mistakes;
mod nodes;
mod variables;

use std::path::Path;

use super::inventory::role;
use super::{Imported, directory, of_machines};
use crate::config::{File, Machine};
use crate::error::Source;
use crate::lint::tests::published::article;
use crate::words::Role;

fn machines(fixture: &str) -> Vec<Machine> {
    directory::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(fixture))
        .unwrap()
        .machines
}

fn imported(machines: &[Machine]) -> Imported {
    of_machines(machines, "ha", "imported", 0)
}

fn file(machine: &str, path: &str, text: &str) -> Machine {
    let source = Source { path: format!("{machine}{path}").into(), text: text.into() };
    let file = File { path: path.to_owned(), text: source.text.clone(), mode: None, source };
    Machine { name: machine.to_owned(), files: vec![file], images: Vec::new() }
}

/// Returns the settings of a cluster file, one per line; a node is one line.
fn settings(machines: &[Machine]) -> String {
    let text = imported(machines).text;
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '[']) && !line.starts_with("profile"));
    let lines: Vec<&str> = lines.collect();
    lines.join("\n").replace("\nroles = ", " ").replace("\naddress = ", " ")
}

/// Returns the problems with placeholders in files: `file:line message (hint)`.
fn left_open(machines: &[Machine]) -> Vec<String> {
    let problems = imported(machines)
        .report
        .problems
        .into_iter()
        .filter(|problem| problem.message.starts_with("no file contains a value for"));
    let reported = |problem: crate::error::Problem| {
        let source = problem.source.unwrap();
        let line = source.text[..problem.span.unwrap().start].matches('\n').count() + 1;
        format!("{}:{line} {} ({})", source.path.display(), problem.message, problem.hint.unwrap())
    };
    problems.map(reported).collect()
}

#[test]
fn keepalived_before_two_masters_becomes_their_cluster() {
    let expected = r#"name = "kubernetes"
nodes = "192.168.115.0/24"
pods = "172.30.0.0/16"
services = "10.254.0.0/16"
node-ports = "1024-65535"
interface = "ens33"
vip = "192.168.115.4"
port = 6443
balancer = "keepalived"
virtual-router-id = 60
name = "m1" ["control-plane", "etcd"] "192.168.115.5"
name = "m2" ["control-plane", "etcd"] "192.168.115.6"
name = "e1" ["etcd"] "192.168.115.7""#;
    assert_eq!(settings(&machines("000-keepalived")), expected);
}

#[test]
fn haproxy_before_two_masters_becomes_their_cluster() {
    let expected = r#"name = "imported"
nodes = "192.168.115.0/24"
vip = "192.168.115.4"
port = 8443
balancer = "haproxy"
name = "s1" ["control-plane"] "192.168.115.5"
name = "s2" ["control-plane"] "192.168.115.6""#;
    assert_eq!(settings(&machines("000-haproxy")), expected);
}

#[test]
fn members_of_etcd_are_read_from_its_environment_whatever_the_quotes() {
    // The names imply masters, so etcd is not a role of its own.
    let members = r#"name = "master01" ["control-plane"] "1.1.1.1"
name = "master02" ["control-plane"] "2.2.2.2"
name = "master03" ["control-plane"] "3.3.3.3""#;
    assert_eq!(settings(&machines("001")), format!("name = \"imported\"\n{members}"));
    let planned = r#"name = "imported"
pause = "gcr.io/google_containers/pause-amd64:3.0"
pods = "192.168.0.0/16"
pods-per-node-prefix = 26
services = "10.10.0.0/22"
node-ports = "30000-32767"
domain = "cluster.local""#;
    assert!(settings(&article("1")).starts_with(planned), "{}", settings(&article("1")));
}

#[test]
fn what_was_typed_tells_names_addresses_and_the_version() {
    let expected = r#"name = "imported"
kubernetes = "1.20.11"
nodes = "192.168.109.0/24"
ntp = ["time.windows.com"]
name = "master01" ["control-plane"] "192.168.109.131"
name = "master02" ["control-plane"] "192.168.109.134"
name = "node01" ["worker"] "192.168.109.132"
name = "node02" ["worker"] "192.168.109.133""#;
    assert_eq!(settings(&machines("002")), expected);
}

#[test]
fn kubeadm_tells_version_registry_endpoint_and_pods_and_another_vip_is_a_conflict() {
    let imported = imported(&machines("003"));
    let expected = r#"name = "imported"
kubernetes = "1.18.8"
image-repository = "registry.aliyuncs.com/k8sxio"
nodes = "172.38.40.0/24"
pods = "10.244.0.0/16"
proxy-mode = "ipvs"
vip = "172.38.40.215"
port = 6443
balancer = "keepalived"
kube-vip = "docker.io/plndr/kube-vip:v0.4.1""#;
    assert_eq!(settings(&machines("003")), expected);
    assert!(imported.text.contains("kube-vip.sh:1 says kube-vip\n"), "{}", imported.text);
    assert!(imported.text.contains("kube-vip.sh:3 has an unsupported value: eth0\n"), "{}", imported.text);
    for place in ["environment.sh:2", "keepalived.conf:26"] {
        assert!(
            imported.text.contains(&format!("{place} says 172.19.42.230\n")),
            "{place}: {}",
            imported.text
        );
    }
    assert!(
        imported.text.contains("keepalived.conf:19 has only a placeholder: ${ROUTER_ID}\n"),
        "{}",
        imported.text
    );
}

#[test]
fn images_that_are_not_the_versions_are_taken_over() {
    let kubeadm = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: \
        v1.20.2\nimageRepository: registry.example.org/k8s\ndns:\n  imageTag: 1.8.0\n";
    let containerd =
        "[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"registry.example.org/k8s/pause:3.5\"\n";
    let machines =
        [file("m1", "/root/kubeadm.yaml", kubeadm), file("m1", "/etc/containerd/config.toml", containerd)];
    let expected = r#"name = "imported"
kubernetes = "1.20.2"
image-repository = "registry.example.org/k8s"
pause = "registry.example.org/k8s/pause:3.5"
coredns = "registry.example.org/k8s/coredns:1.8.0""#;
    assert_eq!(settings(&machines), expected);
}

#[test]
fn a_damaged_file_never_makes_a_damaged_cluster_file() {
    for article_name in ["0-keepalived", "0-haproxy", "1", "2", "3", "4"] {
        for machine in article(article_name) {
            for one in machine.files {
                let cuts = (0..one.text.len()).step_by(131).filter(|at| one.text.is_char_boundary(*at));
                for cut in cuts {
                    let machines = [
                        file(&machine.name, &one.path, &one.text[cut..]),
                        file("m9", &one.path, &one.text[..cut]),
                    ];
                    let text = imported(&machines).text;
                    assert!(text.parse::<toml::Table>().is_ok(), "{} at {cut}:\n{text}", one.path);
                }
            }
        }
    }
}

#[test]
fn names_of_groups_and_machines_mean_roles() {
    let meant = ["kube_control_plane", "k8smaster01", "etcd", "lb-2", "melbourne", "node7"].map(role);
    let expected = [
        Some(Role::ControlPlane),
        Some(Role::ControlPlane),
        Some(Role::Etcd),
        Some(Role::Lb),
        None,
        Some(Role::Worker),
    ];
    assert_eq!(meant, expected);
}

#[test]
fn nginx_tells_the_port_and_the_api_servers() {
    let nginx = "stream {\n  upstream api {\n    server 10.0.0.11:6443;\n    server 10.0.0.12:6443;\n  }\n  \
                 server {\n    listen 16443;\n    proxy_pass api;\n  }\n}\n";
    let expected = r#"name = "imported"
nodes = "10.0.0.0/24"
port = 16443
balancer = "nginx"
name = "m1" ["control-plane"] "10.0.0.11"
name = "m2" ["control-plane"] "10.0.0.12""#;
    assert_eq!(settings(&[file("", "/etc/nginx/nginx.conf", nginx)]), expected);
}

/// A machine with several files.
fn machine(name: &str, files: &[(&str, &str)]) -> Machine {
    Machine {
        files: files.iter().flat_map(|(path, text)| file(name, path, text).files).collect(),
        ..file(name, "", "")
    }
}

#[test]
fn an_endpoint_by_name_is_somebody_elses_and_what_kiln_does_not_take_is_told() {
    let kubeadm = "kind: ClusterConfiguration\ncontrolPlaneEndpoint: api.example.org:443\nnetworking:\n  \
        podSubnet: 10.244.0.0/16,fd00::/56\n\
                   apiServer:\n  certSANs: [api.example.org, k8s.example.com]\netcd:\n  external:\n    \
        endpoints:\n    - https://10.0.0.1:2379\n";
    let machines = [
        file("", "/kubeadm.yaml", kubeadm),
        file("", "/cni.yaml", "kind: DaemonSet\nimage: docker.io/calico/node:v3.20.0\n"),
    ];
    let expected = r#"name = "imported"
nodes = "10.0.0.0/24"
pods = "10.244.0.0/16"
names = ["api.example.org", "k8s.example.com"]
port = 443
balancer = "external"
name = "e1" ["etcd"] "10.0.0.1""#;
    assert_eq!(settings(&machines), expected);
    let text = imported(&machines).text;
    for reported in [
        "/kubeadm.yaml:4 has an unsupported value: fd00::/56\npods",
        "/cni.yaml:2 has an unsupported value: calico\n",
    ] {
        assert!(text.contains(reported), "{text}");
    }
}

#[test]
fn images_of_balancers_are_taken_over_from_the_version_on_that_kiln_configures() {
    let pod =
        |image: &str| format!("kind: Pod\nspec:\n  hostNetwork: true\n  containers:\n  - image: {image}\n");
    let taken = |image: &str| {
        settings(&[file("m1", "/etc/kubernetes/manifests/lb.yaml", &pod(image))])
            .lines()
            .last()
            .unwrap()
            .to_owned()
    };
    for (image, expected) in [
        ("haproxy:2.4", "haproxy = \"docker.io/library/haproxy:2.4\""),
        ("haproxy:2.3.9-alpine", "run = \"static-pod\""),
        ("registry.example.org/lb/nginx:1.28", "nginx = \"registry.example.org/lb/nginx:1.28\""),
        ("example/keepalived:latest", "keepalived = \"docker.io/example/keepalived:latest\""),
        ("ghcr.io/kube-vip/kube-vip:v0.3.9", "run = \"static-pod\""),
    ] {
        assert_eq!(taken(image), expected, "{image}");
    }
}

#[test]
fn two_files_that_disagree_are_told_and_the_first_counts() {
    let keepalived = |id: u8| {
        format!(
            "vrrp_instance VI_1 {{\n  virtual_router_id {id}\n  virtual_ipaddress {{\n    10.0.0.1{id}\n  \
             }}\n}}\n"
        )
    };
    let machines =
        [1, 2].map(|id| file(&format!("m{id}"), "/etc/keepalived/keepalived.conf", &keepalived(id)));
    let imported = imported(&machines);
    assert!(
        imported
            .text
            .contains("# CONFLICT: m2/etc/keepalived/keepalived.conf:2 says 2\nvirtual-router-id = 1\n"),
        "{}",
        imported.text
    );
    let problem =
        |field: &str| imported.report.problems.iter().find(|problem| problem.field == field).unwrap();
    let message = "`virtual-router-id` is `2` here, but `1` in m1/etc/keepalived/keepalived.conf:2";
    assert_eq!(problem("endpoint.virtual-router-id").message, message);
    assert_eq!(problem("endpoint.vip").code, Some("HA007"));
}

#[test]
fn variables_that_grow_by_each_other_and_scripts_in_scripts_come_to_an_end() {
    let doubled: String =
        (1..64).map(|number| format!("V{number}=\"${{V{0}}}${{V{0}}}\"\n", number - 1)).collect();
    let variables = doubled.replace("${V0}", "10.0.0.1");
    let script: String = (0..500).map(|number| format!("cat > /x{number}.sh <<E{number}\n")).collect();
    let machines = [
        file("", "/environment.sh", &variables),
        file("", "/etc/keepalived.conf", "vip ${V63}\n"),
        file("m1", "/x.sh", &script),
    ];
    assert_eq!(left_open(&machines).len(), 1);
}

#[test]
fn hostile_values_stay_out_of_the_cluster_file() {
    let hosts = "10.0.0.11 m1\"\\n[vault]\n10.0.0.12 ../x\n";
    let text = imported(&[file("", "/etc/hosts", hosts)]).text;
    assert!(!text.contains("\n[vault]") && !text.contains("../x"), "{text}");
}
