//! Configuration fields that each kubelet version accepts, and settings that must match the container
//! runtime.

use crate::config::{Document, Fleet, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Fields of `KubeletConfiguration` and the minor version that introduced each, from the type's history in
/// kubernetes/kubelet.
const FIELDS: [(&str, u32); 47] = [
    ("nodeStatusReportFrequency", 13),
    ("allowedUnsafeSysctls", 16),
    ("topologyManagerPolicy", 16),
    ("reservedSystemCPUs", 17),
    ("showHiddenMetricsForVersion", 18),
    ("enableServer", 19),
    ("enableSystemLogHandler", 19),
    ("kernelMemcgNotification", 19),
    ("logging", 19),
    ("nodeStatusMaxImages", 19),
    ("providerID", 19),
    ("runOnce", 19),
    ("volumePluginDir", 19),
    ("shutdownGracePeriod", 20),
    ("shutdownGracePeriodCriticalPods", 20),
    ("topologyManagerScope", 20),
    ("enableDebugFlagsHandler", 21),
    ("enableProfilingHandler", 21),
    ("memoryManagerPolicy", 21),
    ("reservedMemory", 21),
    ("cpuManagerPolicyOptions", 22),
    ("memorySwap", 22),
    ("memoryThrottlingFactor", 22),
    ("seccompDefault", 22),
    ("registerNode", 23),
    ("registerWithTaints", 23),
    ("shutdownGracePeriodByPodPriority", 23),
    ("localStorageCapacityIsolation", 25),
    ("tracing", 25),
    ("topologyManagerPolicyOptions", 26),
    ("containerRuntimeEndpoint", 27),
    ("enableSystemLogQuery", 27),
    ("imageServiceEndpoint", 27),
    ("maxParallelImagePulls", 27),
    ("imageMaximumGCAge", 29),
    ("containerLogMaxWorkers", 30),
    ("containerLogMonitorInterval", 30),
    ("podLogsDir", 30),
    ("failCgroupV1", 31),
    ("crashLoopBackOff", 32),
    ("singleProcessOOMKill", 32),
    ("imagePullCredentialsVerificationPolicy", 33),
    ("mergeDefaultEvictionSettings", 33),
    ("preloadedImagesVerificationAllowlist", 33),
    ("userNamespaces", 33),
    ("memoryReservationPolicy", 36),
    ("tlsCurvePreferences", 36),
];

/// Fields that prevent a kubelet from starting unless a feature gate is enabled, and the first minor version
/// that enables the gate by default.
const GATES: [(&str, &str, u32); 3] = [
    ("shutdownGracePeriod", "GracefulNodeShutdown", 21),
    ("shutdownGracePeriodCriticalPods", "GracefulNodeShutdown", 21),
    ("seccompDefault", "SeccompDefault", 25),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA216", "the kubelet configuration contains a field that this version does not support")
        .why(
            "the kubelet parses its configuration strictly, and does not start if the file contains a \
            field from a newer version",
        )
        .fix("remove the field, or use a version that supports it")
        .files(newer_field),
    Lint::error("HA218", "the kubelet and the runtime use different cgroup drivers")
        .why(
            "two managers of one cgroup hierarchy conflict: under memory pressure, pods and the kubelet \
            itself are killed",
        )
        .fix(
            "set `cgroupDriver: systemd`, and either `SystemdCgroup = true` in the containerd configuration \
            or `native.cgroupdriver=systemd` in the Docker configuration",
        )
        .files(different_drivers),
];

fn newer_field<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let minor = fleet.target.kubernetes;
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        for (name, value) in node.entries() {
            let since = FIELDS.iter().find(|(field, _)| *field == name.text).map(|(_, since)| *since);
            if let Some(since) = since.filter(|since| *since > minor) {
                found.at(
                    document,
                    *name,
                    format!("kubelet 1.{minor} rejects `{}`, which was introduced in 1.{since}", name.text),
                );
                continue;
            }
            let gate = GATES.iter().find(|(field, _, open)| *field == name.text && minor < *open);
            let off = value.scalar().is_some_and(|word| ["false", "0", "0s"].contains(&word.text));
            if let Some((_, gate, open)) = gate.filter(|(_, gate, _)| !off && !is_open(node, gate)) {
                found.at(
                    document,
                    *name,
                    format!(
                        "kubelet 1.{minor} rejects `{}` without the feature gate {gate}, which is on by \
                        default in 1.{open} and later",
                        name.text
                    ),
                );
            }
        }
    }
}

