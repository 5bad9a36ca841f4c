//! What a cluster file means: every default filled in, every address and name computed, every rule of one setting checked.
//!
//! Nothing here reads files or knows TOML beyond spans; nothing here decides what a component's files look like.

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
    Balancer, Bgp, BinarySource, Cgroups, EtcdVersion, Founders, ImageSource, KubernetesVersion, NetworkPlugin, Part, PortRange, ProxyMode,
    Role, RootFilesystem, Run, Runtime, Suite,
};

/// Name of the lock of `cluster.toml`; once it was that of every cluster file in its directory.
pub(crate) const SHARED_LOCK: &str = "kiln.lock";

/// The overlay that makes a machine a node of Kubernetes.
const KUBELET: &str = "kubelet";

/// One cluster, resolved.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cluster {
    /// A DNS label (RFC 1123); also the name of the output directory.
    pub(crate) name: String,
    pub(crate) kubernetes: KubernetesVersion,
    /// What runs the containers of pods.
    pub(crate) runtime: Runtime,
    /// Where images of the Kubernetes project come from, if not from its own registry.
    pub(crate) image_repository: Option<String>,
    /// Images that take the place of the version's, by what they are.
    #[serde(skip)]
    pub(crate) own_images: BTreeMap<Part, String>,
    /// etcd, if it is not the suite's.
    pub(crate) etcd: Option<EtcdVersion>,
    /// Whom etcd's members wait for before they found a cluster.
    pub(crate) founders: Founders,
    /// The profile it was started from.
    pub(crate) profile: String,
    pub(crate) network: Network,
    pub(crate) endpoint: Endpoint,
    /// In the order of the cluster file; names and addresses are unique.
    pub(crate) nodes: Vec<Node>,
    /// Overlays of each role, in order; the profile's, with the cluster file's changes.
    pub(crate) overlays: BTreeMap<Role, Vec<String>>,
    pub(crate) base: Base,
    /// Where Kubernetes programs come from; the first source that has a program wins.
    pub(crate) binaries: Vec<BinarySource>,
    /// Where container images come from; the first source that has an image wins.
    pub(crate) images: Vec<ImageSource>,
    /// Names in `output::FORMATS`.
    pub(crate) outputs: Vec<String>,
    /// The PKI vault's directory, absolute or relative to the working directory.
    pub(crate) vault: PathBuf,
    /// The lock file, beside the cluster file and named after it.
    pub(crate) lock: PathBuf,
}

/// Addresses and names that all nodes share.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Network {
    pub(crate) nodes: IpNet,
    pub(crate) pods: IpNet,
    /// Length of the prefix that each node's pods get.
    pub(crate) pods_per_node_prefix: u8,
    pub(crate) services: IpNet,
    pub(crate) node_ports: PortRange,
    pub(crate) plugin: NetworkPlugin,
    /// How kube-proxy leads services to pods; none: as the version is made for.
    pub(crate) proxy_mode: Option<ProxyMode>,
    /// Cluster DNS domain, `cluster.local` by default.
    pub(crate) domain: String,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) dns: Vec<IpAddr>,
    /// Time servers; empty means that the nodes keep time among themselves.
    pub(crate) ntp: Vec<String>,
    /// Name that the node network's interface gets, `lan0` by default.
    pub(crate) interface: String,
}

/// What clients of the API dial.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) vip: Option<IpAddr>,
    /// DNS names that lead to it; they become SANs.
    pub(crate) names: Vec<String>,
    /// Addresses that a router translates to it; they become SANs, and no machine has them.
    pub(crate) external_addresses: Vec<IpAddr>,
    pub(crate) port: u16,
    /// What stands behind it.
    pub(crate) balancer: Balancer,
    /// How it runs.
    pub(crate) run: Run,
    /// References of the images of its pods, by the name of the program.
    pub(crate) images: BTreeMap<&'static str, String>,
    /// How kube-vip tells routers where the VIP is; without it tells the segment (ARP).
    pub(crate) bgp: Option<Bgp>,
    /// VRRP virtual router identifier, 1 to 255, unique on the segment (RFC 5798 section 5.2.3).
    pub(crate) virtual_router_id: u8,
}

