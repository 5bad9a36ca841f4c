//! What templates and tables may know: the cluster, the node, and what follows from both. Nothing random, nothing of the host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, Node};
use crate::overlay::Overlay;
use crate::render::firewall::{self, Firewall};
use crate::render::{balancer, fields, flags, kinds};
use crate::words::{API_SERVER_PORT, Companion, EtcdVersion, Part, Role, RuntimeKind};

/// Label namespaces that belong to Kubernetes, in which a kubelet may set only some labels itself
/// (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).
const RESERVED_LABELS: [&str; 2] = ["kubernetes.io", "k8s.io"];
const KUBELET_LABELS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// One node in its cluster.
pub(super) struct Facts<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) node: &'a Node,
    /// Those of the node, in the order in which they are laid.
    pub(super) overlays: &'a [&'a Overlay],
    /// The vault's identifier of the cluster.
    pub(super) cluster_id: &'a str,
}

/// The variables of every template.
#[derive(Serialize)]
pub(super) struct Context<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
    computed: Computed<'a>,
}

/// What follows from the cluster and the node.
#[derive(Serialize)]
struct Computed<'a> {
    /// 32 lower-case hexadecimal digits, as in machine-id(5).
    machine_id: String,
    /// `address/prefix` of the node network's interface.
    interface_address: String,
    /// MAC address of that interface, when a match rule names one.
    mac: Option<&'a str>,
    control_plane: Vec<&'a Node>,
    /// Names that no search domain is added to.
    time_servers: Vec<String>,
    etcd_members: Vec<EtcdMember<'a>>,
    /// What is between this node's API server and etcd on other machines; none where the node is a member.
    etcd_proxy: Option<EtcdProxy<'a>>,
    /// `https://host:port` that clients dial.
    endpoint_url: String,
    /// `https://host:port` of the API server on this node.
    local_url: String,
    service_address: String,
    dns_address: String,
    /// Where images of the Kubernetes project come from.
    image_repository: &'a str,
    sandbox_image: String,
    /// What runs the containers of pods.
    runtime: &'static RuntimeKind,
    /// Version of CNI's configuration.
    cni_version: &'static str,
    /// CoreDNS as kubeadm has it; none for versions that came with another DNS.
    dns_image: Option<String>,
    /// flannel's images; none for versions that its objects are not made for.
    flannel: Option<Flannel<'a>>,
    /// Where an API server answers about itself.
    health: Health,
    /// API versions by kind, such as `rbac`.
    api_versions: BTreeMap<&'static str, &'static str>,
    /// Network of this node's pods, where kiln decides it.
    pods: Option<IpNet>,
    /// The nodes that register, and what they may not say of themselves.
    kubelets: Vec<Kubelet<'a>>,
    /// Command-line flags by program, such as `kube_apiserver`.
    flags: BTreeMap<&'static str, Vec<String>>,
    /// Configuration files by program, such as `kubelet`.
    configuration: BTreeMap<&'static str, Value>,
    /// What the kind of balancer computes.
    balancer: Value,
    firewall: Firewall,
}

/// A member of etcd's cluster, as the others find it.
#[derive(Serialize)]
struct EtcdMember<'a> {
    name: &'a str,
    address: IpAddr,
    peer_url: String,
    client_url: String,
}

/// Members of etcd behind a proxy.
#[derive(Serialize)]
struct EtcdProxy<'a> {
    /// Path at which a member says over TLS whether it takes requests.
    health: &'static str,
    /// The first one is preferred.
    members: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    address: SocketAddr,
}

/// A node that registers.
#[derive(Serialize)]
struct Kubelet<'a> {
    node: &'a str,
    address: IpAddr,
    /// Network of its pods, where kiln decides it.
    pods: Option<IpNet>,
    /// Labels that only an administrator may set, as `key=value`.
    labels: Vec<String>,
}

/// Images of flannel.
#[derive(Serialize)]
struct Flannel<'a> {
    program: &'a str,
    /// What brings its CNI plugin to nodes.
    plugin: &'a str,
}

impl<'a> Flannel<'a> {
    fn of(cluster: &'a Cluster) -> Option<Self> {
        let image = |part| Some(cluster.own_images.get(&part).map_or(Companion::of(part, cluster.kubernetes.minor)?, String::as_str));
        Some(Self { program: image(Part::Flannel)?, plugin: image(Part::FlannelPlugin)? })
    }
}

/// Paths of an API server's health, both answered with 200 or not.
#[derive(Serialize)]
struct Health {
    /// It runs and need not be started again.
    live: &'static str,
    /// It takes requests.
    ready: String,
    /// How long both answers may take together, in milliseconds.
    limit: u32,
}

