//! LEAVES: every certificate of a cluster, one row each. Paths are the same as in kubeadm
//! (<https://kubernetes.io/docs/setup/best-practices/certificates/>).

use crate::cluster::{Cluster, Node};
use crate::words::{Component, Mover, Role};

/// Names in `certificates` that are not leaves: the authorities' certificates and the service-account key
/// pair.
pub(crate) const SHARED: [&str; 4] = ["ca", "etcd-ca", "front-proxy-ca", "service-account"];

/// A certificate authority. There are three, so that an etcd client is not an API client and vice versa (CIS
/// 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Authority {
    Kubernetes,
    Etcd,
    FrontProxy,
}

/// Purpose of a certificate (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Client,
    Server,
    /// etcd members connect to each other, and to themselves, with their serving certificates.
    Both,
}

/// Names and addresses that a certificate contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// None, for clients.
    None,
    /// All names and addresses of the API, the same on every control-plane node.
    Api,
    /// The node itself and loopback.
    Loopback,
    /// The node itself, loopback, and the VIP if the node can hold it: etcd compares a peer's source address
    /// with the SANs, and the kernel may choose the VIP as the source address.
    Peer,
    /// The node itself as others see it, without loopback.
    Node,
}

/// Nodes that hold a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// No particular node: one certificate for the whole cluster.
    Cluster,
    ControlPlane,
    EtcdMember,
    /// Nodes that run pods.
    Kubelet,
    /// Nodes that forward connections to the endpoint.
    Balancer,
    /// Control-plane nodes between which kube-vip moves the VIP.
    KubeVip,
}

/// The `O` of the subject, which Kubernetes interprets as a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    None,
    Masters,
    Nodes,
    /// Since 1.29, `kubeadm:cluster-admins`, which RBAC must bind first; before 1.29, `system:masters`, as in
    /// kubeadm.
    Admins,
}

/// Format in which a node receives a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `STEM.crt` and `STEM.key`.
    Pair(&'static str),
    /// One PEM file: the certificate, then the key.
    Bundle(&'static str),
    /// A kubeconfig that connects to the cluster's endpoint; on a node, to the endpoint for the node's
    /// agents.
    Endpoint(&'static str),
    /// A kubeconfig that connects to the API server on the same node.
    Local(&'static str),
    /// Stays in the vault.
    Offline,
}

/// One kind of certificate.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Name in `certificates` and in the vault; never renamed.
    pub(crate) name: &'static str,
    /// `CN` of the subject; `{node}` is replaced by the node's name.
    pub(super) common_name: &'static str,
    pub(super) group: Group,
    pub(super) authority: Authority,
    pub(super) usage: Usage,
    pub(super) names: Names,
    pub(super) holder: Holder,
    pub(super) form: Form,
}

impl Authority {
    pub(crate) const ALL: [Self; 3] = [Self::Kubernetes, Self::Etcd, Self::FrontProxy];

    /// Returns the name of the authority's files in the vault.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
            Self::FrontProxy => "front-proxy",
        }
    }

    /// Returns the `CN` of the authority's certificate.
    pub(super) fn common_name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes-ca",
            Self::Etcd => "etcd-ca",
            Self::FrontProxy => "kubernetes-front-proxy-ca",
        }
    }

    /// Returns the name of the authority's certificate in `certificates` and its path on a node.
    pub(super) fn on_node(self) -> (&'static str, &'static str) {
        match self {
            Self::Kubernetes => ("ca", "/etc/kubernetes/pki/ca.crt"),
            Self::Etcd => ("etcd-ca", "/etc/kubernetes/pki/etcd/ca.crt"),
            Self::FrontProxy => ("front-proxy-ca", "/etc/kubernetes/pki/front-proxy-ca.crt"),
        }
    }
}

impl Holder {
    /// Checks whether `node` holds certificates of this kind.
    pub(super) fn includes(self, cluster: &Cluster, node: &Node) -> bool {
        let has = |role| node.roles.contains(&role);
        match self {
            Self::Cluster => false,
            Self::ControlPlane => has(Role::ControlPlane),
            Self::EtcdMember => cluster.etcd_members().iter().any(|member| member.name == node.name),
            Self::Kubelet => has(Role::ControlPlane) || has(Role::Worker),
            Self::Balancer => cluster.forwards(node),
            Self::KubeVip => cluster.endpoint.balancer.mover == Mover::KubeVip && cluster.carries_vip(node),
        }
    }

    /// Returns a description of the holders, for errors.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Cluster => "administrators",
            Self::ControlPlane => "control-plane nodes",
            Self::EtcdMember => "etcd members",
            Self::Kubelet => "control-plane nodes and workers",
            Self::Balancer => "nodes that run the endpoint's balancer",
            Self::KubeVip => "control-plane nodes that run kube-vip",
        }
    }
}