/// Checks whether a configuration enables a feature gate.
fn is_open(configuration: &Node<'_>, gate: &str) -> bool {
    let gates = configuration.get("featureGates").map(Node::entries).unwrap_or_default();
    gates
        .iter()
        .any(|(name, value)| name.text == gate && value.scalar().is_some_and(|word| word.text == "true"))
}

/// Returns the cgroup driver of a machine's kubelet, and whether it is configured explicitly.
fn driver<'a>(fleet: &Fleet<'a>, machine: &str) -> Option<(&'a str, bool)> {
    let flag = fleet
        .programs("kubelet")
        .filter(|kubelet| kubelet.machine == machine)
        .find_map(|kubelet| kubelet.value("cgroup-driver"));
    let configuration = fleet.on(machine).of_kind("KubeletConfiguration").next();
    let reported =
        flag.or_else(|| configuration.and_then(|(_, node)| node.text("cgroupDriver")).map(|word| word.text));
    let (document, _) = match (reported, configuration) {
        (Some(driver), _) => return Some((driver, true)),
        (None, configuration) => configuration?,
    };
    // kubeadm has a default of its own.
    let kubeadm = document.content.yaml().into_iter().flatten().filter_map(|node| node.text("apiVersion"));
    let by_kubeadm = fleet.target.kubernetes >= 22
        && kubeadm.into_iter().any(|version| version.text.starts_with("kubeadm.k8s.io/"));
    Some((if by_kubeadm { "systemd" } else { "cgroupfs" }, false))
}

fn different_drivers<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for machine in fleet.machines() {
        let Some((kubelet, reported)) = driver(fleet, machine) else { continue };
        for (daemon, option, driver) in
            docker_drivers(fleet, machine).into_iter().filter(|(.., driver)| *driver != kubelet)
        {
            found.at(daemon, option, format!("Docker uses {driver}, but the kubelet uses {kubelet}"));
        }
        for (runtime, setting) in fleet
            .on(machine)
            .settings("containerd")
            .filter(|(_, setting)| setting.key.text == "SystemdCgroup")
        {
            let driver = if setting.value.text == "true" { "systemd" } else { "cgroupfs" };
            // Since 1.34 the kubelet obtains the driver from the runtime.
            if driver != kubelet && (reported || fleet.target.kubernetes < 34) {
                found.at(
                    runtime,
                    setting.key,
                    format!("containerd uses {driver}, but the kubelet uses {kubelet}"),
                );
            }
        }
    }
}

/// Returns the cgroup drivers that a machine's Docker is configured to use, in daemon.json or with
/// `--exec-opt`: `native.cgroupdriver=systemd`.
fn docker_drivers<'f, 'a>(fleet: &'f Fleet<'a>, machine: &str) -> Vec<(&'f Document<'a>, Word<'a>, &'a str)> {
    let daemons =
        fleet.on(machine).manifests().filter(|(document, _)| document.path.ends_with("/docker/daemon.json"));
    let of_files = daemons.flat_map(|(document, node)| {
        node.get("exec-opts").into_iter().flat_map(Node::items).map(move |item| (document, item))
    });
    let of_files = of_files.filter_map(|(document, item)| Some((document, item.scalar()?)));
    let flags =
        fleet.programs("dockerd").filter(|daemon| daemon.machine == machine).flat_map(|daemon| &daemon.flags);
    let of_flags = flags
        .filter(|flag| flag.name == "exec-opt")
        .map(|flag| (&fleet.documents[flag.document], flag.value));
    let driver = |(document, word): (&'f Document<'a>, Word<'a>)| {
        Some((document, word, word.text.strip_prefix("native.cgroupdriver=")?))
    };
    of_files.chain(of_flags).filter_map(driver).collect()
}
