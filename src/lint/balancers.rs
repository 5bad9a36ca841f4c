//! Balancers as the cluster file chooses them: what works, and works worse than it could.

use crate::cluster::Place;
use crate::lint::Lint;

pub(super) static ROWS: &[Lint] = &[
    Lint::warning("HA342", "the VIP follows API servers instead of a balancer")
        .why("one API server takes the whole load while the others idle, and the VIP moves each time that one restarts, which cuts every connection")
        .fix("use `balancer = \"haproxy\"`")
        .cluster(|subject, findings| {
            let balancer = subject.cluster.endpoint.balancer;
            if balancer.moves_vip && balancer.place == Place::ControlPlane {
                findings.at("endpoint.balancer", format!("with `{}` the VIP leads to one API server and moves whenever that one stops", balancer.name));
            }
        }),
];
