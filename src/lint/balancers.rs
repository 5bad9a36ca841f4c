//! Lints for balancers that work but have known drawbacks.

use crate::lint::Lint;
use crate::words::Placement;

pub(super) static ROWS: &[Lint] = &[
    Lint::warning("HA342", "the VIP points at an API server instead of a balancer")
        .why(
            "one API server handles the entire load while the others are idle, and whenever that server \
            restarts, the VIP moves, which breaks every connection",
        )
        .fix("use `balancer = \"haproxy\"`")
        .cluster(|subject, findings| {
            let balancer = subject.cluster.endpoint.balancer;
            if balancer.moves_vip() && balancer.place == Placement::ControlPlane {
                findings.at(
                    "endpoint.balancer",
                    format!(
                        "with `{}`, the VIP points at a single API server and moves whenever that \
                        server stops",
                        balancer.name
                    ),
                );
            }
        }),
    Lint::info("HA343", "clients outside the cluster use only one control-plane node")
        .why(
            "every machine in the cluster has its own balancer, but clients outside have none, so \
            `admin.kubeconfig` points at the first control-plane node, even when that node is down",
        )
        .fix(
            "set a DNS name that resolves to every control-plane node: `names = \
            [\"kubernetes.example.org\"]`",
        )
        .cluster(|subject, findings| {
            let endpoint = &subject.cluster.endpoint;
            if endpoint.balancer.place == Placement::EveryNode && endpoint.names.is_empty() {
                findings.at(
                    "endpoint",
                    format!(
                        "clients outside the cluster connect only to {}",
                        subject.cluster.endpoint_authority()
                    ),
                );
            }
        }),
    Lint::info("HA346", "nginx does not detect a hung API server")
        .why(
            "nginx has no active health checks, and the kernel of a hung server still accepts connections: \
            clients wait until they time out, and nginx keeps sending new connections to that server; no \
            nginx setting changes this",
        )
        .fix("use HAProxy, which disconnects clients of a hung server within seconds")
        .cluster(|subject, findings| {
            let balancer = subject.cluster.endpoint.balancer;
            if balancer.proxy == Some("nginx") {
                findings.at(
                    "endpoint.balancer",
                    format!(
                        "with `{}`, clients of a hung API server wait until \
                        they time out",
                        balancer.name
                    ),
                );
            }
        }),
];
