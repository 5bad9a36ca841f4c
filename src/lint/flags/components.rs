//! Version requirements of the controller manager, the scheduler, kube-proxy and kubeadm.

use crate::config::{Extent, Flag, Fleet, Node, Word};
use crate::config::{api_backends, checking, inherited, of_server, servers};
use crate::lint::Lint;
use crate::lint::addons::images;
use crate::lint::found::Found;
use crate::lint::node::loads_module;
use crate::words::{Companion, Component, Span};

/// kubeadm configuration versions older than the ones that kiln writes, and the minor versions that read
/// them.
const OLD_KUBEADM: [(&str, Span); 2] =
    [("v1alpha1", Span::since(8).removed(12)), ("v1alpha2", Span::since(11).removed(13))];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA213", "the scheduler opens its insecure port on all addresses")
        .why(
            "from 1.19 to 1.22, `--config` reopens port 10251 on all addresses despite `--port=0`, and \
            \"0\" or an empty address in the file does not close it",
        )
        .fix(
            "set `healthzBindAddress` and `metricsBindAddress` to 127.0.0.1:10251, or use only flags, \
            without `--config`",
        )
        .files(open_scheduler),
    Lint::error("HA214", "the controller manager or the scheduler can't authenticate clients")
        .why(
            "since 1.22 both serve metrics only to authenticated clients, and without the two kubeconfigs \
            they can't authenticate their clients",
        )
        .fix("add `--authentication-kubeconfig` and `--authorization-kubeconfig`")
        .files(no_delegation),
    Lint::error("HA215", "health checks present no client certificate, but the API server requires one")
        .why(
            "the API server rejects every check with 401, so the balancer marks all servers down, and the \
            VIP does not reach any of them",
        )
        .fix(
            "set a client certificate for the check (`crt` on the server line), or allow anonymous \
            requests to the health paths only",
        )
        .files(anonymous_checks),
    Lint::warning("HA220", "connections are balanced with IPVS")
        .why(
            "Kubernetes deprecated IPVS in 1.35; kube-proxy needs the modules `ip_vs`, `ip_vs_rr`, \
            `ip_vs_wrr` and `ip_vs_sh`, and silently falls back to iptables without them",
        )
        .fix(
            "for services use `mode: nftables` with 1.33 or later, or `mode: iptables` with older versions; \
            for API servers use `balancer = \"node-local\"`; otherwise list the modules in \
            /etc/modules-load.d",
        )
        .files(ipvs),
    Lint::error("HA221", "this kubeadm version does not accept the configuration or a flag")
        .why(
            "each kubeadm version reads only two or three versions of its configuration, and drops \
            experimental flags: `init` or `join` stops with an error",
        )
        .fix(
            "use v1beta4 with 1.31 or later, or v1beta3 with 1.22 or later (convert with `kubeadm config \
            migrate`), and the flags `--control-plane` and `--upload-certs`",
        )
        .files(kubeadm),
    Lint::warning("HA222", "images come from a frozen registry or a third-party mirror")
        .why(
            "k8s.gcr.io has received no new images since 1.25, and a mirror decides which image a tag \
            refers to",
        )
        .fix("use registry.k8s.io, or pin images from a mirror by digest")
        .files(old_registry),
    Lint::warning("HA223", "leader election is disabled")
        .why(
            "controller managers and schedulers elect a leader by default; with `--leader-elect=false` all \
            instances are active, and undo each other's work",
        )
        .fix("remove the setting")
        .files(no_leader),
    Lint::error("HA225", "flannel reads its network configuration from etcd's v2 API")
        .why(
            "flannel before 0.19 reads the v2 API, which etcd 3.4 and later do not serve by default, and 3.6 \
            does not serve at all, so no node receives a pod subnet",
        )
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
    for invocation in
        fleet.invocations.iter().filter(|invocation| invocation.is_whole() && fleet.target.kubernetes >= 22)
    {
        let controllers = ["kube-controller-manager", "kube-scheduler"].contains(&invocation.program);
        let both = ["authentication-kubeconfig", "authorization-kubeconfig"]
            .iter()
            .all(|name| invocation.flag(name).is_some());
        if controllers && !both {
            found.at(
                &fleet.documents[invocation.document],
                invocation.word,
                format!("{} can't authenticate clients", invocation.program),
            );
        }
    }
}

