//! What kubeadm's static pods and kubelets get of the same tables: what kubeadm does not say itself, for its `extraArgs`.

use super::PROGRAMS;
use crate::render::context::Facts;

/// A program, and the flags of its table that kubeadm must not be told.
struct Component {
    program: &'static str,
    /// What kubeadm derives from its own settings, what differs from node to node, and files that the pod does not see.
    without: &'static [&'static str],
}

static COMPONENTS: &[Component] = &[
    Component { program: "kube_apiserver", without: API_SERVER },
    Component { program: "kube_controller_manager", without: CONTROLLER_MANAGER },
    Component { program: "kube_scheduler", without: SCHEDULER },
    Component { program: "kubelet", without: KUBELET },
];

/// The configuration is one for all API servers: they listen on every address, and a balancer has a port of its own.
const API_SERVER: &[&str] = &[
    "bind-address",
    "secure-port",
    "insecure-port",
    "advertise-address",
    "etcd-servers",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "tls-cert-file",
    "tls-private-key-file",
    "client-ca-file",
    "authorization-mode",
    "kubelet-client-certificate",
    "kubelet-client-key",
    "kubelet-preferred-address-types",
    "requestheader-client-ca-file",
    "requestheader-allowed-names",
    "requestheader-username-headers",
    "requestheader-group-headers",
    "requestheader-extra-headers-prefix",
    "proxy-client-cert-file",
    "proxy-client-key-file",
    "service-account-issuer",
    "service-account-signing-key-file",
    "service-account-key-file",
    "service-cluster-ip-range",
    "allow-privileged",
];

const CONTROLLER_MANAGER: &[&str] = &[
    "bind-address",
    "secure-port",
    "port",
    "kubeconfig",
    "authentication-kubeconfig",
    "authorization-kubeconfig",
    "client-ca-file",
    "requestheader-client-ca-file",
    "cluster-cidr",
    "service-cluster-ip-range",
    "cluster-name",
    "root-ca-file",
    "service-account-private-key-file",
    "use-service-account-credentials",
    "leader-elect",
];

/// Its pod sees its kubeconfig and nothing else: it makes a serving certificate itself, for loopback.
const SCHEDULER: &[&str] = &[
    "bind-address",
    "secure-port",
    "port",
    "tls-cert-file",
    "tls-private-key-file",
    "kubeconfig",
    "authentication-kubeconfig",
    "authorization-kubeconfig",
    "client-ca-file",
    "requestheader-client-ca-file",
    "leader-elect",
];

const KUBELET: &[&str] = &[
    "config",
    "kubeconfig",
    "container-runtime",
    "container-runtime-endpoint",
    "docker-endpoint",
    "network-plugin",
    "cni-conf-dir",
    "cni-bin-dir",
    "pod-infra-container-image",
    "allow-privileged",
    "register-with-taints",
];

/// Names and values of the flags that `program` gets from kubeadm's `extraArgs`.
pub(in crate::render) fn extra(program: &str, facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let component = COMPONENTS.iter().find(|component| component.program == program).expect("kubeadm starts this program");
    let table = PROGRAMS.iter().find(|other| other.name == program).expect("every component has a table");
    table.arguments(facts).filter(|(name, _)| !component.without.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::{COMPONENTS, PROGRAMS};

    #[test]
    fn what_kubeadm_is_not_told_stands_in_the_tables() {
        for component in COMPONENTS {
            let table = PROGRAMS.iter().find(|program| program.name == component.program).unwrap();
            for name in component.without {
                assert!(table.flags.iter().any(|flag| flag.name == *name), "{} has no --{name}", component.program);
            }
        }
    }
}
