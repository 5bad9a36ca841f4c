//! Structure of a cluster file. Editors show the descriptions; `format` names a row of
//! [`super::format::FORMATS`].
//!
//! Everything is optional here; `cluster::resolve` reports missing settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::words::{
    Arch, Balancer, BgpPeer, Cgroups, Component, EtcdVersion, Founders, KubernetesVersion, NetworkPlugin,
    Output, PortRange, ProxyMode, Role, RootFilesystem, Run, Runtime,
};

/// A cluster: its network, its nodes, and the software that they run
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Document {
    /// Profile that supplies the settings that this file omits; `kiln list profiles` shows the available
    /// profiles
    pub(crate) profile: Option<String>,
    pub(crate) cluster: ClusterSection,
    pub(crate) network: NetworkSection,
    pub(crate) endpoint: EndpointSection,
    /// Machines of the cluster, one table per machine
    pub(crate) nodes: Vec<NodeSection>,
    pub(crate) etcd: EtcdSection,
    pub(crate) vault: VaultSection,
    pub(crate) base: BaseSection,
    /// Sources of Kubernetes programs; the first source that contains a program is used
    pub(crate) binaries: Vec<BinarySection>,
    /// Sources of container images; the first source that contains an image is used
    pub(crate) images: Vec<ImageSection>,
    pub(crate) outputs: OutputSection,
    pub(crate) overlays: OverlaySection,
}

/// Cluster name and versions
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClusterSection {
    /// Cluster name, also used as the name of the output directory
    #[schemars(extend("format" = "label", "examples" = ["berlin"]))]
    pub(crate) name: Option<String>,
    /// Kubernetes version, in quotes
    #[schemars(with = "String", extend("format" = "kubernetes-version"))]
    pub(crate) kubernetes: Option<KubernetesVersion>,
    /// Container runtime; the default is containerd if the kubelet supports the suite's version of it,
    /// otherwise Docker
    pub(crate) runtime: Option<Runtime>,
    /// Registry and path for the Kubernetes project's images; the default is the registry that the Kubernetes
    /// version uses
    #[schemars(extend("format" = "image-repository"))]
    pub(crate) image_repository: Option<String>,
    pub(crate) images: ClusterImages,
}

/// Container images that replace the Kubernetes version's defaults; include the registry and preferably a
/// digest
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClusterImages {
    /// Pause image, which holds a pod's namespaces; by default, the image for the Kubernetes version, pulled
    /// from `image-repository`
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/kubernetes/pause:3.9"]))]
    pub(crate) pause: Option<String>,
    /// CoreDNS image; by default, the image for the Kubernetes version, pulled from `image-repository`. With
    /// kubeadm, the name must end in `/coredns`
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/kubernetes/coredns:v1.13.1"]))]
    pub(crate) coredns: Option<String>,
    /// flannel image
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/flannel:v0.27.4"]))]
    pub(crate) flannel: Option<String>,
    /// Image that installs flannel's CNI plugin on the nodes
    #[schemars(extend("format" = "image", "examples" = ["registry.example.org/flannel-cni-plugin:v1.8.0-flannel1"]))]
    pub(crate) flannel_cni_plugin: Option<String>,
}

/// Addresses and names shared by all nodes
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NetworkSection {
    /// Network of the nodes and the VIP
    #[schemars(with = "String", extend("format" = "network"))]
    pub(crate) nodes: Option<IpNet>,
    /// Network from which pod addresses are assigned
    #[schemars(with = "String", extend("format" = "network", "examples" = ["10.244.0.0/16"]))]
    pub(crate) pods: Option<IpNet>,
    /// Prefix length of each node's pod network: 24 provides 254 addresses; the default is 24, or 64 for IPv6
    #[schemars(range(min = 1, max = 128))]
    pub(crate) pods_per_node_prefix: Option<u8>,
    /// Network from which service addresses are assigned
    #[schemars(with = "String", extend("format" = "network", "examples" = ["10.96.0.0/12"]))]
    pub(crate) services: Option<IpNet>,
    /// Port range that services may open on every node
    #[schemars(with = "String", extend("format" = "port-range"))]
    pub(crate) node_ports: Option<PortRange>,
    /// Network plugin, which assigns addresses to pods and routes packets between them
    pub(crate) plugin: Option<NetworkPlugin>,
    /// kube-proxy mode; the default is `iptables`, or `nftables` since Kubernetes 1.33
    pub(crate) proxy_mode: Option<ProxyMode>,
    /// Cluster DNS domain
    #[schemars(extend("format" = "domain"))]
    pub(crate) domain: Option<String>,
    /// Default gateway of the nodes
    #[schemars(with = "String", extend("format" = "address", "examples" = ["10.0.0.1"]))]
    pub(crate) gateway: Option<IpAddr>,
    /// Name servers for the nodes
    #[schemars(extend("items" = text("address")))]
    pub(crate) dns: Option<Vec<IpAddr>>,
    /// Time servers; without any, the nodes synchronize with each other
    #[schemars(extend("items" = text("host")))]
    pub(crate) ntp: Option<Vec<String>>,
    /// Name to assign to the interface on the node network
    #[schemars(extend("format" = "interface"))]
    pub(crate) interface: Option<String>,
}

