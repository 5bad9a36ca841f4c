//! Data available to templates and tables: the cluster, the node, and values computed from both. Nothing
//! random, nothing from the host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, Node};
use crate::overlay::Overlay;
use crate::render::firewall::{self, Firewall};
use crate::render::{balancer, fields, flags, kinds};
use crate::words::{Companion, Component, EtcdVersion, Role, RuntimeKind, Service};

/// Kubernetes label namespaces in which a kubelet is allowed to set only certain labels itself
/// (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).
const RESERVED_LABELS: [&str; 2] = ["kubernetes.io", "k8s.io"];
const KUBELET_LABELS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// A node in its cluster.
pub(super) struct NodeContext<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) node: &'a Node,
    /// Overlays of the node, in the order in which they are applied.
    pub(super) overlays: &'a [&'a Overlay],
    /// Identifier of the cluster in the vault.
    pub(super) cluster_id: &'a str,
}

/// Variables available in every template.
#[derive(Serialize)]
pub(super) struct Variables<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
    computed: Computed<'a>,
}

/// Values computed from the cluster and the node.
#[derive(Serialize)]
struct Computed<'a> {
    /// 32 lower-case hexadecimal digits, as in machine-id(5).
    machine_id: String,
    /// `address/prefix` of the node network's interface.
    interface_address: String,
    /// MAC address of the interface, if a match rule specifies one.
    mac: Option<&'a str>,
    control_plane: Vec<&'a Node>,
    /// Time servers as absolute names, to which no search domain is added.
    time_servers: Vec<String>,
    etcd_members: Vec<EtcdMember<'a>>,
    /// Proxy between this node's API server and etcd on other machines; none if the node is an etcd member.
    etcd_proxy: Option<EtcdProxy<'a>>,
    /// `https://host:port` that clients connect to.
    endpoint_url: String,
    /// `https://host:port` of the API server on this node.
    local_url: String,
    service_address: String,
    dns_address: String,
    /// Registry of the Kubernetes project's images.
    image_repository: &'a str,
    sandbox_image: String,
    /// Container runtime of pods.
    runtime: &'static RuntimeKind,
    /// Version of the CNI configuration.
    cni_version: &'static str,
    /// CoreDNS image that kubeadm uses; none for versions with another DNS service.
    dns_image: Option<String>,
    /// flannel's images; none for versions that flannel's objects do not support.
    flannel: Option<Flannel<'a>>,
    /// Fixed ports by component, such as `etcd_peers`.
    ports: BTreeMap<Service, u16>,
    /// Health endpoints of an API server.
    health: Health,
    /// API versions by the kind's name, such as `rbac`.
    api_versions: BTreeMap<&'static str, &'static str>,
    /// Pod network of this node, if kiln assigns it.
    pods: Option<IpNet>,
    /// Nodes that register with the API, with the labels that they are not allowed to set themselves.
    kubelets: Vec<Kubelet<'a>>,
    /// Command-line flags by program, such as `kube_apiserver`.
    flags: BTreeMap<&'static str, Vec<String>>,
    /// Configuration files by program, such as `kubelet`.
    configuration: BTreeMap<&'static str, Value>,
    /// Data for the balancer's overlays.
    balancer: Value,
    firewall: Firewall,
}

/// A member of the etcd cluster, and its URLs.
#[derive(Serialize)]
struct EtcdMember<'a> {
    name: &'a str,
    address: IpAddr,
    peer_url: String,
    client_url: String,
}

/// etcd members behind a proxy.
#[derive(Serialize)]
struct EtcdProxy<'a> {
    /// Path of a member's readiness check over TLS.
    health: &'static str,
    /// Members; the first one is preferred.
    members: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    address: SocketAddr,
}

/// A node that registers with the API.
#[derive(Serialize)]
struct Kubelet<'a> {
    node: &'a str,
    address: IpAddr,
    /// Pod network of the node, if kiln assigns it.
    pods: Option<IpNet>,
    /// Labels that only an administrator can set, as `key=value`.
    labels: Vec<String>,
}

/// flannel's images.
#[derive(Serialize)]
struct Flannel<'a> {
    program: &'a str,
    /// Image that installs the CNI plugin on nodes.
    plugin: &'a str,
}

impl<'a> Flannel<'a> {
    fn of(cluster: &'a Cluster) -> Option<Self> {
        let image = |part| {
            Some(
                cluster
                    .own_images
                    .get(&part)
                    .map_or(Companion::of(part, cluster.kubernetes.minor)?, String::as_str),
            )
        };
        Some(Self { program: image(Component::Flannel)?, plugin: image(Component::FlannelPlugin)? })
    }
}

