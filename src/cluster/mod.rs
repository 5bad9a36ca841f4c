//! Resolved cluster: every default is filled in, every address and name is computed, and every setting has
//! been checked on its own.
//!
//! This module reads no files, uses nothing from TOML except spans, and does not decide what the components'
//! files contain.

mod addresses;
mod placement;
mod pods;
mod resolve;
mod taints;

pub(crate) use resolve::resolve;
pub(crate) use taints::Taint;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::words::{
    Arch, Balancer, Bgp, BinarySource, Cgroups, Component, EtcdVersion, Founders, ImageSource,
    KubernetesVersion, NetworkPlugin, Output, PortRange, ProxyMode, Role, RootFilesystem, Run, Runtime,
    Suite,
};

/// Name of the lock file for `cluster.toml`; formerly shared by all cluster files in a directory.
pub(crate) const SHARED_LOCK: &str = "kiln.lock";

/// Overlay that makes a machine a Kubernetes node.
const KUBELET: &str = "kubelet";

/// A resolved cluster.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cluster {
    /// Name, a DNS label (RFC 1123); also the name of the output directory.
    pub(crate) name: String,
    pub(crate) kubernetes: KubernetesVersion,
    /// Container runtime that runs the pods.
    pub(crate) runtime: Runtime,
    /// Registry for the Kubernetes project's images; if `None`, the project's own registry.
    pub(crate) image_repository: Option<String>,
    /// Images that replace the Kubernetes version's default images, keyed by component.
    #[serde(skip)]
    pub(crate) own_images: BTreeMap<Component, String>,
    /// etcd version; if `None`, the version in the suite.
    pub(crate) etcd: Option<EtcdVersion>,
    /// Members that must be present before a new etcd cluster is bootstrapped.
    pub(crate) founders: Founders,
    /// Profile that the cluster is based on.
    pub(crate) profile: String,
    pub(crate) network: Network,
    pub(crate) endpoint: Endpoint,
    /// Nodes, in the order of the cluster file; names and addresses are unique.
    pub(crate) nodes: Vec<Node>,
    /// Overlays of each role, in order: the profile's overlays, with the cluster file's changes applied.
    pub(crate) overlays: BTreeMap<Role, Vec<String>>,
    pub(crate) base: Base,
    /// Sources of Kubernetes programs; the first source that contains a program wins.
    pub(crate) binaries: Vec<BinarySource>,
    /// Sources of container images; the first source that contains an image wins.
    pub(crate) images: Vec<ImageSource>,
    /// Output formats.
    pub(crate) outputs: Vec<Output>,
    /// Directory of the PKI vault, absolute or relative to the working directory.
    pub(crate) vault: PathBuf,
    /// Lock file, next to the cluster file and named after it.
    pub(crate) lock: PathBuf,
}

/// Addresses and names that all nodes share.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Network {
    pub(crate) nodes: IpNet,
    pub(crate) pods: IpNet,
    /// Prefix length of each node's pod network.
    pub(crate) pods_per_node_prefix: u8,
    pub(crate) services: IpNet,
    pub(crate) node_ports: PortRange,
    pub(crate) plugin: NetworkPlugin,
    /// kube-proxy mode; if `None`, the default for the Kubernetes version.
    pub(crate) proxy_mode: Option<ProxyMode>,
    /// Cluster DNS domain, `cluster.local` by default.
    pub(crate) domain: String,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) dns: Vec<IpAddr>,
    /// Time servers; if empty, the nodes synchronize with each other.
    pub(crate) ntp: Vec<String>,
    /// Name of the node network's interface, `lan0` by default.
    pub(crate) interface: String,
}

/// Kubernetes API endpoint.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) vip: Option<IpAddr>,
    /// DNS names of the endpoint; they become SANs.
    pub(crate) names: Vec<String>,
    /// External addresses that a router translates to the endpoint (NAT); they become SANs but are
    /// not assigned to any machine.
    pub(crate) external_addresses: Vec<IpAddr>,
    pub(crate) port: u16,
    /// Balancer behind the endpoint.
    pub(crate) balancer: Balancer,
    /// Run mode of the balancer.
    pub(crate) run: Run,
    /// Image references for the balancer's pods, keyed by program.
    pub(crate) images: BTreeMap<&'static str, String>,
    /// BGP settings that kube-vip uses to announce the VIP to routers; without them, kube-vip uses ARP.
    pub(crate) bgp: Option<Bgp>,
    /// VRRP virtual router identifier, 1 to 255, unique on the network segment (RFC 5798 section 5.2.3).
    pub(crate) virtual_router_id: u8,
}

