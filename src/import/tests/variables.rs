//! Placeholders, and the variables and inventories that fill them.

use super::{file, imported, left_open, machine, machines, settings};
use crate::config::Machine;
use crate::lint::tests::published::article;

#[test]
fn placeholders_stay_open_until_they_are_filled_in() {
    assert_eq!(
        settings(&machines("004")),
        "name = \"imported\"\nbalancer = \"haproxy\"\nrun = \"static-pod\""
    );
    // kiln's configuration requires newer images.
    let text = imported(&machines("004")).text;
    for image in [
        "haproxy.yaml:8 has an unsupported value: haproxy:2.1.4\n",
        "has an unsupported value: osixia/keepalived:2.0.17\n",
    ] {
        assert!(text.contains(image), "{text}");
    }
    let filled = r#"name = "imported"
nodes = "192.168.0.0/24"
vip = "192.168.0.40"
port = 6443
balancer = "haproxy"
run = "static-pod"
virtual-router-id = 51
name = "m1" ["control-plane"] "192.168.0.41""#;
    assert_eq!(settings(&article("4")), filled);
}

#[test]
fn variables_that_lie_beside_the_files_fill_their_placeholders() {
    let haproxy = "frontend api\n  bind *:${PORT}\n  default_backend api\nbackend api\n  server m1 \
        <master1-ip>:6443\n  server m2 ##MASTER2_IP##:6443\n";
    let kubeconfig = "apiVersion: v1\nclusters:\n- cluster:\n    server: $KUBE_APISERVER\n";
    let common = "export VIP=10.0.0.10 # where clients go\nPORT='8443'\nexport \
        KUBE_APISERVER=\"https://${VIP}:${PORT}\"\nMASTER1_IP=10.0.0.11\nIPS=(a b)\n";
    let machines = [
        file("", "/environment.sh", common),
        file("m1", "/etc/haproxy/haproxy.cfg", haproxy),
        Machine {
            files: [
                ("/root/vars", "MASTER2_IP=10.0.0.12\n"),
                ("/etc/haproxy/haproxy.cfg", haproxy),
                ("/etc/kubernetes/admin.config", kubeconfig),
            ]
            .into_iter()
            .flat_map(|(path, text)| file("m2", path, text).files)
            .collect(),
            ..file("m2", "", "")
        },
    ];
    let expected = r#"name = "imported"
nodes = "10.0.0.0/24"
vip = "10.0.0.10"
port = 8443
balancer = "haproxy"
name = "m1" ["control-plane"] "10.0.0.11"
name = "m2" ["control-plane"] "10.0.0.12""#;
    assert_eq!(settings(&machines), expected);
    let text = imported(&machines).text;
    assert!(
        text.contains(
            "# From m1/etc/haproxy/haproxy.cfg:2, m2/etc/haproxy/haproxy.cfg:2, \
            m2/etc/kubernetes/admin.config:4\nport"
        ),
        "{text}"
    );
    // A variable of one machine does not fill placeholders of another.
    let reported = "m1/etc/haproxy/haproxy.cfg:6 no file contains a value for `##MASTER2_IP##` (put an \
        `environment.sh` that contains `MASTER2_IP=\"10.0.0.11\"` next to the machine's files and import \
        again, or replace the placeholder)";
    assert_eq!(left_open(&machines), [reported]);
}