impl<'a> Facts<'a> {
    /// The variables of this node's templates. No string among them ends a line: the formats of a cluster file's settings see to that.
    pub(super) fn context(&self) -> Context<'a> {
        Context { cluster: self.cluster, node: self.node, computed: self.computed() }
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
            local_url: self.url(self.node, API_SERVER_PORT),
            service_address: self.cluster.first_service_address().to_string(),
            dns_address: self.cluster.dns_service_address().to_string(),
            image_repository: self.cluster.image_repository(),
            sandbox_image: self.sandbox_image(),
            runtime: self.cluster.runtime.kind(),
            cni_version: kubernetes.companion(Part::Cni),
            dns_image: self.dns_image(),
            flannel: Flannel::of(self.cluster),
            health: Health {
                live: kubernetes.companion(Part::Liveness),
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

    /// The same text on every member: `m1=https://10.0.0.1:2380,…`.
    pub(super) fn initial_cluster(&self) -> String {
        let members = self.cluster.etcd_members();
        members.iter().map(|member| format!("{}={}", member.name, self.url(member, 2380))).collect::<Vec<_>>().join(",")
    }

    /// Where API servers find etcd: their own member, or what is before those of other machines. An API server asks all that it
    /// knows, and a silent one would take a share of its requests along.
    #[expect(clippy::unused_self, reason = "reads as a fact in the flag tables")]
    pub(super) fn api_servers_etcd(&self) -> &'static str {
        "https://127.0.0.1:2379"
    }

    fn etcd_proxy(&self) -> Option<EtcdProxy<'a>> {
        let mut members = self.cluster.etcd_members();
        if members.is_empty() || members.iter().any(|member| member.name == self.node.name) {
            return None;
        }
        let number = self.control_plane().iter().position(|node| node.name == self.node.name)?;
        let first = number % members.len();
        members.rotate_left(first);
        let server = |node: &'a Node| Server { name: &node.name, address: SocketAddr::new(node.address, 2379) };
        let is_new = self.cluster.etcd_version() >= EtcdVersion { minor: 5, patch: 11 };
        let health = if is_new { "/readyz" } else { "/health?exclude=NOSPACE" };
        Some(EtcdProxy { health, members: members.into_iter().map(server).collect() })
    }

    fn etcd_members(&self) -> Vec<EtcdMember<'a>> {
        let member = |node: &&'a Node| {
            let (peer_url, client_url) = (self.url(node, 2380), self.url(node, 2379));
            EtcdMember { name: &node.name, address: node.address, peer_url, client_url }
        };
        self.cluster.etcd_members().iter().map(member).collect()
    }

    /// `https://address:port`, with brackets around an IPv6 address.
    #[expect(clippy::unused_self, reason = "reads as a fact in the flag tables")]
    pub(super) fn url(&self, node: &Node, port: u16) -> String {
        format!("https://{}", SocketAddr::new(node.address, port))
    }

    /// The `3.x` of etcd.
    pub(super) fn etcd_minor(&self) -> u32 {
        self.cluster.etcd_version().minor
    }

    /// The cluster file's pause image, or the one that kubeadm of the same version uses.
    pub(super) fn sandbox_image(&self) -> String {
        let version = || format!("{}/pause:{}", self.cluster.image_repository(), self.cluster.kubernetes.companion(Part::Pause));
        self.cluster.own_images.get(&Part::Pause).cloned().unwrap_or_else(version)
    }

    /// CoreDNS's image, for versions that come with it: the cluster file's, or kubeadm's. Since 1.21 its tag begins with `v`, and the
    /// project's own registry has a directory for it.
    fn dns_image(&self) -> Option<String> {
        let (cluster, kubernetes) = (self.cluster, self.cluster.kubernetes);
        let version = kubernetes.companion(Part::Dns).strip_prefix("CoreDNS ")?;
        let name = match kubernetes.at_least(21) {
            true if cluster.image_repository.is_none() => "coredns/coredns:v",
            true => "coredns:v",
            false => "coredns:",
        };
        Some(cluster.own_images.get(&Part::Dns).cloned().unwrap_or_else(|| format!("{}/{name}{version}", cluster.image_repository())))
    }

    /// Labels that the kubelet may give its own node, as `key=value`.
    pub(super) fn own_labels(&self) -> Vec<String> {
        self.node.labels.iter().filter(|(key, _)| is_own(key)).map(|(key, value)| format!("{key}={value}")).collect()
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

    /// The other labels of a node, and the roles as kubeadm labels them.
    fn reserved_labels(&self, node: &Node) -> Vec<String> {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        if node.roles.contains(&Role::ControlPlane) {
            labels.extend(Companion::all(Part::RoleLabel, self.cluster.kubernetes.minor).map(|row| (row.version, "")));
        }
        labels.extend(node.labels.iter().filter(|(key, _)| !is_own(key)).map(|(key, value)| (key.as_str(), value.as_str())));
        labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    }
}

fn is_own(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let within = |domains: &[&str]| {
        domains.iter().any(|domain| namespace == *domain || namespace.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
    };
    !within(&RESERVED_LABELS) || within(&KUBELET_LABELS)
}

/// A name with a final dot, which no search domain is added to: a record `*` of such a domain would answer for it (resolv.conf(5), `ndots`).
/// An address, and a name of one label, which needs a search domain, are as they were.
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
        assert_eq!(servers.map(absolute), ["0.pool.ntp.org.", "time.example.org.", "10.0.0.1", "fd00::1", "ntp"]);
    }
}
