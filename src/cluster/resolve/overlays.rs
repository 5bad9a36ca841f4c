//! Resolution of each role's overlays: the overlays of the profile and the balancer, with the cluster file's
//! changes.

use std::collections::BTreeMap;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Endpoint, KUBELET, Network, Node};
use crate::profile::closest;
use crate::words::{EtcdVersion, ProxyMode, Role, Run, Runtime};

/// Overlay for a control plane that kubeadm creates.
const KUBEADM: &str = "kubeadm";

/// Overlay for etcd members; control-plane nodes do not have it if any node has the role `etcd`.
const ETCD: &str = "etcd";

/// Overlay for control-plane nodes without etcd.
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
        if endpoint.is_some_and(|endpoint| {
            endpoint.run == Run::StaticPod && endpoint.balancer.place.roles(has(Role::Lb)).contains(&role)
        }) {
            check_kubelet(draft, role, &overlays);
        }
        all.insert(role, overlays);
    }
    check_dns_image(draft, &all);
    all
}

/// Returns the overlays that contain etcd's programs. Debian packages contain `etcdutl` where it exists;
/// release archives have contained it since 3.5.
fn etcd_programs(own: Option<EtcdVersion>) -> &'static [&'static str] {
    match own {
        None => &["etcd-packages"],
        Some(version) if version.minor < 5 => &["etcd-release"],
        Some(_) => &["etcd-release", "etcd-restorer"],
    }
}

/// Checks the CoreDNS image for kubeadm, which composes the name itself.
fn check_dns_image(draft: &mut Draft<'_>, overlays: &BTreeMap<Role, Vec<String>>) {
    let by_kubeadm = overlays[&Role::ControlPlane].iter().any(|name| name == KUBEADM);
    let image = draft
        .profile
        .document
        .cluster
        .images
        .coredns
        .as_ref()
        .filter(|image| by_kubeadm && !image.contains("/coredns:"));
    if let Some(image) = image {
        let message =
            format!("kubeadm can't use `{image}`: it requires an image name that ends in `/coredns`");
        draft.wrong(
            "cluster.images.coredns",
            message,
            "use a reference such as `\"registry.example.org/kubernetes/coredns:v1.13.1\"`",
        );
    }
}

/// Checks that the kubelet, which static pods need, was not removed.
fn check_kubelet(draft: &mut Draft<'_>, role: Role, overlays: &[String]) {
    let removed = draft.profile.document.overlays.of(role).remove.iter().position(|name| name == KUBELET);
    if let Some(index) = removed.filter(|_| !overlays.iter().any(|name| name == KUBELET)) {
        let message =
            format!("on `{}` nodes, the balancer is a static pod, which needs the kubelet", role.name());
        draft.wrong(
            &format!("overlays.{}.remove[{index}]", role.name()),
            message,
            "keep `kubelet`, or set `run = \"service\"` in `[endpoint]`",
        );
    }
}

/// Adds the overlays that the network settings require, before those that the user adds.
fn add_for_network(overlays: &mut Vec<String>, role: Role, has_kubelet: bool, network: &Network) {
    add(overlays, network.plugin.overlays(role, has_kubelet));
    if has_kubelet {
        add(overlays, network.proxy_mode.map_or(&[], ProxyMode::overlays));
    }
}

/// Adds the overlays that are missing.
fn add(overlays: &mut Vec<String>, names: &[&str]) {
    for name in names {
        if !overlays.iter().any(|there| there == name) {
            overlays.push((*name).to_owned());
        }
    }
}

fn profile_overlays(draft: &Draft<'_>, role: Role) -> Vec<String> {
    draft
        .profile
        .definition
        .as_ref()
        .and_then(|definition| definition.overlays.get(&role))
        .cloned()
        .unwrap_or_default()
}

/// Applies the user's removals.
fn remove(draft: &mut Draft<'_>, role: Role, overlays: &mut Vec<String>) {
    let change = draft.profile.document.overlays.of(role);
    for (index, name) in change.remove.iter().enumerate() {
        let path = format!("overlays.{}.remove[{index}]", role.name());
        if !overlays.contains(name) {
            let hint = match closest(name, overlays.iter().map(String::as_str)) {
                Some(other) => format!("did you mean `{other}`?"),
                None => format!(
                    "the role's overlays: {}; overlays that these or `[network]` require are added \
                    automatically",
                    overlays.join(", ")
                ),
            };
            draft.wrong(&path, format!("the role `{}` has no overlay `{name}` to remove", role.name()), hint);
        }
        overlays.retain(|overlay| overlay != name);
    }
}

/// Applies the user's additions.
fn append(draft: &mut Draft<'_>, role: Role, overlays: &mut Vec<String>) {
    let change = draft.profile.document.overlays.of(role);
    for (index, name) in change.add.iter().enumerate() {
        let path = format!("overlays.{}.add[{index}]", role.name());
        if let Some(runtime) = Runtime::with_overlay(name) {
            let message = format!(
                "the overlay `{name}` is a container runtime, which the kubelet must be configured to use"
            );
            draft.wrong(
                &path,
                message,
                format!("remove the overlay, and set `runtime = \"{}\"` in `[cluster]`", runtime.name),
            );
        } else if overlays.contains(name) {
            draft.wrong(
                &path,
                format!("the role `{}` already has the overlay `{name}`", role.name()),
                "remove it from `add`",
            );
        } else {
            overlays.push(name.clone());
        }
    }
}