fn anonymous_checks<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const REJECTED: &str =
        "the API server rejects this check with 401 because the check presents no client certificate";
    let flags: Vec<&Flag<'a>> =
        fleet.programs("kube-apiserver").filter_map(|server| server.flag("anonymous-auth")).collect();
    let by_flag = flags.iter().any(|flag| flag.value.text == "false");
    let refuses = |node: &Node<'a>| node.text("anonymous.enabled").is_some_and(|word| word.text == "false");
    if !by_flag && !fleet.of_kind("AuthenticationConfiguration").any(|(_, node)| refuses(node)) {
        return;
    }
    for block in api_backends(fleet).map(checking) {
        let Some(check) = inherited(block, &["option", "httpchk"]) else { continue };
        if !servers(block).any(|server| of_server(block, server, "crt")) {
            found.at(block.document, check.name(), REJECTED);
        }
    }
    for (document, command) in fleet
        .commands()
        .filter(|(document, command)| command.runs(&["curl"]) && document.path.contains("keepalived"))
    {
        if let Some(url) =
            command.words.iter().find(|word| word.text.contains(":6443") && !command.has('E', "--cert"))
        {
            found.at(document, *url, REJECTED);
        }
    }
    kubelets_probes(fleet, &flags, found);
}

/// Reports kubelet probes of the API server, which present no client certificate: probes in a pod manifest,
/// and the probes that kubeadm adds to every pod.
fn kubelets_probes<'a>(fleet: &Fleet<'a>, flags: &[&Flag<'a>], found: &mut Found<'a>) {
    for server in
        fleet.programs("kube-apiserver").filter(|server| server.value("anonymous-auth") == Some("false"))
    {
        let document = &fleet.documents[server.document];
        let pods = document.content.yaml().into_iter().flatten();
        for path in
            pods.flat_map(|pod| pod.find_all("livenessProbe")).filter_map(|probe| probe.text("httpGet.path"))
        {
            found.at(
                document,
                path,
                "the API server rejects this probe with 401, so the kubelet keeps restarting the API server",
            );
        }
        if let Some(flag) =
            flags.iter().find(|flag| flag.document == server.document && server.extent == Extent::Added)
        {
            found.flag(
                flag,
                fleet,
                "kubeadm's probes present no client certificate, so the kubelet keeps restarting the API \
                server",
            );
        }
    }
}

fn ipvs<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_files = fleet
        .of_kind("KubeProxyConfiguration")
        .filter_map(|(document, node)| Some((document, node.text("mode")?)));
    let of_flags = fleet.programs("kube-proxy").filter_map(|invocation| invocation.flag("proxy-mode"));
    let of_flags = of_flags.map(|flag| (&fleet.documents[flag.document], flag.value));
    for (document, word) in of_files.chain(of_flags).filter(|(_, word)| word.text == "ipvs") {
        let loaded = loads_module(fleet, document.machine, "ip_vs");
        if fleet.target.kubernetes >= 35 {
            found.at(document, word, "IPVS has been deprecated since 1.35");
        } else if !loaded {
            found.at(document, word, "nothing loads the IPVS modules");
        }
    }
    for block in fleet.keepalived("virtual_server") {
        found.at(block.document, block.statement.name(), "this uses IPVS, which Kubernetes has deprecated");
    }
}

fn kubeadm<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let minor = fleet.target.kubernetes;
    for (document, node) in fleet.manifests() {
        let Some(word) = node.text("apiVersion") else { continue };
        let Some(version) = word.text.strip_prefix("kubeadm.k8s.io/") else { continue };
        let older = OLD_KUBEADM.iter().any(|(old, minors)| *old == version && minors.covers(minor));
        if !older && !Companion::all(Component::Kubeadm, minor).any(|row| row.version == version) {
            found.at(document, word, format!("kubeadm 1.{minor} does not read `{version}`"));
        }
        for arguments in ["extraArgs", "kubeletExtraArgs"].iter().flat_map(|key| node.find_all(key)) {
            let listed = version == "v1beta4";
            let as_other =
                if listed { !arguments.entries().is_empty() } else { !arguments.items().is_empty() };
            if as_other {
                let shape = if listed { "a list of `name` and `value` pairs" } else { "a map" };
                found.at(document, arguments.word, format!("in `{version}` the arguments are {shape}"));
            }
        }
    }
    for invocation in fleet.programs("kubeadm").filter(|_| minor >= 16) {
        for flag in invocation.flags.iter().filter(|flag| flag.name.starts_with("experimental-")) {
            found.flag(
                flag,
                fleet,
                format!("use --{} instead", flag.name.trim_start_matches("experimental-")),
            );
        }
    }
}

