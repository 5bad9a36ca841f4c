//! kubelet flags: settings without a field in the configuration file, and all settings before 1.10, where
//! there is no such file.

use super::{Flag, computed, text};
use crate::cluster::Taint;
use crate::words::{CONTAINERD_SOCKET, Runtime, Service};

pub(super) static FLAGS: &[Flag] = &[
    text("config", "/etc/kubernetes/kubelet.yaml").since(10),
    text("kubeconfig", "/etc/kubernetes/kubelet.conf"),
    // Without it the kubelet ignores the API server of the kubeconfig.
    text("require-kubeconfig", "true").before(8),
    // The default since 1.24.
    computed("container-runtime", |context| context.cluster.runtime.kind().word.to_owned()).before(24),
    text("container-runtime-endpoint", CONTAINERD_SOCKET).before(27).with(Runtime::Containerd),
    // Empty: the kubelet then uses its environment, the only place to set the Docker API version.
    text("docker-endpoint", "").before(24).with(Runtime::Docker),
    text("network-plugin", "cni").before(24).with(Runtime::Docker),
    text("cni-conf-dir", "/etc/cni/net.d").before(24).with(Runtime::Docker),
    text("cni-bin-dir", "/opt/cni/bin").before(24).with(Runtime::Docker),
    // The image that garbage collection keeps. Later versions ignore the flag: the runtime must pin the
    // image.
    computed("pod-infra-container-image", |context| context.sandbox_image()).before(29),
    computed("hostname-override", |context| context.node.name.clone()),
    computed("node-ip", |context| context.node.address.to_string()),
    computed("node-labels", |context| context.own_labels().join(",")),
    // A field of the file since 1.23.
    computed("register-with-taints", |context| {
        context.cluster.taints(context.node).iter().map(Taint::flag).collect::<Vec<_>>().join(",")
    })
    .before(23),
    // Network add-ons are privileged; API servers decide which pods may be. The default since 1.11.
    text("allow-privileged", "true").before(11),
    // A field of the file only since 1.19.
    text("volume-plugin-dir", "/var/lib/kubelet/volumeplugins").before(19),
    computed("address", |context| context.node.address.to_string()).before(10),
    computed("port", |_| Service::Kubelet.port().to_string()).before(10),
    text("read-only-port", "0").before(10),
    // Otherwise cAdvisor serves all clients without authentication.
    text("cadvisor-port", "0").before(12),
    text("healthz-bind-address", "127.0.0.1").before(10),
    computed("healthz-port", |_| Service::KubeletHealth.port().to_string()).before(10),
    text("anonymous-auth", "false").before(10),
    text("authentication-token-webhook", "true").before(10),
    text("authentication-token-webhook-cache-ttl", "2m0s").before(10),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt").before(10),
    text("authorization-mode", "Webhook").before(10),
    text("tls-cert-file", "/etc/kubernetes/pki/kubelet-server.crt").before(10),
    text("tls-private-key-file", "/etc/kubernetes/pki/kubelet-server.key").before(10),
    text("cgroup-driver", "systemd").before(10),
    text("experimental-fail-swap-on", "true").before(8),
    text("fail-swap-on", "true").since(8).before(10),
    text("protect-kernel-defaults", "true").before(10),
    text("max-pods", "110").before(10),
    computed("cluster-dns", |context| context.cluster.dns_service_address().to_string()).before(10),
    computed("cluster-domain", |context| context.cluster.network.domain.clone()).before(10),
    text("resolv-conf", "/etc/resolv.conf").before(10),
    text("pod-manifest-path", "/etc/kubernetes/manifests").before(10),
    text("serialize-image-pulls", "false").before(10),
    text("image-gc-high-threshold", "85").before(10),
    text("image-gc-low-threshold", "80").before(10),
    text("event-qps", "50").before(10),
    text("streaming-connection-idle-timeout", "4h0m0s").before(10),
    // Reserving disk space requires 1.10.
    text("system-reserved", "cpu=200m,memory=500Mi").before(10),
    text("kube-reserved", "cpu=200m,memory=500Mi").before(10),
    text(
        "eviction-hard",
        "memory.available<200Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%",
    )
    .before(10),
    text("v", "2"),
];
