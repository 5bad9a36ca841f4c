//! The controllers, the scheduler, the kubelet and its proxy: what their version demands.

use crate::cluster::{Companion, Part};
use crate::lint::Lint;
use crate::lint::files::{Document, Fleet, Found, Node, Word};

/// Fields of `KubeletConfiguration` and the minor version that first knows them.
const KUBELET_FIELDS: [(&str, u32); 22] = [
    ("reservedSystemCPUs", 17),
    ("enableServer", 19),
    ("logging", 19),
    ("providerID", 19),
    ("volumePluginDir", 19),
    // Needs a feature gate in 1.20.
    ("shutdownGracePeriod", 21),
    ("shutdownGracePeriodCriticalPods", 21),
    ("memoryManagerPolicy", 21),
    ("seccompDefault", 22),
    ("memorySwap", 22),
    ("registerNode", 23),
    ("registerWithTaints", 23),
    ("tracing", 25),
    ("containerRuntimeEndpoint", 27),
    ("maxParallelImagePulls", 27),
    ("imageMaximumGCAge", 29),
    ("podLogsDir", 30),
    ("failCgroupV1", 31),
    ("crashLoopBackOff", 32),
    ("mergeDefaultEvictionSettings", 33),
    ("imagePullCredentialsVerificationPolicy", 33),
    ("tlsCurvePreferences", 36),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA213", "the scheduler opens its insecure port to everybody")
        .why("from 1.19 to 1.22 `--config` brings back port 10251 on all addresses, whatever `--port=0` says, and \"0\" or an empty address in the file do not close it")
        .fix("set `healthzBindAddress` and `metricsBindAddress` to 127.0.0.1:10251, or use flags without `--config`")
        .files(open_scheduler),
    Lint::error("HA214", "the controller manager or the scheduler cannot tell who asks")
        .why("since 1.22 only authenticated callers see their metrics and health; without these kubeconfigs they can ask nobody who a caller is")
        .fix("add `--authentication-kubeconfig` and `--authorization-kubeconfig`")
        .files(no_delegation),
    Lint::error("HA215", "health checks come without a certificate, and the API server answers nobody without one")
        .why("every check gets 401: the balancer marks all servers down, and the VIP leads nowhere")
        .fix("give the check a certificate (`crt` on the server line), or let anonymous requests reach the health paths only")
        .files(anonymous_checks),
    Lint::error("HA216", "the kubelet does not know a field of its configuration")
        .why("it reads the file strictly: a field of a newer version keeps it from starting")
        .fix("remove the field, or use the version that knows it")
        .files(newer_field),
    Lint::error("HA218", "the kubelet and the runtime use different cgroup drivers")
        .why("two managers of one tree disagree about who owns which processes: under memory pressure pods and the kubelet itself are killed")
        .fix("set `cgroupDriver: systemd`, and `SystemdCgroup = true` in containerd's configuration or `native.cgroupdriver=systemd` in Docker's")
        .files(different_drivers),
    Lint::warning("HA220", "IPVS leads connections on")
        .why("Kubernetes has deprecated it in 1.35; kube-proxy needs the modules `ip_vs`, `ip_vs_rr`, `ip_vs_wrr` and `ip_vs_sh`, and silently falls back to iptables without them")
        .fix("use `mode: nftables` from 1.33 on, `iptables` before, and `balancer = \"node-local\"`; else list the modules in /etc/modules-load.d")
        .files(ipvs),
    Lint::error("HA221", "kubeadm of this version does not read this")
        .why("each version reads two or three versions of its configuration and drops experimental flags: `init` or `join` stops with an error")
        .fix("use v1beta4 from 1.31 on, v1beta3 from 1.22 on; `--control-plane` and `--upload-certs`; `kubeadm config migrate` converts")
        .files(kubeadm),
    Lint::warning("HA222", "images come from a registry that is frozen, or from somebody's mirror")
        .why("k8s.gcr.io gets no new images since 1.25, and a mirror decides by itself what a tag means")
        .fix("use registry.k8s.io; pin images of a mirror by digest")
        .files(old_registry),
    Lint::warning("HA223", "a default that keeps instances from working against each other is switched off")
        .why("controllers and schedulers elect a leader by default, whatever articles say; with `--leader-elect=false` each of several instances acts, and they undo each other's work")
        .fix("remove the flag")
        .files(no_leader),
    Lint::error("HA225", "flannel looks for its network in etcd's old API")
        .why("flannel before 0.19 reads the v2 API, which etcd 3.4 and newer do not serve unless told, and 3.6 not at all: no node gets a network")
        .fix("use `--kube-subnet-mgr`")
        .files(old_flannel),
];

