//! API server flags that are wrong or missing.

use std::collections::BTreeSet;

use crate::config::{Extent, Fleet, Invocation};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::masters;

/// API versions, and the Kubernetes minor version that stopped serving each
/// (<https://kubernetes.io/docs/reference/using-api/deprecation-guide/>).
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
        .why("since 1.20 the API server does not start without them")
        .fix(
            "add `--service-account-issuer`, `--service-account-signing-key-file` and \
            `--service-account-key-file`",
        )
        .files(no_issuer),
    Lint::warning("HA205", "the API server does not advertise an address of its own")
        .why(
            "with 0.0.0.0 the API server advertises the address of the default route's interface, which may \
            be unreachable on a machine with several interfaces or with a VIP",
        )
        .fix("advertise the node's address")
        .files(unspecified_address),
    Lint::error("HA206", "`--apiserver-count` does not match the number of API servers")
        .why(
            "up to 1.10 the list of API servers has `--apiserver-count` entries: if the number is too high, \
            a failed API server stays on the list, and every second connection from a pod fails",
        )
        .fix("remove the flag and use `--endpoint-reconciler-type=lease`; before 1.9, set the exact number")
        .files(wrong_count),
    Lint::error("HA207", "nodes can modify each other")
        .why(
            "without the Node authorizer and the NodeRestriction plugin any kubelet can read every secret \
            and relabel or drain every node: one compromised node compromises the cluster",
        )
        .fix("use `--authorization-mode=Node,RBAC` and `--enable-admission-plugins=NodeRestriction`")
        .files(nodes_unconfined),
    Lint::error("HA208", "the API server and the kubelets do not authenticate each other")
        .why(
            "without a client certificate, kubelets reject log and exec requests or must allow anonymous \
            access; without the kubelets' CA, the API server trusts whatever responds at a kubelet's address",
        )
        .fix(
            "add `--kubelet-client-certificate`, `--kubelet-client-key` and \
            `--kubelet-certificate-authority`",
        )
        .files(kubelets_unknown),
    Lint::warning("HA209", "the audit log stays empty")
        .why("since 1.8 nothing is logged without an audit policy, regardless of `--audit-log-path`")
        .fix("add `--audit-policy-file`")
        .files(no_audit_policy),
    Lint::warning("HA210", "the aggregation layer has no certificates")
        .why(
            "metrics-server and all other extension API servers are called through the aggregation layer: \
            without certificates, `kubectl top` and autoscaling do not work",
        )
        .fix("add the `--requestheader-…` flags, `--proxy-client-cert-file` and `--proxy-client-key-file`")
        .files(no_aggregation),
    Lint::warning("HA211", "`--runtime-config` enables an API version that is no longer served")
        .why(
            "the flag has no effect, and objects of that version are rejected; 1.22 removed many beta \
            versions",
        )
        .fix("remove the entry, and use the stable version of the API")
        .files(old_group),
];

/// Returns the API servers whose flags are all known.
fn whole<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = &'f Invocation<'a>> {
    fleet.programs("kube-apiserver").filter(|invocation| invocation.is_whole())
}

/// Reports API servers that lack any of the flags.
fn missing<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, flags: &[&str]) {
    for invocation in whole(fleet) {
        let absent: Vec<String> = flags
            .iter()
            .filter(|name| invocation.flag(name).is_none())
            .map(|name| format!("--{name}"))
            .collect();
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
        missing(
            fleet,
            found,
            &["service-account-issuer", "service-account-signing-key-file", "service-account-key-file"],
        );
    }
}

fn unspecified_address<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let advertised =
        fleet.programs("kube-apiserver").filter_map(|invocation| invocation.flag("advertise-address"));
    let of_kubeadm =
        fleet.programs("kubeadm").filter_map(|invocation| invocation.flag("apiserver-advertise-address"));
    let of_flags = advertised.chain(of_kubeadm).map(|flag| (&fleet.documents[flag.document], flag.value));
    let of_files = fleet.manifests().flat_map(|(document, node)| {
        let keys = ["localAPIEndpoint.advertiseAddress", "controlPlane.localAPIEndpoint.advertiseAddress"];
        keys.into_iter().filter_map(|key| Some((document, node.text(key)?))).collect::<Vec<_>>()
    });
    for (document, word) in
        of_flags.chain(of_files).filter(|(_, word)| ["0.0.0.0", "::"].contains(&word.text))
    {
        found.at(document, word, format!("`{}` is not an address that clients can connect to", word.text));
    }
}

