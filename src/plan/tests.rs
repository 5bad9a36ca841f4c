use super::plan;
use crate::cluster;
use crate::overlay::Overlays;
use crate::profile::tests::{SAMPLE, edited, read};

fn planned(text: &str) -> super::Plan {
    plan(&cluster::resolve(&read(text)).unwrap(), &Overlays::load(&[]).unwrap()).unwrap()
}

#[test]
fn the_sample_tolerates_one_failure_and_fails_over_within_four_seconds() {
    let plan = planned(SAMPLE);
    assert_eq!((plan.quorum.members.len(), plan.quorum.needed, plan.quorum.tolerated), (3, 2, 1));
    assert_eq!(plan.endpoint.failover_seconds, Some(3.1));
    assert_eq!((plan.capacity.nodes, plan.capacity.pods_per_node, plan.capacity.services), (256, 254, 1_048_574));
    assert_eq!(plan.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["control-plane"]);
}

#[test]
fn the_advertisement_interval_is_the_one_that_keepalived_gets() {
    let overlays = Overlays::load(&[]).unwrap();
    let files = &overlays.get("keepalived").unwrap().files;
    assert!(files.values().any(|file| String::from_utf8_lossy(&file.bytes).contains("advert_int 1\n")));
}

#[test]
fn an_external_balancer_moves_no_vip() {
    let plan = planned(&edited("vip = \"10.0.0.10\"", "balancer = \"external\""));
    assert_eq!((plan.endpoint.failover_seconds, plan.endpoint.virtual_router_id, plan.nodes[0].priority), (None, None, None));
    assert!(plan.ports.iter().all(|port| port.overlay != "haproxy"));
}

#[test]
fn every_port_says_who_listens_and_who_dials() {
    let plan = planned(SAMPLE);
    assert!(plan.ports.is_sorted_by_key(|port| port.port));
    for port in &plan.ports {
        assert!(!port.from.is_empty() && !port.what.is_empty() && !port.nodes.is_empty(), "{port:?}");
    }
    let endpoint = plan.ports.iter().find(|port| port.port == 8443).unwrap();
    assert_eq!((endpoint.overlay.as_str(), endpoint.nodes.len()), ("haproxy", 3));
}