fn open_scheduler<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    if !(19..=22).contains(&fleet.target.kubernetes) {
        return;
    }
    for flag in fleet.programs("kube-scheduler").filter_map(|invocation| invocation.flag("config")) {
        let machine = fleet.documents[flag.document].machine;
        let local = |node: &Node<'a>| {
            ["healthzBindAddress", "metricsBindAddress"]
                .iter()
                .all(|name| node.text(name).is_some_and(|word| word.text.starts_with("127.")))
        };
        let closed = fleet.on(machine).of_kind("KubeSchedulerConfiguration").any(|(_, node)| local(node));
        if !closed {
            found.flag(flag, fleet, "port 10251 is open on all addresses");
        }
    }
}

fn no_delegation<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.invocations.iter().filter(|invocation| invocation.is_whole() && fleet.target.kubernetes >= 22) {
        let controllers = ["kube-controller-manager", "kube-scheduler"].contains(&invocation.program);
        let both = ["authentication-kubeconfig", "authorization-kubeconfig"].iter().all(|name| invocation.flag(name).is_some());
        if controllers && !both {
            found.at(&fleet.documents[invocation.document], invocation.word, format!("{} cannot ask who calls it", invocation.program));
        }
    }
}

fn anonymous_checks<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let strict = fleet.programs("kube-apiserver").find(|invocation| invocation.value("anonymous-auth") == Some("false"));
    if strict.is_none() {
        return;
    }
    for block in fleet.haproxy(&["backend", "listen"]) {
        let Some(check) = block.statement.last(&["option", "httpchk"]) else { continue };
        let certified = block.statement.body.iter().any(|statement| statement.has("crt"));
        if !certified {
            found.at(block.document, check.name(), "the API server answers 401 to this check: it has no certificate");
        }
    }
    for (document, command) in
        fleet.commands().filter(|(document, command)| command.runs(&["curl"]) && document.path.contains("keepalived"))
    {
        if let Some(url) = command.words.iter().find(|word| word.text.contains(":6443") && !command.has('E', "--cert")) {
            found.at(document, *url, "the API server answers 401 to this check: it has no certificate");
        }
    }
}

fn newer_field<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        for (name, _) in node.entries() {
            let since = KUBELET_FIELDS.iter().find(|(field, _)| *field == name.text).map(|(_, since)| *since);
            if let Some(since) = since.filter(|since| *since > fleet.target.kubernetes) {
                found.at(
                    document,
                    *name,
                    format!("kubelet 1.{} refuses `{}`, which 1.{since} brought", fleet.target.kubernetes, name.text),
                );
            }
        }
    }
}

fn different_drivers<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        let kubelet = node.text("cgroupDriver").map_or("cgroupfs", |word| word.text);
        for (daemon, option, driver) in docker_drivers(fleet, document.machine).filter(|(.., driver)| *driver != kubelet) {
            found.at(daemon, option, format!("Docker uses {driver}, and the kubelet {kubelet}"));
        }
        for (runtime, setting) in
            fleet.on(document.machine).settings("containerd").filter(|(_, setting)| setting.key.text == "SystemdCgroup")
        {
            let driver = if setting.value.text == "true" { "systemd" } else { "cgroupfs" };
            // From 1.34 on the kubelet asks the runtime.
            if driver != kubelet && (node.text("cgroupDriver").is_some() || fleet.target.kubernetes < 34) {
                found.at(runtime, setting.key, format!("containerd uses {driver}, and the kubelet {kubelet}"));
            }
        }
    }
}

/// What the daemon of a machine is told: `native.cgroupdriver=systemd`.
fn docker_drivers<'f, 'a>(fleet: &'f Fleet<'a>, machine: &str) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>, &'a str)> {
    let daemons = fleet.on(machine).manifests().filter(|(document, _)| document.path.ends_with("/docker/daemon.json"));
    let options =
        daemons.flat_map(|(document, node)| node.get("exec-opts").into_iter().flat_map(Node::items).map(move |item| (document, item)));
    options.filter_map(|(document, item)| {
        let word = item.scalar()?;
        Some((document, word, word.text.strip_prefix("native.cgroupdriver=")?))
    })
}

