//! kubeadm's configuration. `ClusterConfiguration` is uploaded to the cluster and must be the same on every
//! node.

use serde_json::{Value, json};

use super::{Field, field};
use crate::render::context::NodeContext;
use crate::render::flags;
use crate::words::CONTAINERD_SOCKET;
use crate::words::{Component, Role, Service};

/// Function that formats `extraArgs` for a version.
type Written = fn(Vec<(&'static str, String)>) -> Value;

/// `ClusterConfiguration`. etcd is external to kubeadm: a systemd service, independent of static pods.
pub(super) static CLUSTER: &[Field] = &[
    field("clusterName", |context| json!(context.cluster.name)),
    field("kubernetesVersion", |context| json!(format!("v{}", context.cluster.kubernetes))),
    field("controlPlaneEndpoint", |context| json!(context.cluster.agent_authority())),
    field("certificatesDir", |_| json!("/etc/kubernetes/pki")),
    field("imageRepository", |context| json!(context.cluster.image_repository())),
    field("dns", dns).since(13),
    field("networking", |context| {
        let network = &context.cluster.network;
        json!({ "podSubnet": network.pods, "serviceSubnet": network.services, "dnsDomain": network.domain })
    }),
    field("etcd", |context| {
        json!({ "external": {
            "endpoints": [context.local_etcd()],
            "caFile": "/etc/kubernetes/pki/etcd/ca.crt",
            "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key",
        } })
    }),
    field("apiServer", |context| api_server(context, by_name)).before(31),
    field("apiServer", |context| api_server(context, listed)).since(31),
    field("controllerManager", |context| component("kube_controller_manager", context, by_name)).before(31),
    field("controllerManager", |context| component("kube_controller_manager", context, listed)).since(31),
    field("scheduler", |context| component("kube_scheduler", context, by_name)).before(31),
    field("scheduler", |context| component("kube_scheduler", context, listed)).since(31),
];

/// `InitConfiguration`.
pub(super) static INIT: &[Field] = &[
    REGISTRATION_BY_PATH,
    REGISTRATION_BY_URL,
    REGISTRATION_LISTED,
    field("localAPIEndpoint", api_endpoint),
];

/// `JoinConfiguration`. The node uses its own certificate, so there is no token, and nothing expires after
/// two hours.
pub(super) static JOIN: &[Field] = &[
    REGISTRATION_BY_PATH,
    REGISTRATION_BY_URL,
    REGISTRATION_LISTED,
    field("caCertPath", |_| json!("/etc/kubernetes/pki/ca.crt")),
    field("discovery", |_| json!({ "file": { "kubeConfigPath": "/etc/kubernetes/kubelet.conf" } })),
    field("controlPlane", |context| json!({ "localAPIEndpoint": api_endpoint(context) })),
];

const REGISTRATION_BY_PATH: Field = field("nodeRegistration", |context| {
    registration(context, context.cluster.runtime.kind().kubeadm_socket, by_name)
})
.before(24);
const REGISTRATION_BY_URL: Field =
    field("nodeRegistration", |context| registration(context, CONTAINERD_SOCKET, by_name))
        .since(24)
        .before(31);
const REGISTRATION_LISTED: Field =
    field("nodeRegistration", |context| registration(context, CONTAINERD_SOCKET, listed)).since(31);

/// Suffix of the CoreDNS image name that kubeadm uses, before the tag.
const DNS_IMAGE: &str = "/coredns:";

fn by_name(arguments: Vec<(&'static str, String)>) -> Value {
    arguments.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn listed(arguments: Vec<(&'static str, String)>) -> Value {
    arguments.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn component(program: &str, context: &NodeContext<'_>, written: Written) -> Value {
    json!({ "extraArgs": written(flags::extra(program, context)) })
}

fn api_server(context: &NodeContext<'_>, written: Written) -> Value {
    let arguments = flags::extra("kube_apiserver", context);
    let volumes = volumes(&arguments);
    json!({ "certSANs": names(context), "extraArgs": written(arguments), "extraVolumes": volumes })
}

/// Returns all names and addresses of the endpoint and the control-plane nodes; the vault's certificates
/// contain them already.
fn names(context: &NodeContext<'_>) -> Vec<String> {
    let endpoint = &context.cluster.endpoint;
    let mut names: Vec<String> =
        endpoint.vip.iter().map(ToString::to_string).chain(endpoint.names.iter().cloned()).collect();
    names.extend(endpoint.external_addresses.iter().map(ToString::to_string));
    for node in context.cluster.with_role(Role::ControlPlane) {
        names.push(node.name.clone());
        names.extend([node.address].iter().chain(&node.extra_addresses).map(ToString::to_string));
    }
    names.extend(["localhost".to_owned(), context.cluster.loopback().to_string()]);
    names
}

/// Returns mounts of the files below /etc/kubernetes that the API server's flags name but kubeadm does not
/// mount, and of the audit log.
fn volumes(arguments: &[(&'static str, String)]) -> Vec<Value> {
    let mount = |name: &str, path: &str, read_only: bool, kind: &str| json!({ "name": name, "hostPath": path, "mountPath": path, "readOnly": read_only, "pathType": kind });
    let files = arguments
        .iter()
        .filter(|(_, value)| value.starts_with("/etc/kubernetes/") && value.ends_with(".yaml"));
    let files = files.map(|(name, path)| mount(name, path, true, "File"));
    files.chain([mount("audit-log", "/var/log/kubernetes", false, "DirectoryOrCreate")]).collect()
}

/// Returns the repository and tag of a custom CoreDNS image; kubeadm inserts `/coredns:` between them.
fn dns(context: &NodeContext<'_>) -> Value {
    let image = context.cluster.own_images.get(&Component::Dns).and_then(|image| image.split_once(DNS_IMAGE));
    image.map_or(Value::Null, |(repository, tag)| json!({ "imageRepository": repository, "imageTag": tag }))
}

fn api_endpoint(context: &NodeContext<'_>) -> Value {
    json!({ "advertiseAddress": context.node.address, "bindPort": Service::ApiServer.port() })
}

/// Returns `nodeRegistration`. `taints` is never omitted: otherwise kubeadm would taint every control-plane
/// node, whatever the cluster file specifies.
fn registration(context: &NodeContext<'_>, socket: &str, written: Written) -> Value {
    json!({
        "name": context.node.name,
        "criSocket": socket,
        "taints": context.cluster.taints(context.node),
        "kubeletExtraArgs": written(flags::extra("kubelet", context)),
    })
}
