//! Commands that check the health of a cluster, with the cluster's addresses filled in.

use serde::Serialize;

use crate::cluster::{Cluster, Node};
use crate::plan::ImagePlan;
use crate::words::{Mover, Run, Service};

/// Directory of the certificates for etcdctl on an etcd member.
const ETCD_PKI: &str = "/etc/kubernetes/pki/etcd";

/// Directory of static pod manifests.
const PODS: &str = "/etc/kubernetes/manifests";

/// One command, and its purpose.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Check {
    pub(crate) shows: String,
    /// Names of the machines to run the command on; empty for the administrator's machine.
    pub(crate) on: Vec<String>,
    pub(crate) command: String,
}

/// Returns the commands for a cluster, starting at the endpoint.
pub(super) fn checks(cluster: &Cluster, images: &[ImagePlan]) -> Vec<Check> {
    let authority = cluster.endpoint_authority();
    let kubectl = format!("kubectl --kubeconfig out/{}/admin.kubeconfig", cluster.name);
    let (host, port) = authority.rsplit_once(':').unwrap_or((&authority, ""));
    let host = host.trim_matches(['[', ']']);
    let mut checks = vec![
        here("the endpoint accepts connections", format!("nc -vz {host} {port}")),
        here("an API server behind the endpoint is ready", format!("{kubectl} get --raw /readyz")),
        here("every node is registered", format!("{kubectl} get nodes --output=wide")),
        here(
            "clients barely notice a failover",
            format!("while sleep 1; do {kubectl} --request-timeout=2s get --raw /readyz; echo; done"),
        ),
    ];
    for image in images {
        let units = image.units.join(" ");
        checks.push(Check {
            shows: "all services are running".into(),
            on: image.nodes.clone(),
            command: format!("systemctl status {units}"),
        });
    }
    checks.extend(vip_checks(cluster));
    checks.push(Check {
        shows: format!("kubelet and kube-proxy connect to https://{}", cluster.agent_authority()),
        on: names(cluster.nodes.iter().filter(|node| cluster.has_kubelet(node)).collect()),
        command: "grep server: /etc/kubernetes/*.conf".into(),
    });
    checks.push(etcd_check(cluster));
    checks
}

fn here(shows: &str, command: String) -> Check {
    Check { shows: shows.to_owned(), on: Vec::new(), command }
}

/// Returns the commands that check the VIP, if kiln moves it.
fn vip_checks(cluster: &Cluster) -> Vec<Check> {
    let endpoint = &cluster.endpoint;
    let Some(vip) = endpoint.vip.filter(|_| endpoint.balancer.moves_vip()) else { return Vec::new() };
    let pod = if endpoint.balancer.mover == Mover::KubeVip { "kube-vip" } else { "keepalived" };
    let moving = match endpoint.run {
        Run::Service => "systemctl stop keepalived; sleep 10; systemctl start keepalived".to_owned(),
        Run::StaticPod => format!("mv {PODS}/{pod}.yaml /run/; sleep 60; cp /run/{pod}.yaml {PODS}/"),
    };
    let check = |shows: &str, command: String| Check {
        shows: shows.to_owned(),
        on: names(cluster.vip_carriers()),
        command,
    };
    vec![
        check("which machine holds the VIP", format!("ip -brief address show to {vip}")),
        check("the VIP moves when its holder stops", moving),
    ]
}

fn etcd_check(cluster: &Cluster) -> Check {
    let members = cluster.etcd_members();
    let endpoints: Vec<String> = members
        .iter()
        .map(|member| format!("https://{}", std::net::SocketAddr::new(member.address, Service::Etcd.port())))
        .collect();
    let tls = format!(
        "--cacert={ETCD_PKI}/ca.crt --cert={ETCD_PKI}/healthcheck-client.crt \
        --key={ETCD_PKI}/healthcheck-client.key"
    );
    let command = format!("ETCDCTL_API=3 etcdctl {tls} --endpoints={} endpoint health", endpoints.join(","));
    Check { shows: "every etcd member is healthy".into(), on: names(members), command }
}

fn names(nodes: Vec<&Node>) -> Vec<String> {
    nodes.into_iter().map(|node| node.name.clone()).collect()
}