fn no_leader<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for program in ["kube-controller-manager", "kube-scheduler"] {
        for flag in fleet
            .programs(program)
            .filter_map(|invocation| invocation.flag("leader-elect"))
            .filter(|flag| flag.value.text == "false")
        {
            found.flag(flag, fleet, format!("every {program} instance is active, not only the leader"));
        }
    }
    for (document, node) in fleet.of_kind("KubeSchedulerConfiguration") {
        if let Some(word) = node.text("leaderElection.leaderElect").filter(|word| word.text == "false") {
            found.at(document, word, "every kube-scheduler instance is active, not only the leader");
        }
    }
}

fn old_registry<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const FROZEN: &str = "k8s.gcr.io";
    let host = |word: Word<'a>| word.text.split('/').next().unwrap_or_default();
    let is_frozen = |word: Word<'a>| host(word) == FROZEN && fleet.target.kubernetes >= 25;
    let of_files = fleet.manifests().flat_map(|(document, node)| {
        node.find_all("imageRepository")
            .into_iter()
            .filter_map(Node::scalar)
            .map(move |word| (document, word))
            .collect::<Vec<_>>()
    });
    let of_flags = fleet.programs("kubeadm").filter_map(|invocation| invocation.flag("image-repository"));
    let of_flags = of_flags.map(|flag| (&fleet.documents[flag.document], flag.value));
    for (document, repository) in
        of_files.chain(of_flags).filter(|(_, repository)| !repository.text.is_empty())
    {
        if is_frozen(repository) {
            found.at(document, repository, format!("{FROZEN} contains no images for this version"));
        } else if host(repository) != FROZEN && host(repository) != "registry.k8s.io" {
            found.at(
                document,
                repository,
                format!("`{}` decides which images its tags refer to", repository.text),
            );
        }
    }
    let pause = fleet
        .settings("containerd")
        .filter(|(_, setting)| ["sandbox_image", "sandbox"].contains(&setting.key.text));
    let pause = pause.map(|(document, setting)| (document, setting.value));
    for (document, image) in images(fleet).chain(pause).filter(|(_, image)| is_frozen(*image)) {
        found.at(document, image, format!("{FROZEN} receives no new images"));
    }
}

fn old_flannel<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    if fleet.target.etcd < 4 {
        return;
    }
    let served = fleet.target.etcd < 6
        && fleet.programs("etcd").any(|etcd| etcd.value("enable-v2").is_some_and(|value| value != "false"));
    for invocation in fleet.programs("flanneld").filter(|flannel| flannel.flag("kube-subnet-mgr").is_none()) {
        if let Some(flag) = ["etcd-endpoints", "etcd-prefix"]
            .iter()
            .find_map(|name| invocation.flag(name))
            .filter(|_| !served)
        {
            found.flag(
                flag,
                fleet,
                format!("etcd 3.{} does not serve the v2 API, which flannel reads", fleet.target.etcd),
            );
        }
    }
}

/// Reports runtimes that are incompatible with the Kubernetes version, for HA219.
pub(in crate::lint) fn runtime<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let minor = fleet.target.kubernetes;
    for (document, setting) in
        fleet.settings("containerd/config.toml").filter(|(_, setting)| setting.key.text == "version")
    {
        if setting.value.text == "3" && minor <= 22 {
            found.at(
                document,
                setting.key,
                format!(
                    "containerd 2 does not support CRI v1alpha2, the only version that kubelet \
                    1.{minor} supports"
                ),
            );
        }
    }
    if minor < 24 {
        return;
    }
    const UNSUPPORTED: &str = "since 1.24 the kubelet needs cri-dockerd to use Docker";
    for block in fleet.units("Unit").filter(|block| block.document.unit() == Some("kubelet")) {
        let names = block.statement.body.iter().find(|statement| {
            ["After", "Wants", "Requires"].contains(&statement.name().text) && statement.has("docker.service")
        });
        let shim = fleet.on(block.document.machine).has(&["cri-docker"]);
        if let Some(statement) = names.filter(|_| !shim) {
            found.at(block.document, statement.name(), UNSUPPORTED);
        }
    }
    for flag in fleet
        .programs("kubelet")
        .filter_map(|kubelet| kubelet.flag("container-runtime"))
        .filter(|flag| flag.value.text == "docker")
    {
        found.flag(flag, fleet, UNSUPPORTED);
    }
    for (document, socket) in fleet
        .manifests()
        .filter_map(|(document, node)| Some((document, node.text("nodeRegistration.criSocket")?)))
    {
        if socket.text.ends_with("/dockershim.sock") {
            found.at(document, socket, UNSUPPORTED);
        }
    }
}
