//! The shape of a cluster file. Descriptions are for editors, `format` names a row of [`super::format::FORMATS`].
//!
//! Everything may be left out here; what must not be, `cluster::resolve` says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::words::{
    Balancer, BgpPeer, Cgroups, EtcdVersion, Founders, KubernetesVersion, NetworkPlugin, Part, PortRange, ProxyMode, Role, RootFilesystem,
    Run, Runtime,
};

/// One cluster: its network, its nodes, and what they run
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Document {
    /// Profile that fills in what this file leaves out; `kiln list profiles` shows them
    pub(crate) profile: Option<String>,
    pub(crate) cluster: ClusterSection,
    pub(crate) network: NetworkSection,
    pub(crate) endpoint: EndpointSection,
    /// The machines, one table each
    pub(crate) nodes: Vec<NodeSection>,
    pub(crate) etcd: EtcdSection,
    pub(crate) vault: VaultSection,
    pub(crate) base: BaseSection,
    /// Where Kubernetes programs come from; the first source that has a program wins
    pub(crate) binaries: Vec<BinarySection>,
    /// Where container images come from; the first source that has an image wins
    pub(crate) images: Vec<ImageSection>,
    pub(crate) outputs: OutputSection,
    pub(crate) overlays: OverlaySection,
}

/// What the cluster is
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClusterSection {
    /// Name of the cluster and of its output directory
    #[schemars(extend("format" = "label", "examples" = ["berlin"]))]
    pub(crate) name: Option<String>,
    /// Kubernetes version to run, in quotes
    #[schemars(with = "String", extend("format" = "kubernetes-version"))]
    pub(crate) kubernetes: Option<KubernetesVersion>,
    /// What runs the containers of pods; by default containerd where the version's kubelet speaks to the suite's, else Docker
    pub(crate) runtime: Option<Runtime>,
    /// Registry and path of the Kubernetes project's images; by default the registry that the version uses
    #[schemars(extend("format" = "image-repository"))]
    pub(crate) image_repository: Option<String>,
    pub(crate) images: ClusterImages,
}

/// Container images that are not those of the version, with the registry; best with a digest
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClusterImages {
    /// What holds a pod's namespaces; by default the version's, from `image-repository`
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/kubernetes/pause:3.9"]))]
    pub(crate) pause: Option<String>,
    /// CoreDNS; by default the version's, from `image-repository`. kubeadm takes one whose name ends in `/coredns`
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/kubernetes/coredns:v1.13.1"]))]
    pub(crate) coredns: Option<String>,
    /// flannel
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/flannel:v0.27.4"]))]
    pub(crate) flannel: Option<String>,
    /// What brings flannel's CNI plugin to nodes
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/flannel-cni-plugin:v1.8.0-flannel1"]))]
    pub(crate) flannel_cni_plugin: Option<String>,
}

/// Addresses and names that all nodes share
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NetworkSection {
    /// Network that the nodes and the VIP are in
    #[schemars(with = "String", extend("format" = "network"))]
    pub(crate) nodes: Option<IpNet>,
    /// Network that pods get their addresses from
    #[schemars(with = "String", extend("format" = "network", "examples" = ["10.244.0.0/16"]))]
    pub(crate) pods: Option<IpNet>,
    /// Length of the prefix that each node's pods get: 24 is 254 addresses; by default 24, and 64 for IPv6
    #[schemars(range(min = 1, max = 128))]
    pub(crate) pods_per_node_prefix: Option<u8>,
    /// Network that services get their addresses from
    #[schemars(with = "String", extend("format" = "network", "examples" = ["10.96.0.0/12"]))]
    pub(crate) services: Option<IpNet>,
    /// Ports that services may open on every node
    #[schemars(with = "String", extend("format" = "port-range"))]
    pub(crate) node_ports: Option<PortRange>,
    /// What gives pods addresses and leads packets between them
    pub(crate) plugin: Option<NetworkPlugin>,
    /// How kube-proxy leads services to pods; by default `iptables`, and `nftables` from Kubernetes 1.33 on
    pub(crate) proxy_mode: Option<ProxyMode>,
    /// DNS domain of the cluster
    #[schemars(extend("format" = "domain"))]
    pub(crate) domain: Option<String>,
    /// Default route of the nodes
    #[schemars(with = "String", extend("format" = "address", "examples" = ["10.0.0.1"]))]
    pub(crate) gateway: Option<IpAddr>,
    /// Name servers of the nodes
    #[schemars(extend("items" = text("address")))]
    pub(crate) dns: Option<Vec<IpAddr>>,
    /// Time servers; with none, the nodes keep time among themselves
    #[schemars(extend("items" = text("host")))]
    pub(crate) ntp: Option<Vec<String>>,
    /// Name that the interface to the node network gets
    #[schemars(extend("format" = "interface"))]
    pub(crate) interface: Option<String>,
}

