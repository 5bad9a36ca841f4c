//! Load balancers on separate machines.

use crate::common::Variant;
use crate::running::{Expected, MASTERS, RAW, Running};

#[test]
fn external_lb_survives_a_balancer_and_a_control_plane_node() {
    const DNS: (&str, &str) = ("[endpoint]", "[overlays.control-plane]\nadd = [\"coredns\"]\n\n[endpoint]");
    let variant = Variant { name: "external-lb", profile: "external-lb", changes: &[RAW, DNS] };
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "m1", members: MASTERS, kubelets: 5 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    running.pods_reach_what_they_should(["w1", "w2"]);
    running.has_dns_on_two_nodes();
    running.takes_flannel();
    running.takes_the_documented_add_on();
    running.tells_who_else_has_the_vip(["l1", "l2"], "10.0.0.10");
    for (from, port, expected) in [
        ("m2", 2379, true),
        ("w1", 2379, false),
        ("l1", 2380, false),
        ("w1", 10250, true),
        ("w1", 10257, false),
    ] {
        assert_eq!(running.lab.reaches(Some(from), MASTERS[0], port), expected, "{from} to {port}");
    }
    assert!(running.survives_the_holder().starts_with('l'), "the VIP was not on a load balancer");
    running.kill("m1");
    running.is_writable("without-m1");
    running.ends_well();
}

#[test]
fn nginx_balances_on_machines_of_its_own_before_a_control_plane_whose_etcd_is_elsewhere() {
    const ETCD: (&str, &str) = (
        "# Keys and certificates;",
        "[[nodes]]\nname = \"e1\"\nroles = [\"etcd\"]\naddress = \"10.0.0.31\"\n\n[[nodes]]\nname = \
        \"e2\"\nroles = [\"etcd\"]\naddress = \"10.0.0.32\"\n\n[[nodes]]\nname = \"e3\"\nroles = \
        [\"etcd\"]\naddress = \"10.0.0.33\"\n\n# Keys and certificates;",
    );
    const NGINX: (&str, &str) = ("# balancer = \"haproxy\"", "balancer = \"nginx\"");
    let variant = Variant { name: "external-lb-apart", profile: "external-lb", changes: &[RAW, ETCD, NGINX] };
    let members = ["10.0.0.31", "10.0.0.32", "10.0.0.33"];
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "e2", members, kubelets: 5 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    assert!(running.survives_the_holder().starts_with('l'), "the VIP was not on a load balancer");
    running.kill("e1");
    running.is_writable("without-e1");
    running.ends_well();
}
