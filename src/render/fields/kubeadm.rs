//! kubeadm's configuration. What it says of the cluster is uploaded there, and must be the same on every node.

use serde_json::{Value, json};

use super::{Field, field};
use crate::render::context::Facts;
use crate::render::flags;
use crate::words::CONTAINERD_SOCKET;
use crate::words::{API_SERVER_PORT, Part, Role};

/// How a version writes `extraArgs`.
type Written = fn(Vec<(&'static str, String)>) -> Value;

/// `ClusterConfiguration`. etcd is external to kubeadm: it is a service of the machines, which outlives every static pod.
pub(super) static CLUSTER: &[Field] = &[
    field("clusterName", |facts| json!(facts.cluster.name)),
    field("kubernetesVersion", |facts| json!(format!("v{}", facts.cluster.kubernetes))),
    field("controlPlaneEndpoint", |facts| json!(facts.cluster.agent_authority())),
    field("certificatesDir", |_| json!("/etc/kubernetes/pki")),
    field("imageRepository", |facts| json!(facts.cluster.image_repository())),
    field("dns", dns).since(13),
    field("networking", |facts| {
        let network = &facts.cluster.network;
        json!({ "podSubnet": network.pods, "serviceSubnet": network.services, "dnsDomain": network.domain })
    }),
    field("etcd", |facts| {
        json!({ "external": {
            "endpoints": [facts.api_servers_etcd()],
            "caFile": "/etc/kubernetes/pki/etcd/ca.crt",
            "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key",
        } })
    }),
    field("apiServer", |facts| api_server(facts, by_name)).until(30),
    field("apiServer", |facts| api_server(facts, listed)).since(31),
    field("controllerManager", |facts| component("kube_controller_manager", facts, by_name)).until(30),
    field("controllerManager", |facts| component("kube_controller_manager", facts, listed)).since(31),
    field("scheduler", |facts| component("kube_scheduler", facts, by_name)).until(30),
    field("scheduler", |facts| component("kube_scheduler", facts, listed)).since(31),
];

/// `InitConfiguration`.
pub(super) static INIT: &[Field] =
    &[REGISTRATION_BY_PATH, REGISTRATION_BY_URL, REGISTRATION_LISTED, field("localAPIEndpoint", api_endpoint)];

/// `JoinConfiguration`. The node shows its own certificate: no token, nothing that runs out after two hours.
pub(super) static JOIN: &[Field] = &[
    REGISTRATION_BY_PATH,
    REGISTRATION_BY_URL,
    REGISTRATION_LISTED,
    field("caCertPath", |_| json!("/etc/kubernetes/pki/ca.crt")),
    field("discovery", |_| json!({ "file": { "kubeConfigPath": "/etc/kubernetes/kubelet.conf" } })),
    field("controlPlane", |facts| json!({ "localAPIEndpoint": api_endpoint(facts) })),
];

const REGISTRATION_BY_PATH: Field =
    field("nodeRegistration", |facts| registration(facts, facts.cluster.runtime.kind().kubeadm_socket, by_name)).until(23);
const REGISTRATION_BY_URL: Field = field("nodeRegistration", |facts| registration(facts, CONTAINERD_SOCKET, by_name)).since(24).until(30);
const REGISTRATION_LISTED: Field = field("nodeRegistration", |facts| registration(facts, CONTAINERD_SOCKET, listed)).since(31);

/// What kubeadm calls CoreDNS's image.
const DNS_IMAGE: &str = "/coredns:";

fn by_name(arguments: Vec<(&'static str, String)>) -> Value {
    arguments.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn listed(arguments: Vec<(&'static str, String)>) -> Value {
    arguments.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn component(program: &str, facts: &Facts<'_>, written: Written) -> Value {
    json!({ "extraArgs": written(flags::extra(program, facts)) })
}

fn api_server(facts: &Facts<'_>, written: Written) -> Value {
    let arguments = flags::extra("kube_apiserver", facts);
    let volumes = volumes(&arguments);
    json!({ "certSANs": names(facts), "extraArgs": written(arguments), "extraVolumes": volumes })
}

/// Everything that clients may call the endpoint and the control-plane nodes; the certificates of the vault have it already.
fn names(facts: &Facts<'_>) -> Vec<String> {
    let endpoint = &facts.cluster.endpoint;
    let mut names: Vec<String> = endpoint.vip.iter().map(ToString::to_string).chain(endpoint.names.iter().cloned()).collect();
    names.extend(endpoint.external_addresses.iter().map(ToString::to_string));
    for node in facts.cluster.with_role(Role::ControlPlane) {
        names.push(node.name.clone());
        names.extend([node.address].iter().chain(&node.extra_addresses).map(ToString::to_string));
    }
    names.extend(["localhost".to_owned(), facts.cluster.loopback().to_string()]);
    names
}

/// The files below /etc/kubernetes that the API server's flags name and kubeadm does not mount, and its audit log.
fn volumes(arguments: &[(&'static str, String)]) -> Vec<Value> {
    let mount = |name: &str, path: &str, read_only: bool, kind: &str| json!({ "name": name, "hostPath": path, "mountPath": path, "readOnly": read_only, "pathType": kind });
    let files = arguments.iter().filter(|(_, value)| value.starts_with("/etc/kubernetes/") && value.ends_with(".yaml"));
    let files = files.map(|(name, path)| mount(name, path, true, "File"));
    files.chain([mount("audit-log", "/var/log/kubernetes", false, "DirectoryOrCreate")]).collect()
}

/// Where CoreDNS's image is not the version's: kubeadm puts `/coredns:` between repository and tag by itself.
fn dns(facts: &Facts<'_>) -> Value {
    let image = facts.cluster.own_images.get(&Part::Dns).and_then(|image| image.split_once(DNS_IMAGE));
    image.map_or(Value::Null, |(repository, tag)| json!({ "imageRepository": repository, "imageTag": tag }))
}

fn api_endpoint(facts: &Facts<'_>) -> Value {
    json!({ "advertiseAddress": facts.node.address, "bindPort": API_SERVER_PORT })
}

/// `taints` is never left out: kubeadm would keep workloads off every control-plane node, whatever the cluster file says.
fn registration(facts: &Facts<'_>, socket: &str, written: Written) -> Value {
    json!({
        "name": facts.node.name,
        "criSocket": socket,
        "taints": facts.cluster.taints(facts.node),
        "kubeletExtraArgs": written(flags::extra("kubelet", facts)),
    })
}
