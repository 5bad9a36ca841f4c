//! kubelet: what its configuration file can't say, and before 1.10, which reads no such file, everything.

use super::{Flag, computed, text};
use crate::cluster::Taint;
use crate::words::CONTAINERD_SOCKET;
use crate::words::Runtime;

pub(super) static FLAGS: &[Flag] = &[
    text("config", "/etc/kubernetes/kubelet.yaml").since(10),
    text("kubeconfig", "/etc/kubernetes/kubelet.conf"),
    // Without it the API server of the kubeconfig is not used.
    text("require-kubeconfig", "true").until(7).deprecated(8).removed(10),
    // The default since 1.24.
    computed("container-runtime", |facts| facts.cluster.runtime.kind().word.to_owned()).until(23).deprecated(24).removed(27),
    text("container-runtime-endpoint", CONTAINERD_SOCKET).until(26).with(Runtime::Containerd),
    // Empty: then the kubelet asks its environment, and only there can it be told which version of the API to speak.
    text("docker-endpoint", "").until(23).deprecated(20).removed(24).with(Runtime::Docker),
    text("network-plugin", "cni").until(23).deprecated(20).removed(24).with(Runtime::Docker),
    text("cni-conf-dir", "/etc/cni/net.d").until(23).deprecated(20).removed(24).with(Runtime::Docker),
    text("cni-bin-dir", "/opt/cni/bin").until(23).deprecated(20).removed(24).with(Runtime::Docker),
    // Tells the garbage collector which image to keep; a fatal error since 1.35.
    computed("pod-infra-container-image", |facts| facts.sandbox_image()).until(34).deprecated(24).removed(35),
    computed("hostname-override", |facts| facts.node.name.clone()),
    computed("node-ip", |facts| facts.node.address.to_string()),
    computed("node-labels", |facts| facts.own_labels().join(",")),
    // A field of the file since 1.23.
    computed("register-with-taints", |facts| facts.cluster.taints(facts.node).iter().map(Taint::flag).collect::<Vec<_>>().join(","))
        .until(22)
        .deprecated(23),
    // Network add-ons are privileged; API servers decide who may be. The default since 1.11.
    text("allow-privileged", "true").until(10).deprecated(11).removed(15),
    // A field of the file only since 1.19.
    text("volume-plugin-dir", "/var/lib/kubelet/volumeplugins").until(18),
    computed("address", |facts| facts.node.address.to_string()).until(9).deprecated(10),
    text("port", "10250").until(9).deprecated(10),
    text("read-only-port", "0").until(9).deprecated(10),
    // Else cAdvisor answers anybody, without asking who.
    text("cadvisor-port", "0").until(11).deprecated(10).removed(12),
    text("healthz-bind-address", "127.0.0.1").until(9).deprecated(10),
    text("healthz-port", "10248").until(9).deprecated(10),
    text("anonymous-auth", "false").until(9).deprecated(10),
    text("authentication-token-webhook", "true").until(9).deprecated(10),
    text("authentication-token-webhook-cache-ttl", "2m0s").until(9).deprecated(10),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt").until(9).deprecated(10),
    text("authorization-mode", "Webhook").until(9).deprecated(10),
    text("tls-cert-file", "/etc/kubernetes/pki/kubelet-server.crt").until(9).deprecated(10),
    text("tls-private-key-file", "/etc/kubernetes/pki/kubelet-server.key").until(9).deprecated(10),
    text("cgroup-driver", "systemd").until(9).deprecated(10),
    text("experimental-fail-swap-on", "true").until(7).deprecated(8).removed(14),
    text("fail-swap-on", "true").since(8).until(9).deprecated(10),
    text("protect-kernel-defaults", "true").until(9).deprecated(10),
    text("max-pods", "110").until(9).deprecated(10),
    computed("cluster-dns", |facts| facts.cluster.dns_service_address().to_string()).until(9).deprecated(10),
    computed("cluster-domain", |facts| facts.cluster.network.domain.clone()).until(9).deprecated(10),
    text("resolv-conf", "/etc/resolv.conf").until(9).deprecated(10),
    text("pod-manifest-path", "/etc/kubernetes/manifests").until(9).deprecated(10),
    text("serialize-image-pulls", "false").until(9).deprecated(10),
    text("image-gc-high-threshold", "85").until(9).deprecated(10),
    text("image-gc-low-threshold", "80").until(9).deprecated(10),
    text("event-qps", "50").until(9).deprecated(10),
    text("streaming-connection-idle-timeout", "4h0m0s").until(9).deprecated(10),
    // Disk space can be reserved since 1.10.
    text("system-reserved", "cpu=200m,memory=500Mi").until(9).deprecated(10),
    text("kube-reserved", "cpu=200m,memory=500Mi").until(9).deprecated(10),
    text("eviction-hard", "memory.available<200Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%").until(9).deprecated(10),
    text("v", "2"),
];
