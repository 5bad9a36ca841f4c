//! Balancers as the cluster file chooses them: what works, and works worse than it could.

use crate::lint::Lint;
use crate::words::Place;

pub(super) static ROWS: &[Lint] = &[
    Lint::warning("HA342", "the VIP follows API servers instead of a balancer")
        .why("one API server takes the whole load while the others idle, and the VIP moves each time that one restarts, which cuts every connection")
        .fix("use `balancer = \"haproxy\"`")
        .cluster(|subject, findings| {
            let balancer = subject.cluster.endpoint.balancer;
            if balancer.moves_vip() && balancer.place == Place::ControlPlane {
                findings.at("endpoint.balancer", format!("with `{}` the VIP leads to one API server and moves whenever that one stops", balancer.name));
            }
        }),
    Lint::info("HA343", "clients outside the cluster know one control-plane node")
        .why("every machine of the cluster balances for itself, and nothing balances for people and programs outside: `admin.kubeconfig` dials the first control-plane node, whether it lives or not")
        .fix("give a DNS name that leads to every control-plane node: `names = [\"kubernetes.example.org\"]`")
        .cluster(|subject, findings| {
            let endpoint = &subject.cluster.endpoint;
            if endpoint.balancer.place == Place::EveryNode && endpoint.names.is_empty() {
                findings.at("endpoint", format!("clients outside dial {}, and no other control-plane node", subject.cluster.endpoint_authority()));
            }
        }),
    Lint::info("HA346", "nginx does not notice an API server that hangs")
        .why("nginx has no health checks of its own, and the kernel of a server that hangs still accepts connections: clients of that server wait until they give up, and it gets its share of new connections for as long as it hangs; no setting of nginx changes that")
        .fix("use HAProxy, which cuts such clients off within seconds")
        .cluster(|subject, findings| {
            let balancer = subject.cluster.endpoint.balancer;
            if balancer.proxy == Some("nginx") {
                findings.at("endpoint.balancer", format!("with `{}` clients of an API server that hangs wait until they give up", balancer.name));
            }
        }),
];
