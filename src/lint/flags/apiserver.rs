//! What an API server is started with, and what it is missing.

use std::collections::BTreeSet;

use crate::config::{Extent, Fleet, Invocation};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::masters;

/// API groups that a version no longer serves (<https://kubernetes.io/docs/reference/using-api/deprecation-guide/>).
const GROUPS: [(&str, u32); 23] = [
    ("rbac.authorization.k8s.io/v1alpha1", 22),
    ("rbac.authorization.k8s.io/v1beta1", 22),
    ("apps/v1beta1", 16),
    ("apps/v1beta2", 16),
    ("extensions/v1beta1", 22),
    ("batch/v2alpha1", 21),
    ("settings.k8s.io/v1alpha1", 20),
    ("certificates.k8s.io/v1beta1", 22),
    ("admissionregistration.k8s.io/v1beta1", 22),
    ("apiextensions.k8s.io/v1beta1", 22),
    ("networking.k8s.io/v1beta1", 22),
    ("coordination.k8s.io/v1beta1", 22),
    ("scheduling.k8s.io/v1beta1", 22),
    ("policy/v1beta1", 25),
    ("batch/v1beta1", 25),
    ("discovery.k8s.io/v1beta1", 25),
    ("events.k8s.io/v1beta1", 25),
    ("node.k8s.io/v1beta1", 25),
    ("autoscaling/v2beta1", 25),
    ("autoscaling/v2beta2", 26),
    ("flowcontrol.apiserver.k8s.io/v1beta1", 26),
    ("flowcontrol.apiserver.k8s.io/v1beta2", 29),
    ("flowcontrol.apiserver.k8s.io/v1beta3", 32),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA204", "the API server has no service-account issuer or signing key")
        .why("since 1.20 it refuses to start without them")
        .fix("add `--service-account-issuer`, `--service-account-signing-key-file` and `--service-account-key-file`")
        .files(no_issuer),
    Lint::warning("HA205", "the API server advertises no address of its own")
        .why("with 0.0.0.0 it takes that of the interface of the default route, which on a machine with several, or with a VIP, may be one that nobody reaches")
        .fix("write the node's address")
        .files(unspecified_address),
    Lint::error("HA206", "the API servers are counted wrongly")
        .why("up to 1.10 the list of API servers is as long as `--apiserver-count` says: with a larger number a dead one stays on it, and every second connection of a pod fails")
        .fix("remove the flag and use `--endpoint-reconciler-type=lease`; before 1.9 write the exact number")
        .files(wrong_count),
    Lint::error("HA207", "nodes may change each other")
        .why("without the Node authorizer and the NodeRestriction plugin any kubelet may read every secret and relabel or evict every node: one broken node is a broken cluster")
        .fix("use `--authorization-mode=Node,RBAC` and `--enable-admission-plugins=NodeRestriction`")
        .files(nodes_unconfined),
    Lint::error("HA208", "the API server and the kubelets do not know each other")
        .why("without a client certificate kubelets refuse logs and exec, or must let anybody in; without their authority the API server talks to whoever answers at the address")
        .fix("add `--kubelet-client-certificate`, `--kubelet-client-key` and `--kubelet-certificate-authority`")
        .files(kubelets_unknown),
    Lint::warning("HA209", "the audit log stays empty")
        .why("since 1.8 nothing is written without a policy, whatever `--audit-log-path` says")
        .fix("add `--audit-policy-file`")
        .files(no_audit_policy),
    Lint::warning("HA210", "the aggregation layer has no certificates")
        .why("metrics-server and every other extension API server are called through it: `kubectl top` and autoscaling do not work")
        .fix("add the `--requestheader-…` flags, `--proxy-client-cert-file` and `--proxy-client-key-file`")
        .files(no_aggregation),
    Lint::warning("HA211", "an API group is asked for that is no longer served")
        .why("the flag does nothing, and objects of that version are refused; since 1.22 many beta versions are gone")
        .fix("remove it, and use the stable version of the group")
        .files(old_group),
];

/// API servers whose every flag is known.
fn whole<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = &'f Invocation<'a>> {
    fleet.programs("kube-apiserver").filter(|invocation| invocation.is_whole())
}

/// Tells an API server that lacks one of the flags.
fn missing<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, flags: &[&str]) {
    for invocation in whole(fleet) {
        let absent: Vec<String> = flags.iter().filter(|name| invocation.flag(name).is_none()).map(|name| format!("--{name}")).collect();
        if !absent.is_empty() {
            found.at(
                &fleet.documents[invocation.document],
                invocation.word,
                format!("the API server is started without {}", absent.join(", ")),
            );
        }
    }
}