/// Paths of an API server's health checks; status 200 means success.
#[derive(Serialize)]
struct Health {
    /// Liveness: the API server is running and does not need a restart.
    live: &'static str,
    /// Readiness: the API server accepts requests.
    ready: String,
    /// Time limit for both checks together, in milliseconds.
    limit: u32,
}

impl<'a> NodeContext<'a> {
    /// Returns the variables of this node's templates. No string contains a line break, because the formats
    /// of the cluster file's settings do not permit it.
    pub(super) fn variables(&self) -> Variables<'a> {
        Variables { cluster: self.cluster, node: self.node, computed: self.computed() }
    }

    fn computed(&self) -> Computed<'a> {
        let (network, kubernetes) = (&self.cluster.network, self.cluster.kubernetes);
        Computed {
            machine_id: self.node.machine_id(self.cluster_id),
            interface_address: format!("{}/{}", self.node.address, network.nodes.prefix_len()),
            mac: self.node.matches.iter().find_map(|rule| match rule {
                crate::cluster::MatchRule::Mac(address) => Some(address.as_str()),
                _ => None,
            }),
            control_plane: self.control_plane(),
            time_servers: network.ntp.iter().map(|server| absolute(server)).collect(),
            etcd_members: self.etcd_members(),
            etcd_proxy: self.etcd_proxy(),
            endpoint_url: format!("https://{}", self.cluster.endpoint_authority()),
            local_url: self.url(self.node, Service::ApiServer.port()),
            service_address: self.cluster.first_service_address().to_string(),
            dns_address: self.cluster.dns_service_address().to_string(),
            image_repository: self.cluster.image_repository(),
            sandbox_image: self.sandbox_image(),
            runtime: self.cluster.runtime.kind(),
            cni_version: kubernetes.companion(Component::Cni),
            dns_image: self.dns_image(),
            flannel: Flannel::of(self.cluster),
            ports: Service::ALL.into_iter().map(|service| (service, service.port())).collect(),
            health: Health {
                live: kubernetes.companion(Component::Liveness),
                ready: flags::readiness(kubernetes),
                limit: flags::health_limit(kubernetes),
            },
            api_versions: kinds::api_versions(kubernetes.minor),
            pods: self.cluster.pods_of(self.node),
            kubelets: self.kubelets(),
            flags: flags::all(self),
            configuration: fields::all(self),
            balancer: balancer::data(self),
            firewall: firewall::data(self),
        }
    }

    pub(super) fn control_plane(&self) -> Vec<&'a Node> {
        self.cluster.with_role(Role::ControlPlane).collect()
    }

    /// Returns etcd's `initial-cluster`, the same on every member: `m1=https://10.0.0.1:2380,…`.
    pub(super) fn initial_cluster(&self) -> String {
        let members = self.cluster.etcd_members();
        members
            .iter()
            .map(|member| format!("{}={}", member.name, self.url(member, Service::EtcdPeers.port())))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Returns the etcd URL for API servers: the local member, or the proxy to members on other machines. An
    /// API server uses all members that it knows, so an unresponsive member would delay some of its requests.
    #[expect(clippy::unused_self, reason = "a method is easier to read in the flag tables")]
    pub(super) fn local_etcd(&self) -> String {
        format!("https://127.0.0.1:{}", Service::Etcd.port())
    }

    fn etcd_proxy(&self) -> Option<EtcdProxy<'a>> {
        let mut members = self.cluster.etcd_members();
        if members.is_empty() || members.iter().any(|member| member.name == self.node.name) {
            return None;
        }
        let number = self.control_plane().iter().position(|node| node.name == self.node.name)?;
        let first = number % members.len();
        members.rotate_left(first);
        let server = |node: &'a Node| Server {
            name: &node.name,
            address: SocketAddr::new(node.address, Service::Etcd.port()),
        };
        let is_new = self.cluster.etcd_version() >= EtcdVersion { minor: 5, patch: 11 };
        let health = if is_new { "/readyz" } else { "/health?exclude=NOSPACE" };
        Some(EtcdProxy { health, members: members.into_iter().map(server).collect() })
    }

    fn etcd_members(&self) -> Vec<EtcdMember<'a>> {
        let member = |node: &&'a Node| {
            let (peer_url, client_url) =
                (self.url(node, Service::EtcdPeers.port()), self.url(node, Service::Etcd.port()));
            EtcdMember { name: &node.name, address: node.address, peer_url, client_url }
        };
        self.cluster.etcd_members().iter().map(member).collect()
    }

    /// Returns `https://address:port`, with brackets around an IPv6 address.
    #[expect(clippy::unused_self, reason = "a method is easier to read in the flag tables")]
    pub(super) fn url(&self, node: &Node, port: u16) -> String {
        format!("https://{}", SocketAddr::new(node.address, port))
    }

    /// Returns the `x` of etcd 3.x.
    pub(super) fn etcd_minor(&self) -> u32 {
        self.cluster.etcd_version().minor
    }

    /// Returns the pause image from the cluster file, otherwise the one that kubeadm of the same version
    /// uses.
    pub(super) fn sandbox_image(&self) -> String {
        let version = || {
            format!(
                "{}/pause:{}",
                self.cluster.image_repository(),
                self.cluster.kubernetes.companion(Component::Pause)
            )
        };
        self.cluster.own_images.get(&Component::Pause).cloned().unwrap_or_else(version)
    }

    /// Returns the CoreDNS image for versions that include CoreDNS: the image in the cluster file, otherwise
    /// the image that kubeadm uses. Since 1.21 the tag begins with `v`, and the image has a directory in the
    /// project's own registry.
    fn dns_image(&self) -> Option<String> {
        let (cluster, kubernetes) = (self.cluster, self.cluster.kubernetes);
        let version = kubernetes.companion(Component::Dns).strip_prefix("CoreDNS ")?;
        let name = match kubernetes.at_least(21) {
            true if cluster.image_repository.is_none() => "coredns/coredns:v",
            true => "coredns:v",
            false => "coredns:",
        };
        Some(
            cluster
                .own_images
                .get(&Component::Dns)
                .cloned()
                .unwrap_or_else(|| format!("{}/{name}{version}", cluster.image_repository())),
        )
    }

    /// Returns the labels that the kubelet is allowed to set on its own node, as `key=value`.
    pub(super) fn own_labels(&self) -> Vec<String> {
        self.node
            .labels
            .iter()
            .filter(|(key, _)| is_own(key))
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    fn kubelets(&self) -> Vec<Kubelet<'a>> {
        let nodes = self.cluster.nodes.iter().filter(|node| self.cluster.has_kubelet(node));
        nodes
            .map(|node| Kubelet {
                node: &node.name,
                address: node.address,
                pods: self.cluster.pods_of(node),
                labels: self.reserved_labels(node),
            })
            .collect()
    }

    /// Returns the other labels of a node, and the role labels that kubeadm sets.
    fn reserved_labels(&self, node: &Node) -> Vec<String> {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        if node.roles.contains(&Role::ControlPlane) {
            labels.extend(
                Companion::all(Component::RoleLabel, self.cluster.kubernetes.minor)
                    .map(|row| (row.version, "")),
            );
        }
        labels.extend(
            node.labels
                .iter()
                .filter(|(key, _)| !is_own(key))
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    }
}

