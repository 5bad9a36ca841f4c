//! kubeadm's `extraArgs`: the flags from the same tables that kubeadm itself does not set for static pods and
//! kubelets.

use super::PROGRAMS;
use crate::render::context::NodeContext;

/// A program, and the flags of its table that `extraArgs` must not contain.
struct Component {
    program: &'static str,
    /// Flags that kubeadm derives from its own settings, that differ between nodes, or that name files
    /// outside the pod.
    without: &'static [&'static str],
}

static COMPONENTS: &[Component] = &[
    Component { program: "kube_apiserver", without: API_SERVER },
    Component { program: "kube_controller_manager", without: CONTROLLER_MANAGER },
    Component { program: "kube_scheduler", without: SCHEDULER },
    Component { program: "kubelet", without: KUBELET },
];

/// All API servers share one configuration: they listen on every address, and a balancer uses another port.
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

/// The scheduler's pod mounts only its kubeconfig; the scheduler generates its own serving certificate for
/// loopback.
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

/// Returns the names and values of the flags that are passed to `program` through kubeadm's `extraArgs`.
pub(in crate::render) fn extra(program: &str, context: &NodeContext<'_>) -> Vec<(&'static str, String)> {
    let component = COMPONENTS
        .iter()
        .find(|component| component.program == program)
        .expect("kubeadm starts this program");
    let table = PROGRAMS.iter().find(|other| other.name == program).expect("every component has a table");
    table.arguments(context).filter(|(name, _)| !component.without.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::{COMPONENTS, PROGRAMS};

    #[test]
    fn what_kubeadm_is_not_told_stands_in_the_tables() {
        for component in COMPONENTS {
            let table = PROGRAMS.iter().find(|program| program.name == component.program).unwrap();
            for name in component.without {
                assert!(
                    table.flags.iter().any(|flag| flag.name == *name),
                    "{} has no --{name}",
                    component.program
                );
            }
        }
    }
}
