//! The overlays of each role: the profile's and the balancer's, with the cluster file's changes.

use std::collections::BTreeMap;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Endpoint, KUBELET, Network, Node};
use crate::profile::closest;
use crate::words::{EtcdVersion, ProxyMode, Role, Run, Runtime};

/// The overlay whose control plane kubeadm makes.
const KUBEADM: &str = "kubeadm";

/// The overlay of etcd's members, which a role of its own takes away from the control plane.
const ETCD: &str = "etcd";

/// What a control plane has instead.
const ETCD_PROXY: &str = "etcd-proxy";

pub(super) fn resolve(
    draft: &mut Draft<'_>,
    nodes: &[Node],
    endpoint: Option<&Endpoint>,
    network: Option<&Network>,
    runtime: Option<Runtime>,
) -> BTreeMap<Role, Vec<String>> {
    let has = |role| nodes.iter().any(|node| node.roles.contains(&role));
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let mut overlays = profile_overlays(draft, role);
        if role == Role::ControlPlane && has(Role::Etcd) {
            let had = overlays.len();
            overlays.retain(|overlay| overlay != ETCD);
            if overlays.len() < had {
                overlays.push(ETCD_PROXY.to_owned());
            }
        }
        if let Some(Endpoint { balancer, run, .. }) = endpoint
            && balancer.place.roles(has(Role::Lb)).contains(&role)
        {
            add(&mut overlays, balancer.overlays(*run));
        }
        remove(draft, role, &mut overlays);
        let added = &draft.profile.document.overlays.of(role).add;
        let has_kubelet = overlays.iter().chain(added).any(|name| name == KUBELET);
        if let Some(runtime) = runtime.filter(|_| has_kubelet) {
            add(&mut overlays, runtime.kind().overlays);
        }
        if let Some(network) = network {
            add_for_network(&mut overlays, role, has_kubelet, network);
        }
        if overlays.iter().chain(&draft.profile.document.overlays.of(role).add).any(|name| name == ETCD) {
            add(&mut overlays, etcd_programs(draft.profile.document.etcd.version));
        }
        append(draft, role, &mut overlays);
        if endpoint.is_some_and(|endpoint| endpoint.run == Run::StaticPod && endpoint.balancer.place.roles(has(Role::Lb)).contains(&role)) {
            check_kubelet(draft, role, &overlays);
        }
        all.insert(role, overlays);
    }
    check_dns_image(draft, &all);
    all
}

/// What brings etcd's programs. Packages have `etcdutl` where there is one; archives have it from 3.5 on.
fn etcd_programs(own: Option<EtcdVersion>) -> &'static [&'static str] {
    match own {
        None => &["etcd-packages"],
        Some(version) if version.minor < 5 => &["etcd-release"],
        Some(_) => &["etcd-release", "etcd-restorer"],
    }
}

/// kubeadm puts the name of CoreDNS's image together by itself.
fn check_dns_image(draft: &mut Draft<'_>, overlays: &BTreeMap<Role, Vec<String>>) {
    let by_kubeadm = overlays[&Role::ControlPlane].iter().any(|name| name == KUBEADM);
    let image = draft.profile.document.cluster.images.coredns.as_ref().filter(|image| by_kubeadm && !image.contains("/coredns:"));
    if let Some(image) = image {
        let message = format!("kubeadm can't use `{image}`: it asks for an image whose name ends in `/coredns`");
        draft.wrong("cluster.images.coredns", message, "write it like `\"registry.example.org/kubernetes/coredns:v1.13.1\"`");
    }
}

/// Static pods run where a kubelet is.
fn check_kubelet(draft: &mut Draft<'_>, role: Role, overlays: &[String]) {
    let removed = draft.profile.document.overlays.of(role).remove.iter().position(|name| name == KUBELET);
    if let Some(index) = removed.filter(|_| !overlays.iter().any(|name| name == KUBELET)) {
        let message = format!("the balancer of the role `{}` is a static pod, which the kubelet starts", role.name());
        draft.wrong(
            &format!("overlays.{}.remove[{index}]", role.name()),
            message,
            "keep it, or choose `run = \"service\"` in `[endpoint]`",
        );
    }
}

/// What the settings of the network need, before what the user adds.
fn add_for_network(overlays: &mut Vec<String>, role: Role, has_kubelet: bool, network: &Network) {
    add(overlays, network.plugin.overlays(role, has_kubelet));
    if has_kubelet {
        add(overlays, network.proxy_mode.map_or(&[], ProxyMode::overlays));
    }
}

/// Adds those that are not there.
fn add(overlays: &mut Vec<String>, names: &[&str]) {
    for name in names {
        if !overlays.iter().any(|there| there == name) {
            overlays.push((*name).to_owned());
        }
    }
}

fn profile_overlays(draft: &Draft<'_>, role: Role) -> Vec<String> {
    draft.profile.definition.as_ref().and_then(|definition| definition.overlays.get(&role)).cloned().unwrap_or_default()
}

/// The user's removals.
fn remove(draft: &mut Draft<'_>, role: Role, overlays: &mut Vec<String>) {
    let change = draft.profile.document.overlays.of(role);
    for (index, name) in change.remove.iter().enumerate() {
        let path = format!("overlays.{}.remove[{index}]", role.name());
        if !overlays.contains(name) {
            let hint = match closest(name, overlays.iter().map(String::as_str)) {
                Some(other) => format!("did you mean `{other}`?"),
                None => format!("the role has: {}; what these need, and what `[network]` brings, comes with them", overlays.join(", ")),
            };
            draft.wrong(&path, format!("the role `{}` has no overlay `{name}` to remove", role.name()), hint);
        }
        overlays.retain(|overlay| overlay != name);
    }
}

/// The user's additions.
fn append(draft: &mut Draft<'_>, role: Role, overlays: &mut Vec<String>) {
    let change = draft.profile.document.overlays.of(role);
    for (index, name) in change.add.iter().enumerate() {
        let path = format!("overlays.{}.add[{index}]", role.name());
        if let Some(runtime) = Runtime::with_overlay(name) {
            let message = format!("the overlay `{name}` is a runtime, which the kubelet must be told of");
            draft.wrong(&path, message, format!("leave it out, and write `runtime = \"{}\"` in `[cluster]`", runtime.name));
        } else if overlays.contains(name) {
            draft.wrong(&path, format!("the role `{}` has the overlay `{name}` already", role.name()), "leave it out");
        } else {
            overlays.push(name.clone());
        }
    }
}