/// One machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    /// A lower-case DNS label (RFC 1123); also the Kubernetes node name.
    pub(crate) name: String,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) address: IpAddr,
    /// Further addresses that become SANs.
    pub(crate) extra_addresses: Vec<IpAddr>,
    /// How the machine recognises that a seed is its own; any one rule suffices. Empty: any machine that carries the seed.
    pub(crate) matches: Vec<MatchRule>,
    /// VRRP priority, 1 to 254; computed from the order of the nodes.
    pub(crate) priority: u8,
    pub(crate) labels: BTreeMap<String, String>,
    /// None: those that follow from the roles, [`Cluster::taints`].
    pub(crate) taints: Option<Vec<String>>,
}

/// One way to recognise a machine.
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

/// Where the operating system comes from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Base {
    /// Debian suite; `trixie`.
    pub(crate) suite: String,
    /// Repository URL; `None` means environment, then the host's own APT sources.
    pub(crate) mirror: Option<String>,
    /// Kernel package, such as `linux-image-cloud-amd64`.
    pub(crate) kernel: String,
    /// Packages beyond those of the overlays.
    pub(crate) packages: Vec<String>,
    pub(crate) filesystem: RootFilesystem,
    /// What machines mount.
    pub(crate) cgroups: Cgroups,
}

impl Cluster {
    /// Nodes that hold `role`, in the order of the cluster file.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.roles.contains(&role))
    }

    /// Nodes that run etcd: those with the role `etcd`, or the control plane when none has it.
    pub(crate) fn etcd_members(&self) -> Vec<&Node> {
        let dedicated: Vec<&Node> = self.with_role(Role::Etcd).collect();
        if dedicated.is_empty() { self.with_role(Role::ControlPlane).collect() } else { dedicated }
    }

    /// Whether `node` registers with the API.
    pub(crate) fn has_kubelet(&self, node: &Node) -> bool {
        self.has_overlay(node, KUBELET)
    }

    /// Whether a role of `node` names the overlay; what others require is not looked at.
    fn has_overlay(&self, node: &Node, name: &str) -> bool {
        node.roles.iter().filter_map(|role| self.overlays.get(role)).flatten().any(|overlay| overlay == name)
    }

    /// Sets of roles that occur, each with its nodes; one role image is built for each. The name joins the roles with `+`.
    pub(crate) fn images(&self) -> BTreeMap<String, Vec<&Node>> {
        let mut images: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
        for node in &self.nodes {
            images.entry(node.image()).or_default().push(node);
        }
        images
    }

    /// The version that members run. Debian mends the patch of its suites' for as long as they live: it counts as the last.
    pub(crate) fn etcd_version(&self) -> EtcdVersion {
        self.etcd.unwrap_or_else(|| EtcdVersion { minor: Suite::named(&self.base.suite).etcd_minor(), patch: u32::MAX })
    }

    /// What the cluster file says, else what the version is made for.
    pub(crate) fn proxy_mode(&self) -> ProxyMode {
        self.network.proxy_mode.unwrap_or_else(|| ProxyMode::of(self.kubernetes))
    }

    /// Whether the kernel's own balancer takes packets to services on `node`.
    pub(crate) fn has_ipvs(&self, node: &Node) -> bool {
        self.proxy_mode() == ProxyMode::Ipvs && self.has_kubelet(node)
    }

    /// Where images of the Kubernetes project come from.
    pub(crate) fn image_repository(&self) -> &str {
        self.image_repository.as_deref().unwrap_or_else(|| self.kubernetes.companion(Part::Registry))
    }
}

impl Node {
    /// What `/etc/machine-id` holds, machine-id(5): the same at every boot and after a reinstallation, and of no other node.
    pub(crate) fn machine_id(&self, cluster_id: &str) -> String {
        Digest::of(format!("kiln machine-id{cluster_id}{}", self.name).as_bytes()).to_string()[..32].to_owned()
    }

    /// Name of the role image that this node boots: its roles joined with `+`.
    pub(crate) fn image(&self) -> String {
        self.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join("+")
    }
}