fn wrong_count<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // The files may not cover every machine: balancers list others too.
    let here: BTreeSet<&str> =
        fleet.programs("kube-apiserver").map(|invocation| invocation.machine).collect();
    let masters = here.len().max(masters(fleet).len());
    for invocation in fleet.programs("kube-apiserver") {
        let counts = match invocation.value("endpoint-reconciler-type") {
            Some(kind) => kind == "master-count",
            None => fleet.target.kubernetes <= 10,
        };
        if let Some(flag) =
            invocation.flag("apiserver-count").filter(|flag| counts && flag.value.text != masters.to_string())
        {
            found.flag(
                flag,
                fleet,
                format!(
                    "--apiserver-count={}, but the number of API servers is {masters}: a failed server stays \
                    on the list",
                    flag.value.text
                ),
            );
        }
    }
}

fn nodes_unconfined<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const PLUGINS: [&str; 2] = ["enable-admission-plugins", "admission-control"];
    for invocation in fleet.programs("kube-apiserver").filter(|_| fleet.target.kubernetes >= 7) {
        let document = &fleet.documents[invocation.document];
        // An explicit value replaces every default, including the defaults that kubeadm sets.
        let mut off = |flags: &[&str], wanted: &str, message: &str| {
            let given = flags.iter().find_map(|name| invocation.flag(name));
            let on = flags.iter().any(|name| invocation.list(name).contains(&wanted));
            if !on && (given.is_some() || invocation.is_whole()) {
                found.at(document, given.map_or(invocation.word, |flag| flag.word), message);
            }
        };
        if invocation.flag("authorization-config").is_none() {
            off(&["authorization-mode"], "Node", "the Node authorizer is not enabled");
        }
        off(&PLUGINS, "NodeRestriction", "the NodeRestriction plugin is not enabled");
    }
}

fn kubelets_unknown<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    missing(
        fleet,
        found,
        &["kubelet-client-certificate", "kubelet-client-key", "kubelet-certificate-authority"],
    );
}

fn no_audit_policy<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // kubeadm sets no audit policy of its own.
    let known = |invocation: &&Invocation<'a>| {
        invocation.extent != Extent::Part && invocation.flag("audit-policy-file").is_none()
    };
    for invocation in fleet.programs("kube-apiserver").filter(known).filter(|_| fleet.target.kubernetes >= 8)
    {
        for flag in
            ["audit-log-path", "audit-webhook-config-file"].iter().filter_map(|name| invocation.flag(name))
        {
            found.flag(flag, fleet, "nothing is written to the audit log without an audit policy");
        }
    }
}

fn no_aggregation<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // The aggregation layer was introduced in 1.7.
    if fleet.target.kubernetes >= 7 {
        missing(
            fleet,
            found,
            &["requestheader-client-ca-file", "proxy-client-cert-file", "proxy-client-key-file"],
        );
    }
}

fn old_group<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for flag in fleet.programs("kube-apiserver").filter_map(|invocation| invocation.flag("runtime-config")) {
        let asked = flag.value.text.split(',').filter(|entry| !entry.ends_with("=false"));
        let asked: Vec<&str> = asked.map(|entry| entry.split('=').next().unwrap_or_default()).collect();
        for (group, gone) in GROUPS {
            // The alpha version of a group that has been stable since 1.8 is never needed.
            let pointless = group.ends_with("/v1alpha1") && group.starts_with("rbac");
            let named = |entry: &&str| {
                entry.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if asked.iter().any(named) && (pointless || fleet.target.kubernetes >= gone) {
                found.flag(flag, fleet, format!("`{group}` is not served in 1.{gone} and later"));
            }
        }
    }
}
