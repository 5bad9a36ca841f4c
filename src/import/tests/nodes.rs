//! Roles of machines, derived from the machines' files.

use super::{imported, machine, settings};
use crate::config::Machine;

#[test]
fn what_lies_on_a_machine_tells_its_role_and_the_balancers_of_a_certificate_are_no_control_plane_nodes() {
    let machines = behind_two_balancers();
    let expected = r#"name = "imported"
nodes = "10.9.0.0/24"
services = "10.0.0.0/24"
interface = "ens33"
vip = "10.9.0.200"
names = ["k8s.example.org"]
port = 6443
balancer = "nginx"
name = "master01" ["control-plane"] "10.9.0.31"
name = "master02" ["control-plane"] "10.9.0.34"
name = "node01" ["worker"] "10.9.0.32""#;
    assert_eq!(settings(&machines), expected);
    check_commented_nodes(&imported(&machines).text);
}

/// Returns two balancers, two control-plane nodes and a worker, each with a part of the configuration.
fn behind_two_balancers() -> Vec<Machine> {
    let server = |address: &str| {
        format!(
            "KUBE_APISERVER_OPTS=\"--advertise-address={address} \
            \\\n--service-cluster-ip-range=10.0.0.0/24\"\n"
        )
    };
    let keepalived = |priority: u8| {
        format!(
            "vrrp_instance api {{\n  interface ens33\n  priority {priority}\n  virtual_ipaddress {{\n    \
             10.9.0.200/24\n  }}\n}}\n"
        )
    };
    let nginx = "stream {\n  upstream api {\n    server 10.9.0.31:6443;\n  }\n  server {\n    listen \
        6443;\n    proxy_pass api;\n  }\n}\n";
    let names = "{\"hosts\": [\"10.0.0.1\", \"10.9.0.31\", \"10.9.0.34\", \"10.9.0.200\", \"10.9.0.35\", \
        \"kubernetes.default.svc\", \"master01\", \"k8s.example.org\"]}\n";
    vec![
        machine(
            "lb01",
            &[("/etc/keepalived/keepalived.conf", &keepalived(90)), ("/etc/nginx/nginx.conf", nginx)],
        ),
        machine(
            "lb02",
            &[("/etc/keepalived/keepalived.conf", &keepalived(100)), ("/etc/nginx/nginx.conf", nginx)],
        ),
        machine(
            "master01",
            &[("/opt/kubernetes/cfg/kube-apiserver", &server("10.9.0.31")), ("/root/csr.json", names)],
        ),
        machine("master02", &[("/opt/kubernetes/cfg/kube-apiserver", &server("10.9.0.34"))]),
        machine(
            "node01",
            &[("/opt/kubernetes/cfg/kubelet", "KUBELET_OPTS=\"--hostname-override=10.9.0.32 \\\n--v=2\"\n")],
        ),
    ]
}

fn check_commented_nodes(text: &str) {
    let balancers = text.split_once("# From lb02").unwrap().1;
    insta::assert_snapshot!(balancers, @r#"
    /etc/keepalived/keepalived.conf:1, lb02/etc/keepalived/keepalived.conf:3
    # keepalived's priority is 100 (lb02/etc/keepalived/keepalived.conf:3); kiln assigns priorities in the order of this file.
    # No file contains this machine's address; addresses without a machine name: 10.9.0.35.
    # [[nodes]]
    # name = "lb02"
    # roles = ["lb"]
    # address = "10.0.0.11"

    # From lb01/etc/keepalived/keepalived.conf:1, lb01/etc/keepalived/keepalived.conf:3
    # keepalived's priority is 90 (lb01/etc/keepalived/keepalived.conf:3); kiln assigns priorities in the order of this file.
    # No file contains this machine's address; addresses without a machine name: 10.9.0.35.
    # [[nodes]]
    # name = "lb01"
    # roles = ["lb"]
    # address = "10.0.0.11"

    # From node01/opt/kubernetes/cfg/kubelet:1
    [[nodes]]
    name = "node01"
    roles = ["worker"]
    address = "10.9.0.32"

    # From master01/root/csr.json:1
    # No file indicates this machine's role.
    # [[nodes]]
    # name = "n1"
    # roles = ["worker"]
    # address = "10.9.0.35"
    "#);
}