/// What clients of the Kubernetes API dial
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EndpointSection {
    /// Virtual address that always leads to a living control-plane node
    #[schemars(with = "String", extend("format" = "address"))]
    pub(crate) vip: Option<IpAddr>,
    /// DNS names that lead to the endpoint; certificates are valid for them
    #[schemars(extend("items" = text("domain")))]
    pub(crate) names: Option<Vec<String>>,
    /// Addresses at which a router that translates them (NAT) leads clients outside to the endpoint; certificates are valid for them
    #[schemars(extend("items" = text("address"), "examples" = [["203.0.113.10"]]))]
    pub(crate) external_addresses: Vec<IpAddr>,
    /// Port that clients dial; by default 8443 where a balancer shares machines with API servers, else 6443
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) port: Option<u16>,
    /// What stands behind the endpoint
    pub(crate) balancer: Option<Balancer>,
    /// How that runs: as services of the machines, or as pods that their kubelets start
    pub(crate) run: Option<Run>,
    /// Images of the pods
    pub(crate) images: EndpointImages,
    /// How kube-vip tells routers where the VIP is; with none it tells the segment (ARP)
    pub(crate) bgp: BgpSection,
    /// VRRP router identifier, unique in the network segment; by default the last byte of the VIP
    #[schemars(range(min = 1, max = 255))]
    pub(crate) virtual_router_id: Option<u8>,
}

/// Container images of balancers that run as pods, with the registry; best with a digest
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EndpointImages {
    /// Image of HAProxy 2.4 or later
    #[schemars(extend("format" = "image"))]
    pub(crate) haproxy: Option<String>,
    /// Image of nginx 1.20 or later with its stream module
    #[schemars(extend("format" = "image", "examples" = ["docker.io/library/nginx:1.28"]))]
    pub(crate) nginx: Option<String>,
    /// Image with keepalived 2.2 or later, bash, which runs the check, and curl, which `balancer = "keepalived"` checks with
    #[schemars(extend("format" = "image", "examples" = ["localhost/keepalived:2.3"]))]
    pub(crate) keepalived: Option<String>,
    /// Image of kube-vip 0.4 or later; its tag decides how its settings are written
    #[schemars(extend("format" = "image", "examples" = ["ghcr.io/kube-vip/kube-vip:v1.0.0"]))]
    pub(crate) kube_vip: Option<String>,
}

/// How kube-vip tells routers where the VIP is
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BgpSection {
    /// Autonomous system of the control-plane nodes
    #[schemars(range(min = 1, max = 4_294_967_295_u64))]
    pub(crate) local_as: Option<u32>,
    /// The routers: address and autonomous system
    #[schemars(with = "Option<Vec<String>>", extend("items" = json!({ "type": "string", "format": "bgp-peer", "examples": ["10.0.0.1:64512"] })))]
    pub(crate) peers: Option<Vec<BgpPeer>>,
    /// Whether routers may be more than one hop away
    pub(crate) multihop: Option<bool>,
}