impl Group {
    pub(super) fn name(self, cluster: &Cluster) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Nodes => Some("system:nodes"),
            Self::Admins => Some(cluster.kubernetes.companion(Component::AdminGroup)),
            Self::Masters => Some("system:masters"),
        }
    }
}

/// Defaults for rows: a certificate of the Kubernetes authority that a control-plane node uses as a server or
/// as a client.
const CONTROL_PLANE: Leaf = Leaf {
    name: "",
    common_name: "",
    group: Group::None,
    authority: Authority::Kubernetes,
    usage: Usage::Client,
    names: Names::None,
    holder: Holder::ControlPlane,
    form: Form::Offline,
};

/// An etcd member's certificate.
const ETCD: Leaf = Leaf {
    common_name: "{node}",
    authority: Authority::Etcd,
    usage: Usage::Both,
    holder: Holder::EtcdMember,
    ..CONTROL_PLANE
};

/// Every kind of certificate, in the order in which they are issued and listed.
pub(super) static LEAVES: &[Leaf] = &[
    Leaf {
        name: "apiserver",
        common_name: "kube-apiserver",
        usage: Usage::Server,
        names: Names::Api,
        form: Form::Pair("/etc/kubernetes/pki/apiserver"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "apiserver-kubelet-client",
        // No group: RBAC binds the user to `system:kubelet-api-admin`, which is all it needs.
        common_name: "kube-apiserver-kubelet-client",
        form: Form::Pair("/etc/kubernetes/pki/apiserver-kubelet-client"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "apiserver-etcd-client",
        common_name: "kube-apiserver-etcd-client",
        authority: Authority::Etcd,
        form: Form::Pair("/etc/kubernetes/pki/apiserver-etcd-client"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "front-proxy-client",
        common_name: "front-proxy-client",
        authority: Authority::FrontProxy,
        form: Form::Pair("/etc/kubernetes/pki/front-proxy-client"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "controller-manager",
        common_name: "system:kube-controller-manager",
        form: Form::Local("/etc/kubernetes/controller-manager.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "controller-manager-server",
        common_name: "kube-controller-manager",
        usage: Usage::Server,
        names: Names::Loopback,
        form: Form::Pair("/etc/kubernetes/pki/controller-manager-server"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "scheduler",
        common_name: "system:kube-scheduler",
        form: Form::Local("/etc/kubernetes/scheduler.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "scheduler-server",
        common_name: "kube-scheduler",
        usage: Usage::Server,
        names: Names::Loopback,
        form: Form::Pair("/etc/kubernetes/pki/scheduler-server"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "etcd-server",
        names: Names::Loopback,
        form: Form::Pair("/etc/kubernetes/pki/etcd/server"),
        ..ETCD
    },
    Leaf { name: "etcd-peer", names: Names::Peer, form: Form::Pair("/etc/kubernetes/pki/etcd/peer"), ..ETCD },
    Leaf {
        name: "etcd-healthcheck-client",
        common_name: "kube-etcd-healthcheck-client",
        usage: Usage::Client,
        form: Form::Pair("/etc/kubernetes/pki/etcd/healthcheck-client"),
        ..ETCD
    },
    Leaf {
        name: "kubelet",
        common_name: "system:node:{node}",
        group: Group::Nodes,
        holder: Holder::Kubelet,
        form: Form::Endpoint("/etc/kubernetes/kubelet.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "kubelet-server",
        common_name: "system:node:{node}",
        group: Group::Nodes,
        usage: Usage::Server,
        names: Names::Node,
        holder: Holder::Kubelet,
        form: Form::Pair("/etc/kubernetes/pki/kubelet-server"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "kube-proxy",
        common_name: "system:kube-proxy",
        holder: Holder::Kubelet,
        form: Form::Endpoint("/etc/kubernetes/kube-proxy.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "lb-healthcheck",
        common_name: "lb-healthcheck",
        holder: Holder::Balancer,
        form: Form::Bundle("/etc/kubernetes/pki/lb-healthcheck.pem"),
        ..CONTROL_PLANE
    },
    Leaf {
        // Not an administrator: RBAC allows access to the lease that elects the VIP holder, and to nothing
        // else.
        name: "kube-vip",
        common_name: "system:kube-vip",
        holder: Holder::KubeVip,
        form: Form::Local("/etc/kubernetes/kube-vip.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "bootstrap",
        common_name: "kiln-bootstrap",
        group: Group::Masters,
        form: Form::Local("/etc/kubernetes/bootstrap.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "admin",
        common_name: "kubernetes-admin",
        group: Group::Admins,
        holder: Holder::Cluster,
        form: Form::Endpoint("/etc/kubernetes/admin.conf"),
        ..CONTROL_PLANE
    },
    Leaf {
        name: "super-admin",
        common_name: "kubernetes-super-admin",
        group: Group::Masters,
        holder: Holder::Cluster,
        ..CONTROL_PLANE
    },
];