fn no_issuer<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    if fleet.target.kubernetes >= 20 {
        missing(fleet, found, &["service-account-issuer", "service-account-signing-key-file", "service-account-key-file"]);
    }
}

fn unspecified_address<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let advertised = fleet.programs("kube-apiserver").filter_map(|invocation| invocation.flag("advertise-address"));
    let of_kubeadm = fleet.programs("kubeadm").filter_map(|invocation| invocation.flag("apiserver-advertise-address"));
    let of_flags = advertised.chain(of_kubeadm).map(|flag| (&fleet.documents[flag.document], flag.value));
    let of_files = fleet.manifests().flat_map(|(document, node)| {
        let keys = ["localAPIEndpoint.advertiseAddress", "controlPlane.localAPIEndpoint.advertiseAddress"];
        keys.into_iter().filter_map(|key| Some((document, node.text(key)?))).collect::<Vec<_>>()
    });
    for (document, word) in of_flags.chain(of_files).filter(|(_, word)| ["0.0.0.0", "::"].contains(&word.text)) {
        found.at(document, word, format!("`{}` is no address that others can dial", word.text));
    }
}

fn wrong_count<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // Not every machine need be here: balancers know of others.
    let here: BTreeSet<&str> = fleet.programs("kube-apiserver").map(|invocation| invocation.machine).collect();
    let masters = here.len().max(masters(fleet).len());
    for invocation in fleet.programs("kube-apiserver") {
        let counts = match invocation.value("endpoint-reconciler-type") {
            Some(kind) => kind == "master-count",
            None => fleet.target.kubernetes <= 10,
        };
        if let Some(flag) = invocation.flag("apiserver-count").filter(|flag| counts && flag.value.text != masters.to_string()) {
            found.flag(
                flag,
                fleet,
                format!("--apiserver-count={}, and there are {masters}: a dead one stays on the list", flag.value.text),
            );
        }
    }
}

fn nodes_unconfined<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const PLUGINS: [&str; 2] = ["enable-admission-plugins", "admission-control"];
    for invocation in fleet.programs("kube-apiserver").filter(|_| fleet.target.kubernetes >= 7) {
        let document = &fleet.documents[invocation.document];
        // What is given replaces every default, that of kubeadm too.
        let mut off = |flags: &[&str], wanted: &str, message: &str| {
            let given = flags.iter().find_map(|name| invocation.flag(name));
            let on = flags.iter().any(|name| invocation.list(name).contains(&wanted));
            if !on && (given.is_some() || invocation.is_whole()) {
                found.at(document, given.map_or(invocation.word, |flag| flag.word), message);
            }
        };
        if invocation.flag("authorization-config").is_none() {
            off(&["authorization-mode"], "Node", "the Node authorizer is off");
        }
        off(&PLUGINS, "NodeRestriction", "the plugin NodeRestriction is off");
    }
}

fn kubelets_unknown<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    missing(fleet, found, &["kubelet-client-certificate", "kubelet-client-key", "kubelet-certificate-authority"]);
}

fn no_audit_policy<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // kubeadm has no policy of its own.
    let known = |invocation: &&Invocation<'a>| invocation.extent != Extent::Part && invocation.flag("audit-policy-file").is_none();
    for invocation in fleet.programs("kube-apiserver").filter(known).filter(|_| fleet.target.kubernetes >= 8) {
        for flag in ["audit-log-path", "audit-webhook-config-file"].iter().filter_map(|name| invocation.flag(name)) {
            found.flag(flag, fleet, "nothing is written to the audit log without a policy");
        }
    }
}

fn no_aggregation<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // The aggregation layer came with 1.7.
    if fleet.target.kubernetes >= 7 {
        missing(fleet, found, &["requestheader-client-ca-file", "proxy-client-cert-file", "proxy-client-key-file"]);
    }
}

fn old_group<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for flag in fleet.programs("kube-apiserver").filter_map(|invocation| invocation.flag("runtime-config")) {
        let asked = flag.value.text.split(',').filter(|entry| !entry.ends_with("=false"));
        let asked: Vec<&str> = asked.map(|entry| entry.split('=').next().unwrap_or_default()).collect();
        for (group, gone) in GROUPS {
            // The alpha of what is stable since 1.8 is never what somebody needs.
            let pointless = group.ends_with("/v1alpha1") && group.starts_with("rbac");
            let named = |entry: &&str| entry.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if asked.iter().any(named) && (pointless || fleet.target.kubernetes >= gone) {
                found.flag(flag, fleet, format!("`{group}` is not served by 1.{gone} and newer"));
            }
        }
    }
}