fn is_own(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let within = |domains: &[&str]| {
        domains.iter().any(|domain| {
            namespace == *domain || namespace.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    };
    !within(&RESERVED_LABELS) || within(&KUBELET_LABELS)
}

/// Returns a name with a final dot, so that no search domain is added: a `*` record of such a domain would
/// match it (resolv.conf(5), `ndots`). Addresses and single-label names, which need a search domain, stay
/// unchanged.
fn absolute(server: &str) -> String {
    let is_name = server.contains('.') && !server.ends_with('.') && server.parse::<IpAddr>().is_err();
    if is_name { format!("{server}.") } else { server.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{absolute, is_own};

    #[test]
    fn a_kubelet_sets_no_label_of_the_reserved_namespaces() {
        for (key, own) in [
            ("zone", true),
            ("example.org/rack", true),
            ("node.kubernetes.io/kind", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("kubernetes.io/x", false),
            ("notkubernetes.io/x", true),
        ] {
            assert_eq!(is_own(key), own, "{key}");
        }
    }

    #[test]
    fn names_of_time_servers_are_absolute() {
        let servers = ["0.pool.ntp.org", "time.example.org.", "10.0.0.1", "fd00::1", "ntp"];
        assert_eq!(
            servers.map(absolute),
            ["0.pool.ntp.org.", "time.example.org.", "10.0.0.1", "fd00::1", "ntp"]
        );
    }
}