/// Endpoint that Kubernetes API clients connect to
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EndpointSection {
    /// Virtual IP address that always reaches a working control-plane node
    #[schemars(with = "String", extend("format" = "address"))]
    pub(crate) vip: Option<IpAddr>,
    /// DNS names of the endpoint; the certificates include them
    #[schemars(extend("items" = text("domain")))]
    pub(crate) names: Option<Vec<String>>,
    /// External addresses that a router translates to the endpoint (NAT); the certificates include them
    #[schemars(extend("items" = text("address"), "examples" = [["203.0.113.10"]]))]
    pub(crate) external_addresses: Vec<IpAddr>,
    /// Port that clients connect to; the default is 8443 if the balancer shares machines with API servers,
    /// otherwise 6443
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) port: Option<u16>,
    /// Load balancer behind the endpoint
    pub(crate) balancer: Option<Balancer>,
    /// How the balancer runs: as systemd services, or as static pods started by the kubelets
    pub(crate) run: Option<Run>,
    /// Container images for the balancer's pods
    pub(crate) images: EndpointImages,
    /// Routers to which kube-vip announces the VIP; without any, kube-vip announces it on the network segment
    /// (ARP)
    pub(crate) bgp: BgpSection,
    /// VRRP virtual router identifier, unique on the network segment; the default is the last byte of the VIP
    #[schemars(range(min = 1, max = 255))]
    pub(crate) virtual_router_id: Option<u8>,
}

/// Container images for balancers that run as pods; include the registry and preferably a digest
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EndpointImages {
    /// HAProxy image, version 2.4 or later
    #[schemars(extend("format" = "image"))]
    pub(crate) haproxy: Option<String>,
    /// nginx image, version 1.20 or later, with the stream module
    #[schemars(extend("format" = "image", "examples" = ["docker.io/library/nginx:1.28"]))]
    pub(crate) nginx: Option<String>,
    /// keepalived image, version 2.2 or later
    #[schemars(extend("format" = "image", "examples" = ["localhost/keepalived:2.3"]))]
    pub(crate) keepalived: Option<String>,
    /// kube-vip image, version 0.4 or later; the tag determines the format of the kube-vip settings
    #[schemars(extend("format" = "image", "examples" = ["ghcr.io/kube-vip/kube-vip:v1.0.0"]))]
    pub(crate) kube_vip: Option<String>,
}

/// Routers to which kube-vip announces the VIP (BGP)
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BgpSection {
    /// Autonomous system number of the control-plane nodes
    #[schemars(range(min = 1, max = 4_294_967_295_u64))]
    pub(crate) local_as: Option<u32>,
    /// Routers, each as an address and an autonomous system number
    #[schemars(with = "Option<Vec<String>>", extend("items" = json!({ "type": "string", "format": "bgp-peer", "examples": ["10.0.0.1:64512"] })))]
    pub(crate) peers: Option<Vec<BgpPeer>>,
    /// If true, routers may be more than one hop away
    pub(crate) multihop: Option<bool>,
}

/// One machine
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NodeSection {
    /// Node name, also used as the host name
    #[schemars(extend("format" = "label"))]
    pub(crate) name: Option<String>,
    /// Node roles; a node may have several
    pub(crate) roles: Vec<Role>,
    /// Node address, in the node network
    #[schemars(with = "String", extend("format" = "address", "examples" = ["10.0.0.11"]))]
    pub(crate) address: Option<IpAddr>,
    /// Additional addresses at which the node can be reached; the certificates include them
    #[schemars(extend("items" = text("address")))]
    pub(crate) extra_addresses: Vec<IpAddr>,
    /// Rules by which a machine recognizes itself as this node; without rules, any machine with the node's
    /// seed becomes this node
    pub(crate) r#match: MatchSection,
    /// Kubernetes labels of the node
    #[schemars(extend("propertyNames" = text("label-key"), "additionalProperties" = text("label-value")))]
    pub(crate) labels: BTreeMap<String, String>,
    /// Kubernetes taints of the node; by default, control-plane nodes receive the usual control-plane taints
    /// if other nodes are workers
    #[schemars(extend("items" = text("taint")))]
    pub(crate) taints: Option<Vec<String>>,
}

/// Rules by which a machine recognizes which node it is; one match is enough
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MatchSection {
    /// System serial number (SMBIOS)
    #[schemars(extend("format" = "serial"))]
    pub(crate) serial: Option<String>,
    /// System UUID (SMBIOS)
    #[schemars(extend("format" = "machine-uuid"))]
    pub(crate) uuid: Option<String>,
    /// MAC address of any of the machine's interfaces
    #[schemars(extend("format" = "mac"))]
    pub(crate) mac: Option<String>,
    /// If true, `kiln.node=NAME` on the kernel command line identifies the node
    pub(crate) command_line: Option<bool>,
}