/// One machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    /// Name, a lower-case DNS label (RFC 1123); also the Kubernetes node name.
    pub(crate) name: String,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) address: IpAddr,
    /// Additional addresses that become SANs.
    pub(crate) extra_addresses: Vec<IpAddr>,
    /// Rules by which a machine recognizes its seed; one match is enough. If empty, any machine accepts
    /// the seed.
    pub(crate) matches: Vec<MatchRule>,
    /// VRRP priority, 1 to 254; computed from the order of the nodes.
    pub(crate) priority: u8,
    pub(crate) labels: BTreeMap<String, String>,
    /// Taints; if `None`, they are derived from the roles (see [`Cluster::taints`]).
    pub(crate) taints: Option<Vec<String>>,
}

/// Rule that identifies a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MatchRule {
    /// `kiln.node=NAME` on the kernel command line.
    KernelCommandLine(String),
    /// SMBIOS system serial number (DMTF DSP0134, type 1).
    Serial(String),
    /// SMBIOS system UUID, lower case.
    Uuid(String),
    /// MAC address of any interface, lower case with colons.
    Mac(String),
}

/// Source and settings of the operating system.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Base {
    /// Debian suite, such as `trixie`.
    pub(crate) suite: String,
    /// Repository URL; if `None`, the one set in the environment or, if there is none, the host's own APT
    /// sources.
    pub(crate) mirror: Option<String>,
    pub(crate) architecture: Arch,
    /// Kernel package, such as `linux-image-cloud-amd64`.
    pub(crate) kernel: String,
    /// Packages to install in addition to the overlays' packages.
    pub(crate) packages: Vec<String>,
    pub(crate) filesystem: RootFilesystem,
    /// cgroup version that the machines use.
    pub(crate) cgroups: Cgroups,
}

impl Cluster {
    /// Returns the nodes with `role`, in the order of the cluster file.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.roles.contains(&role))
    }

    /// Returns the nodes that run etcd: the nodes with the role `etcd`, or the control-plane nodes if no node
    /// has that role.
    pub(crate) fn etcd_members(&self) -> Vec<&Node> {
        let dedicated: Vec<&Node> = self.with_role(Role::Etcd).collect();
        if dedicated.is_empty() { self.with_role(Role::ControlPlane).collect() } else { dedicated }
    }

    /// Checks whether `node` registers with the API server.
    pub(crate) fn has_kubelet(&self, node: &Node) -> bool {
        self.has_overlay(node, KUBELET)
    }

    /// Checks whether any role of `node` lists the overlay; overlays that other overlays require are not
    /// considered.
    fn has_overlay(&self, node: &Node, name: &str) -> bool {
        node.roles.iter().filter_map(|role| self.overlays.get(role)).flatten().any(|overlay| overlay == name)
    }

    /// Returns the role images, one for each combination of roles in use, with their nodes. The image name
    /// joins the roles with `+`.
    pub(crate) fn images(&self) -> BTreeMap<String, Vec<&Node>> {
        let mut images: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
        for node in &self.nodes {
            images.entry(node.image()).or_default().push(node);
        }
        images
    }

    /// Returns the etcd version that members run. Debian backports fixes to its suites, so a suite's package
    /// counts as the latest patch release.
    pub(crate) fn etcd_version(&self) -> EtcdVersion {
        self.etcd.unwrap_or_else(|| EtcdVersion {
            minor: Suite::named(&self.base.suite).etcd_minor(),
            patch: u32::MAX,
        })
    }

    /// Returns the proxy mode set in the cluster file or, if there is none, the default for the Kubernetes
    /// version.
    pub(crate) fn proxy_mode(&self) -> ProxyMode {
        self.network.proxy_mode.unwrap_or_else(|| ProxyMode::of(self.kubernetes))
    }

    /// Checks whether IPVS handles services on `node`.
    pub(crate) fn has_ipvs(&self, node: &Node) -> bool {
        self.proxy_mode() == ProxyMode::Ipvs && self.has_kubelet(node)
    }

    /// Returns the registry for the Kubernetes project's images.
    pub(crate) fn image_repository(&self) -> &str {
        self.image_repository.as_deref().unwrap_or_else(|| self.kubernetes.companion(Component::Registry))
    }
}

impl Node {
    /// Returns the contents of `/etc/machine-id` (machine-id(5)): unique to the node, and the same at every
    /// boot and after a reinstallation.
    pub(crate) fn machine_id(&self, cluster_id: &str) -> String {
        Digest::of(format!("kiln machine-id{cluster_id}{}", self.name).as_bytes()).to_string()[..32]
            .to_owned()
    }

    /// Returns the name of the role image that this node boots: its roles joined with `+`.
    pub(crate) fn image(&self) -> String {
        Role::image(&self.roles)
    }
}