/// One machine
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NodeSection {
    /// Name of the node and its host name
    #[schemars(extend("format" = "label"))]
    pub(crate) name: Option<String>,
    /// What the node does; it may hold several roles
    pub(crate) roles: Vec<Role>,
    /// Its address in the node network
    #[schemars(with = "String", extend("format" = "address", "examples" = ["10.0.0.11"]))]
    pub(crate) address: Option<IpAddr>,
    /// Further addresses that it is reached by; certificates are valid for them
    #[schemars(extend("items" = text("address")))]
    pub(crate) extra_addresses: Vec<IpAddr>,
    /// How the machine recognises that it is this node; with none, any machine that carries the seed is
    pub(crate) r#match: MatchSection,
    /// Kubernetes labels
    #[schemars(extend("propertyNames" = text("label-key"), "additionalProperties" = text("label-value")))]
    pub(crate) labels: BTreeMap<String, String>,
    /// Kubernetes taints; by default control-plane nodes have theirs where other nodes are workers
    #[schemars(extend("items" = text("taint")))]
    pub(crate) taints: Option<Vec<String>>,
}

/// How a machine recognises that it is a node; any one rule suffices
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MatchSection {
    /// Serial number of the system (SMBIOS)
    #[schemars(extend("format" = "serial"))]
    pub(crate) serial: Option<String>,
    /// UUID of the system (SMBIOS)
    #[schemars(extend("format" = "machine-uuid"))]
    pub(crate) uuid: Option<String>,
    /// MAC address of any of its interfaces
    #[schemars(extend("format" = "mac"))]
    pub(crate) mac: Option<String>,
    /// Whether `kiln.node=NAME` on the kernel command line decides
    pub(crate) command_line: Option<bool>,
}

/// The store of the API servers
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EtcdSection {
    /// Version of etcd to run, in quotes, from a release archive or a directory of `binaries`; by default the suite's package
    #[schemars(with = "String", extend("format" = "etcd-version"))]
    pub(crate) version: Option<EtcdVersion>,
    /// Which of the members must be there, and blank, before they found a new cluster
    pub(crate) found: Option<Founders>,
}

/// Where keys and certificates are kept
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct VaultSection {
    /// Directory of the vault, relative to this file
    #[schemars(extend("format" = "path"))]
    pub(crate) path: Option<PathBuf>,
}

/// Where the operating system comes from
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BaseSection {
    /// Debian suite
    #[schemars(extend("format" = "suite"))]
    pub(crate) suite: Option<String>,
    /// Debian mirror; with none, $KILN_MIRROR or the APT sources of this machine
    #[schemars(extend("format" = "url"))]
    pub(crate) mirror: Option<String>,
    /// Kernel package
    #[schemars(extend("format" = "package"))]
    pub(crate) kernel: Option<String>,
    /// Debian packages beyond those of the overlays
    #[schemars(extend("items" = text("package")))]
    pub(crate) packages: Option<Vec<String>>,
    /// Format of the read-only root
    pub(crate) filesystem: Option<RootFilesystem>,
    /// Control groups that machines mount; by default v2, and v1 for kubelets that know nothing else where the suite has it
    pub(crate) cgroups: Option<Cgroups>,
}

/// One source of Kubernetes programs: an archive or a directory
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 2))]
pub(crate) struct BinarySection {
    /// URL of a release archive; `{version}` stands for the Kubernetes version
    #[schemars(extend("format" = "url", "examples" = ["https://dl.k8s.io/v{version}/kubernetes-server-linux-amd64.tar.gz"]))]
    pub(crate) archive: Option<String>,
    /// SHA-256 of the archive; by default the one that is published beside it, in a file `.sha256` or in `SHA256SUMS`
    #[schemars(extend("format" = "sha256"))]
    pub(crate) sha256: Option<String>,
    /// Directory that holds the programs, relative to this file
    #[schemars(extend("format" = "path", "examples" = ["kubernetes"]))]
    pub(crate) directory: Option<PathBuf>,
}

