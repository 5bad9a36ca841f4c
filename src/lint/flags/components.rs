//! The controllers, the scheduler, the proxy and kubeadm: what their version demands.

use std::ops::RangeInclusive;

use crate::config::{Extent, Flag, Fleet, Node, Word};
use crate::config::{api_backends, checking, inherited, of_server, servers};
use crate::lint::Lint;
use crate::lint::addons::images;
use crate::lint::found::Found;
use crate::lint::node::loads_module;
use crate::words::{Companion, Part};

/// Versions of kubeadm's configuration before those that kiln writes, and the minor versions that read them.
const OLD_KUBEADM: [(&str, RangeInclusive<u32>); 2] = [("v1alpha1", 8..=11), ("v1alpha2", 11..=12)];

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
    const TOLD: &str = "the API server answers 401 to this check: it has no certificate";
    let flags: Vec<&Flag<'a>> = fleet.programs("kube-apiserver").filter_map(|server| server.flag("anonymous-auth")).collect();
    let by_flag = flags.iter().any(|flag| flag.value.text == "false");
    let refuses = |node: &Node<'a>| node.text("anonymous.enabled").is_some_and(|word| word.text == "false");
    if !by_flag && !fleet.of_kind("AuthenticationConfiguration").any(|(_, node)| refuses(node)) {
        return;
    }
    for block in api_backends(fleet).map(checking) {
        let Some(check) = inherited(block, &["option", "httpchk"]) else { continue };
        if !servers(block).any(|server| of_server(block, server, "crt")) {
            found.at(block.document, check.name(), TOLD);
        }
    }
    for (document, command) in
        fleet.commands().filter(|(document, command)| command.runs(&["curl"]) && document.path.contains("keepalived"))
    {
        if let Some(url) = command.words.iter().find(|word| word.text.contains(":6443") && !command.has('E', "--cert")) {
            found.at(document, *url, TOLD);
        }
    }
    kubelets_probes(fleet, &flags, found);
}

/// Probes of the API server by its kubelet, which has no certificate to show: as a pod says, and as kubeadm has them in every pod.
fn kubelets_probes<'a>(fleet: &Fleet<'a>, flags: &[&Flag<'a>], found: &mut Found<'a>) {
    for server in fleet.programs("kube-apiserver").filter(|server| server.value("anonymous-auth") == Some("false")) {
        let document = &fleet.documents[server.document];
        let pods = document.content.yaml().into_iter().flatten();
        for path in pods.flat_map(|pod| pod.find_all("livenessProbe")).filter_map(|probe| probe.text("httpGet.path")) {
            found.at(document, path, "the API server answers 401 to this probe, and the kubelet restarts it");
        }
        if let Some(flag) = flags.iter().find(|flag| flag.document == server.document && server.extent == Extent::Added) {
            found.flag(flag, fleet, "kubeadm's probes have no certificate: the kubelet restarts the API server");
        }
    }
}

fn ipvs<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_files = fleet.of_kind("KubeProxyConfiguration").filter_map(|(document, node)| Some((document, node.text("mode")?)));
    let of_flags = fleet.programs("kube-proxy").filter_map(|invocation| invocation.flag("proxy-mode"));
    let of_flags = of_flags.map(|flag| (&fleet.documents[flag.document], flag.value));
    for (document, word) in of_files.chain(of_flags).filter(|(_, word)| word.text == "ipvs") {
        let loaded = loads_module(fleet, document.machine, "ip_vs");
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
        let older = OLD_KUBEADM.iter().any(|(old, minors)| *old == version && minors.contains(&minor));
        if !older && !Companion::all(Part::Kubeadm, minor).any(|row| row.version == version) {
            found.at(document, word, format!("kubeadm 1.{minor} does not read `{version}`"));
        }
        for arguments in ["extraArgs", "kubeletExtraArgs"].iter().flat_map(|key| node.find_all(key)) {
            let listed = version == "v1beta4";
            let as_other = if listed { !arguments.entries().is_empty() } else { !arguments.items().is_empty() };
            if as_other {
                let shape = if listed { "a list of `name` and `value`" } else { "a map" };
                found.at(document, arguments.word, format!("arguments are {shape} in `{version}`"));
            }
        }
    }
    for invocation in fleet.programs("kubeadm").filter(|_| minor >= 16) {
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
    for (document, node) in fleet.of_kind("KubeSchedulerConfiguration") {
        if let Some(word) = node.text("leaderElection.leaderElect").filter(|word| word.text == "false") {
            found.at(document, word, "every kube-scheduler acts, not one of them");
        }
    }
}

fn old_registry<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const FROZEN: &str = "k8s.gcr.io";
    let host = |word: Word<'a>| word.text.split('/').next().unwrap_or_default();
    let is_frozen = |word: Word<'a>| host(word) == FROZEN && fleet.target.kubernetes >= 25;
    let of_files = fleet.manifests().flat_map(|(document, node)| {
        node.find_all("imageRepository").into_iter().filter_map(Node::scalar).map(move |word| (document, word)).collect::<Vec<_>>()
    });
    let of_flags = fleet.programs("kubeadm").filter_map(|invocation| invocation.flag("image-repository"));
    let of_flags = of_flags.map(|flag| (&fleet.documents[flag.document], flag.value));
    for (document, repository) in of_files.chain(of_flags).filter(|(_, repository)| !repository.text.is_empty()) {
        if is_frozen(repository) {
            found.at(document, repository, format!("{FROZEN} has no images of this version"));
        } else if host(repository) != FROZEN && host(repository) != "registry.k8s.io" {
            found.at(document, repository, format!("`{}` decides what its tags mean", repository.text));
        }
    }
    let pause = fleet.settings("containerd").filter(|(_, setting)| ["sandbox_image", "sandbox"].contains(&setting.key.text));
    let pause = pause.map(|(document, setting)| (document, setting.value));
    for (document, image) in images(fleet).chain(pause).filter(|(_, image)| is_frozen(*image)) {
        found.at(document, image, format!("{FROZEN} gets no images any more"));
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
    if minor < 24 {
        return;
    }
    const TOLD: &str = "since 1.24 the kubelet needs cri-dockerd to use Docker";
    for block in fleet.units("Unit").filter(|block| block.document.unit() == Some("kubelet")) {
        let names = block
            .statement
            .body
            .iter()
            .find(|statement| ["After", "Wants", "Requires"].contains(&statement.name().text) && statement.has("docker.service"));
        let shim = fleet.on(block.document.machine).has(&["cri-docker"]);
        if let Some(statement) = names.filter(|_| !shim) {
            found.at(block.document, statement.name(), TOLD);
        }
    }
    for flag in fleet.programs("kubelet").filter_map(|kubelet| kubelet.flag("container-runtime")).filter(|flag| flag.value.text == "docker")
    {
        found.flag(flag, fleet, TOLD);
    }
    for (document, socket) in fleet.manifests().filter_map(|(document, node)| Some((document, node.text("nodeRegistration.criSocket")?))) {
        if socket.text.ends_with("/dockershim.sock") {
            found.at(document, socket, TOLD);
        }
    }
}