/// etcd, the data store of the API servers
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EtcdSection {
    /// etcd version, in quotes, from a release archive or a `binaries` directory; the default is the suite's
    /// package
    #[schemars(with = "String", extend("format" = "etcd-version"))]
    pub(crate) version: Option<EtcdVersion>,
    /// Members that must be present and blank before a new etcd cluster is bootstrapped
    pub(crate) found: Option<Founders>,
}

/// Location of keys and certificates
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct VaultSection {
    /// Vault directory, relative to this file
    #[schemars(extend("format" = "path"))]
    pub(crate) path: Option<PathBuf>,
}

/// Operating system of the machines
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BaseSection {
    /// Debian suite
    #[schemars(extend("format" = "suite"))]
    pub(crate) suite: Option<String>,
    /// Debian mirror; the default is `$KILN_MIRROR` or this machine's APT sources
    #[schemars(extend("format" = "url"))]
    pub(crate) mirror: Option<String>,
    /// CPU architecture of the machines; the default is `amd64`
    pub(crate) architecture: Option<Arch>,
    /// Kernel package; the default is the architecture's kernel for virtual machines
    #[schemars(extend("format" = "package"))]
    pub(crate) kernel: Option<String>,
    /// Debian packages to install in addition to the overlays' packages
    #[schemars(extend("items" = text("package")))]
    pub(crate) packages: Option<Vec<String>>,
    /// Format of the read-only root filesystem
    pub(crate) filesystem: Option<RootFilesystem>,
    /// cgroup version; the default is v2, or v1 if the kubelet supports only v1 and the suite provides it
    pub(crate) cgroups: Option<Cgroups>,
}

/// One source of Kubernetes programs: an archive or a directory
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 2))]
pub(crate) struct BinarySection {
    /// URL of a release archive; `{version}` is replaced with the Kubernetes version, `{architecture}` with
    /// the machines' architecture
    #[schemars(extend("format" = "url", "examples" = ["https://dl.k8s.io/v{version}/kubernetes-server-linux-{architecture}.tar.gz"]))]
    pub(crate) archive: Option<String>,
    /// SHA-256 digest of the archive; the default is the one published next to it, in a `.sha256` file or in
    /// `SHA256SUMS`
    #[schemars(extend("format" = "sha256"))]
    pub(crate) sha256: Option<String>,
    /// Directory that contains the programs, relative to this file
    #[schemars(extend("format" = "path", "examples" = ["kubernetes"]))]
    pub(crate) directory: Option<PathBuf>,
}

/// One source of container images: an image archive or a directory of image archives
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct ImageSection {
    /// Path (relative to this file) or URL of a `docker save` archive; `{version}` and `{architecture}` in a
    /// URL are replaced
    #[schemars(extend("format" = "place", "examples" = ["images/haproxy.tar"]))]
    pub(crate) archive: Option<String>,
    /// Directory that contains image archives, relative to this file
    #[schemars(extend("format" = "path", "examples" = ["images"]))]
    pub(crate) directory: Option<PathBuf>,
}

/// Build outputs
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OutputSection {
    /// Artifact formats
    pub(crate) formats: Option<Vec<Output>>,
}

/// Changes to the overlays that the profile assigns to each role
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OverlaySection {
    pub(crate) control_plane: OverlayChange,
    pub(crate) etcd: OverlayChange,
    pub(crate) lb: OverlayChange,
    pub(crate) worker: OverlayChange,
}

/// Changes to a role's overlays
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OverlayChange {
    /// Overlays to add after the profile's overlays
    #[schemars(extend("items" = text("overlay")))]
    pub(crate) add: Vec<String>,
    /// Overlays to remove from the profile's overlays
    #[schemars(extend("items" = text("overlay")))]
    pub(crate) remove: Vec<String>,
}

/// Returns the schema for one string in a list.
fn text(format: &str) -> Value {
    json!({ "type": "string", "format": format })
}

impl ClusterImages {
    /// Returns the images that are set, keyed by the component whose default image each replaces.
    pub(crate) fn references(&self) -> BTreeMap<Component, String> {
        let all = [
            (Component::Pause, &self.pause),
            (Component::Dns, &self.coredns),
            (Component::Flannel, &self.flannel),
            (Component::FlannelPlugin, &self.flannel_cni_plugin),
        ];
        all.into_iter().filter_map(|(part, image)| Some((part, image.clone()?))).collect()
    }
}

impl EndpointImages {
    /// Returns the images that are set, keyed by the program's name in templates.
    pub(crate) fn references(&self) -> BTreeMap<&'static str, String> {
        let all = [
            ("haproxy", &self.haproxy),
            ("nginx", &self.nginx),
            ("keepalived", &self.keepalived),
            ("kube_vip", &self.kube_vip),
        ];
        all.into_iter().filter_map(|(name, image)| Some((name, image.clone()?))).collect()
    }
}

impl OverlaySection {
    /// Returns the user's changes for `role`.
    pub(crate) fn of(&self, role: Role) -> &OverlayChange {
        match role {
            Role::ControlPlane => &self.control_plane,
            Role::Etcd => &self.etcd,
            Role::Lb => &self.lb,
            Role::Worker => &self.worker,
        }
    }
}