#[test]
fn placeholders_that_nothing_fills_are_told_with_their_place_and_what_to_write() {
    let reported =
        left_open(&machines("003")).join("\n").replace("tests/fixtures/import/003/m1/etc/keepalived/", "");
    let reported = reported.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "");
    insta::assert_snapshot!(reported, @r#"
    keepalived.conf:17 no file contains a value for `${STATE}` (put an `environment.sh` that contains `STATE="BACKUP"` next to the machine's files and import again, or replace the placeholder)
    keepalived.conf:19 no file contains a value for `${ROUTER_ID}`, so the cluster file does not set `virtual-router-id` (put an `environment.sh` that contains `ROUTER_ID="60"` next to the machine's files and import again, or replace the placeholder)
    keepalived.conf:20 no file contains a value for `${PRIORITY}` (put an `environment.sh` that contains `PRIORITY="100"` next to the machine's files and import again, or replace the placeholder)
    "#);
    let units = file(
        "m1",
        "/usr/lib/systemd/system/kubelet.service",
        "[Service]\nExecStart=/usr/bin/kubelet $KUBELET_ARGS\n",
    );
    let scripts = file("m1", "/root/x.sh", "#!/bin/sh\necho $HOME ${VIP}\n# <your-ip>\n");
    assert_eq!(left_open(&[units, scripts]), [""; 0]);
}

#[test]
fn an_inventory_gives_names_roles_and_variables() {
    let inventory = "[masters]\nm1 ansible_host=10.0.0.11\nm2 \
        ansible_host=10.0.0.12\n\n[etcd]\nm1\nm2\nw1\n\n[nodes]\nw1 \
        ip=10.0.0.21\n\n[lb]\n10.0.0.31\n\n[k8s:children]\nmasters\nnodes\n\n[all:vars]\nlb_vip=10.0.0.10\nvrid=71\nservice_cidr=10.96.0.0/16\nkube_version=v1.20.2\nnode_port_range=30000 \
        ~ 32767\n";
    let expected = r#"name = "imported"
kubernetes = "1.20.2"
nodes = "10.0.0.0/24"
services = "10.96.0.0/16"
node-ports = "30000-32767"
vip = "10.0.0.10"
virtual-router-id = 71
name = "m1" ["control-plane", "etcd"] "10.0.0.11"
name = "m2" ["control-plane", "etcd"] "10.0.0.12"
name = "w1" ["etcd", "worker"] "10.0.0.21"
name = "lb1" ["lb"] "10.0.0.31""#;
    assert_eq!(settings(&[file("", "/inventory.ini", inventory)]), expected);
}

#[test]
fn an_inventory_in_yaml_and_variables_of_groups_say_the_same() {
    let inventory = "all:\n  children:\n    kube_control_plane:\n      hosts:\n        m1:\n          \
        ansible_host: 10.0.0.11\n    \
                     kube_node:\n      hosts:\n        w1:\n          ip: 10.0.0.21\n  vars:\n    vip: \
        10.0.0.10\n";
    let variables = "kube_version: v1.20.2\nkube_pods_subnet: 10.233.64.0/18\n";
    let machines = [
        file("", "/hosts.yml", inventory),
        file("", "/group_vars/all.yml", variables),
        file("m1", "/etc/resolv.conf", "nameserver 10.0.0.1\n"),
        file("w1", "/etc/resolv.conf", "nameserver 10.0.0.2\nnameserver 10.0.0.1\n"),
    ];
    let expected = r#"name = "imported"
kubernetes = "1.20.2"
nodes = "10.0.0.0/24"
pods = "10.233.64.0/18"
dns = ["10.0.0.1", "10.0.0.2"]
vip = "10.0.0.10"
name = "m1" ["control-plane"] "10.0.0.11"
name = "w1" ["worker"] "10.0.0.21""#;
    assert_eq!(settings(&machines), expected);
}

#[test]
fn variables_of_an_inventory_fill_the_templates_beside_it() {
    let inventory =
        "[master]\nm[01:02]\n[lb]\nlb1 ansible_host=10.0.0.21 state=MASTER\n[all:vars]\nvip=10.0.0.10\n";
    let haproxy = "frontend api\n  bind *:{{ lb_port }}\n  default_backend api\nbackend api\n{% for host in \
        groups['master'] %}\n  server {{ host }} {{ hostvars[host]['ansible_host'] }}:6443 check\n{% endfor \
        %}\n";
    let keepalived = "global_defs {\n  router_id {{ inventory_hostname }}\n}\nvrrp_instance api {\n  state \
        {{ state }}\n  virtual_router_id {{ vrid }}\n  virtual_ipaddress {\n    {{ vip }}\n  }\n}\n";
    let machines = [machine(
        "",
        &[
            ("/hosts", inventory),
            ("/group_vars/all.yml", "lb_port: 8443 # for clients\nSERVICE_CLUSTER_IP_RANGE: 10.10.1.0/22\n"),
            ("/host_vars/m01.yml", "ansible_host: 10.0.0.11\n"),
            ("/host_vars/m02/main.yml", "ansible_host: 10.0.0.12\n"),
            ("/roles/lb/templates/haproxy.cfg", haproxy),
            ("/roles/lb/templates/keepalived.conf", keepalived),
        ],
    )];
    let expected = r#"name = "imported"
nodes = "10.0.0.0/24"
services = "10.10.0.0/22"
vip = "10.0.0.10"
port = 8443
balancer = "haproxy"
name = "m01" ["control-plane"] "10.0.0.11"
name = "m02" ["control-plane"] "10.0.0.12"
name = "lb1" ["lb"] "10.0.0.21""#;
    assert_eq!(settings(&machines), expected);
    let open = left_open(&machines);
    assert!(open.len() == 1 && open[0].contains("`{{ vrid }}`"), "{open:?}");
    let problems = imported(&machines).report.problems;
    assert!(
        problems.iter().any(|problem| problem.code == Some("HA002")),
        "the network of services has host bits"
    );
}
