//! Load balancers on the masters, as services.

use crate::common::lab::{FAILOVER, PATIENCE, eventually};
use crate::common::{Variant, approve};
use crate::running::{Expected, RAW, Running};

#[test]
fn nginx_carries_the_vip_as_haproxy_does_in_a_cluster_of_ipv6_alone() {
    const SIXTH: &str =
        "pods = \"fd00:2::/48\"\npods-per-node-prefix = 64\nservices = \"fd00:3::/112\"\n\n[endpoint]";
    let changes = &[
        RAW,
        (
            "nodes = \"10.0.0.0/24\"\ngateway = \"10.0.0.1\"",
            "nodes = \"fd00:1::/64\"\ngateway = \"fd00:1::1\"",
        ),
        ("\n[endpoint]", SIXTH),
        ("vip = \"10.0.0.10\"", "balancer = \"nginx\"\nvip = \"fd00:1::10\""),
        ("\"10.0.0.11\"", "\"fd00:1::11\""),
        ("\"10.0.0.12\"", "\"fd00:1::12\""),
        ("\"10.0.0.13\"", "\"fd00:1::13\""),
    ];
    let variant = Variant { name: "ha-nginx-ipv6", profile: "ha", changes };
    let members = ["fd00:1::11", "fd00:1::12", "fd00:1::13"];
    let expected = Expected { endpoint: "[fd00:1::10]:8443", member: "m1", members, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let (here, there) = (running.pod_on("m1"), running.pod_on("m2"));
    assert!(running.lab.reaches(Some("m1"), &there, 9), "a node cannot reach a pod on another node");
    assert!(running.lab.reaches(Some("m2"), &here, 9), "a node cannot reach a pod on another node");
    let holder = running.one_holder();
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "stop", "nginx.service"]));
    eventually("the VIP has left the node without nginx", FAILOVER, || match running.holder() {
        Ok(now) if now != holder => running.ready(),
        other => Err(format!("{other:?}")),
    });
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "start", "nginx.service"]));
    running.survives_the_holder();
    running.ends_well();
}

#[test]
fn two_masters_survive_one_of_them_and_an_api_server_that_stops() {
    let variant = Variant { name: "two-masters", profile: "two-masters", changes: &[RAW] };
    let expected = Expected {
        endpoint: "10.0.0.10:6443",
        member: "m1",
        members: ["10.0.0.11", "10.0.0.12", "10.0.0.21"],
        kubelets: 4,
    };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let lost = running.survives_the_holder();
    approve(&mut running.lab.kiln(&["start", &lost]));
    let local = format!("{}:6443", running.lab.address(&lost));
    eventually("the API server of the lost node is ready again", PATIENCE, || {
        running.client.ready(&running.lab, &local)
    });

    let holder = running.one_holder();
    let stop = ["systemctl", "stop", "--no-block", "kube-apiserver.service"];
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(stop));
    eventually("the VIP has moved to a ready API server", FAILOVER, || match running.holder() {
        Ok(now) if now == lost => running.ready(),
        other => Err(format!("{other:?}")),
    });
    running.is_writable("by-the-other");
    approve(running.lab.kiln(&["exec", &holder, "--"]).args([
        "systemctl",
        "start",
        "kube-apiserver.service",
    ]));
    running.ends_well();
}

#[test]
fn haproxy_on_two_masters_hides_an_api_server_that_stops() {
    const HAPROXY: (&str, &str) = ("# balancer = \"keepalived\"", "balancer = \"haproxy\"");
    let variant = Variant { name: "two-masters-haproxy", profile: "two-masters", changes: &[RAW, HAPROXY] };
    let members = ["10.0.0.11", "10.0.0.12", "10.0.0.21"];
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members, kubelets: 4 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let holder = running.one_holder();
    approve(running.lab.kiln(&["exec", &holder, "--"]).args([
        "systemctl",
        "stop",
        "--no-block",
        "kube-apiserver.service",
    ]));
    eventually("the other API server answers", FAILOVER, || running.ready());
    running.is_writable("by-the-other");
    assert_eq!(running.holder().unwrap(), holder, "the VIP moved although HAProxy works");
    approve(running.lab.kiln(&["exec", &holder, "--"]).args([
        "systemctl",
        "start",
        "kube-apiserver.service",
    ]));
    let local = format!("{}:6443", running.lab.address(&holder));
    eventually("the API server is ready again", PATIENCE, || running.client.ready(&running.lab, &local));
    running.survives_the_holder_as("two_masters_survive_one_of_them_and_an_api_server_that_stops");
    running.ends_well();
}