fn ipvs<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_files = fleet.of_kind("KubeProxyConfiguration").filter_map(|(document, node)| Some((document, node.text("mode")?)));
    let of_flags = fleet.programs("kube-proxy").filter_map(|invocation| invocation.flag("proxy-mode"));
    let of_flags = of_flags.map(|flag| (&fleet.documents[flag.document], flag.value));
    for (document, word) in of_files.chain(of_flags).filter(|(_, word)| word.text == "ipvs") {
        let loaded =
            fleet.on(document.machine).documents().any(|other| other.path.contains("modules-load") && other.text.text.contains("ip_vs"));
        if fleet.target.kubernetes >= 35 {
            found.at(document, word, "IPVS is deprecated since 1.35");
        } else if !loaded {
            found.at(document, word, "nothing loads the modules of IPVS");
        }
    }
    for block in fleet.keepalived("virtual_server") {
        found.at(block.document, block.statement.name(), "IPVS balances here, which Kubernetes deprecates");
    }
}

fn kubeadm<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let minor = fleet.target.kubernetes;
    for (document, node) in fleet.manifests() {
        let Some(word) = node.text("apiVersion") else { continue };
        let Some(version) = word.text.strip_prefix("kubeadm.k8s.io/") else { continue };
        if !Companion::all(Part::Kubeadm, minor).any(|row| row.version == version) {
            found.at(document, word, format!("kubeadm 1.{minor} does not read `{version}`"));
        }
    }
    for invocation in fleet.programs("kubeadm").filter(|_| minor >= 15) {
        for flag in invocation.flags.iter().filter(|flag| flag.name.starts_with("experimental-")) {
            found.flag(flag, fleet, format!("kubeadm has --{} instead", flag.name.trim_start_matches("experimental-")));
        }
    }
}

fn no_leader<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for program in ["kube-controller-manager", "kube-scheduler"] {
        for flag in
            fleet.programs(program).filter_map(|invocation| invocation.flag("leader-elect")).filter(|flag| flag.value.text == "false")
        {
            found.flag(flag, fleet, format!("every {program} acts, not one of them"));
        }
    }
}

fn old_registry<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.manifests() {
        for repository in node.find_all("imageRepository").into_iter().filter_map(Node::scalar) {
            let host = repository.text.split('/').next().unwrap_or_default();
            if host == "k8s.gcr.io" && fleet.target.kubernetes >= 25 {
                found.at(document, repository, "k8s.gcr.io has no images of this version");
            } else if host != "k8s.gcr.io" && host != "registry.k8s.io" {
                found.at(document, repository, format!("`{}` decides what its tags mean", repository.text));
            }
        }
    }
}

fn old_flannel<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    if fleet.target.etcd < 4 {
        return;
    }
    let served = fleet.target.etcd < 6 && fleet.programs("etcd").any(|etcd| etcd.value("enable-v2").is_some_and(|value| value != "false"));
    for invocation in fleet.programs("flanneld").filter(|flannel| flannel.flag("kube-subnet-mgr").is_none()) {
        if let Some(flag) = ["etcd-endpoints", "etcd-prefix"].iter().find_map(|name| invocation.flag(name)).filter(|_| !served) {
            found.flag(flag, fleet, format!("etcd 3.{} does not serve the v2 API that flannel reads", fleet.target.etcd));
        }
    }
}

/// Runtimes that a version cannot speak to, for HA219.
pub(in crate::lint) fn runtime<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let minor = fleet.target.kubernetes;
    for (document, setting) in fleet.settings("containerd/config.toml").filter(|(_, setting)| setting.key.text == "version") {
        if setting.value.text == "3" && minor <= 22 {
            found.at(document, setting.key, format!("containerd 2 does not speak CRI v1alpha2, and kubelet 1.{minor} nothing else"));
        }
    }
    for block in fleet.units("Unit").filter(|block| block.document.path.ends_with("/kubelet.service") && minor >= 24) {
        let names = block
            .statement
            .body
            .iter()
            .find(|statement| ["After", "Wants", "Requires"].contains(&statement.name().text) && statement.has("docker.service"));
        let shim = fleet.on(block.document.machine).has(&["cri-docker"]);
        if let Some(statement) = names.filter(|_| !shim) {
            found.at(block.document, statement.name(), "since 1.24 the kubelet needs cri-dockerd to use Docker");
        }
    }
}