/// One source of container images: an archive of them or a directory of such archives
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct ImageSection {
    /// Path, relative to this file, or URL of an archive as `docker save` writes it; `{version}` in a URL stands for the Kubernetes version
    #[schemars(extend("format" = "place", "examples" = ["images/haproxy.tar"]))]
    pub(crate) archive: Option<String>,
    /// Directory of such archives, relative to this file
    #[schemars(extend("format" = "path", "examples" = ["images"]))]
    pub(crate) directory: Option<PathBuf>,
}

/// What a build writes
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OutputSection {
    /// Formats of the artifacts
    pub(crate) formats: Option<Vec<Output>>,
}

/// A word for one of `output::FORMATS`; a test keeps both in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Output {
    /// Disk image for each node
    Raw,
    /// Disk image for each node, as QEMU's overlay on one image of the role
    Qcow2,
    /// Root filesystem as a directory
    Dir,
    /// user-data and a NoCloud volume for each node, for a stock Debian image
    CloudInit,
}

/// Overlays that each role gets beyond those of the profile
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OverlaySection {
    pub(crate) control_plane: OverlayChange,
    pub(crate) etcd: OverlayChange,
    pub(crate) lb: OverlayChange,
    pub(crate) worker: OverlayChange,
}

/// Changes to the profile's overlays of a role
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OverlayChange {
    /// Overlays to add, after those of the profile
    #[schemars(extend("items" = text("overlay")))]
    pub(crate) add: Vec<String>,
    /// Overlays of the profile to leave out
    #[schemars(extend("items" = text("overlay")))]
    pub(crate) remove: Vec<String>,
}

/// Schema of one text in a list.
fn text(format: &str) -> Value {
    json!({ "type": "string", "format": format })
}

impl ClusterImages {
    /// Those that are set, each by what it takes the place of.
    pub(crate) fn references(&self) -> BTreeMap<Part, String> {
        let all = [
            (Part::Pause, &self.pause),
            (Part::Dns, &self.coredns),
            (Part::Flannel, &self.flannel),
            (Part::FlannelPlugin, &self.flannel_cni_plugin),
        ];
        all.into_iter().filter_map(|(part, image)| Some((part, image.clone()?))).collect()
    }
}

impl EndpointImages {
    /// Those that are set, by the name of the program as templates write it.
    pub(crate) fn references(&self) -> BTreeMap<&'static str, String> {
        let all = [("haproxy", &self.haproxy), ("nginx", &self.nginx), ("keepalived", &self.keepalived), ("kube_vip", &self.kube_vip)];
        all.into_iter().filter_map(|(name, image)| Some((name, image.clone()?))).collect()
    }
}

impl OverlaySection {
    /// What the user changes for `role`.
    pub(crate) fn of(&self, role: Role) -> &OverlayChange {
        match role {
            Role::ControlPlane => &self.control_plane,
            Role::Etcd => &self.etcd,
            Role::Lb => &self.lb,
            Role::Worker => &self.worker,
        }
    }
}

impl Output {
    pub(crate) const ALL: [Self; 4] = [Self::Raw, Self::Qcow2, Self::Dir, Self::CloudInit];

    /// The word in cluster files and in `output::FORMATS`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Dir => "dir",
            Self::CloudInit => "cloud-init",
        }
    }

    /// One line for `kiln list outputs`.
    pub(crate) fn summary(self) -> &'static str {
        match self {
            Self::Raw => "a disk image for each role; a node's disk shares its bytes or is an overlay on it",
            Self::Qcow2 => "the same in QEMU's format; a node's disk is an overlay on the role's",
            Self::Dir => "the parts of each role image as files: root file system, hash tree, root hash, UKI",
            Self::CloudInit => "user-data and a NoCloud volume for each node, for a stock Debian image",
        }
    }
}
