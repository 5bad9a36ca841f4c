//! Certificates in files: what they are for, whom they name, how long they last.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Content, Document, Fleet, Invocation, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::host;
use crate::pki::Certificate;

/// What is left of a certificate should outlast the time until somebody looks again.
const SHELF_LIFE: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;
const DAY: u64 = 24 * 3600;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA104", "a certificate of etcd lacks one of its two uses")
        .why("members are servers and clients of each other, and of themselves: without both uses the others refuse them, and there is no quorum")
        .fix("issue it for serverAuth and clientAuth")
        .files(etcd_uses),
    Lint::error("HA105", "a certificate of etcd lacks an address that peers see")
        .why("etcd compares the address that a peer comes from with the names of its certificate: a member whose address is missing is refused by all others")
        .fix("list every address of the machine, and the VIP where the machine may hold it")
        .files(peer_addresses),
    Lint::warning("HA108", "a certificate expires soon")
        .why("an image lies on a shelf before it boots; when its certificates have expired nothing in it speaks to anything, and an authority that expires takes all certificates with it")
        .fix("issue it anew: leaves for a year, authorities for ten")
        .files(expiring),
    Lint::error("HA109", "a kubelet's certificate does not say which node it is")
        .why("the API server reads the node's name from `CN=system:node:NAME` and the group from `O=system:nodes`: with anything else, or with capital letters, the kubelet may not even register")
        .fix("issue it for `system:node:` and the node's name in lower case, with `O=system:nodes`")
        .files(kubelet_identity),
    Lint::warning("HA110", "a machine holds a credential that no rule can take rights from")
        .why("`system:masters` passes by RBAC, and a certificate cannot be taken back: whoever gets the file is master of the cluster until the authority is replaced")
        .fix("use `O=kubeadm:cluster-admins` and a binding, and keep the other one offline")
        .files(masters_on_machines),
    Lint::error("HA112", "a serving certificate has no names")
        .why("since 1.19 nobody reads the common name of a server any more: every client refuses it")
        .fix("list the names and addresses as subject alternative names")
        .files(nameless),
    Lint::error("HA119", "kubelets do not let the API server in")
        .why("its certificate is in no group that may do everything, and no binding gives it `system:kubelet-api-admin`: logs, exec and metrics answer 403")
        .fix("bind the certificate's user to the ClusterRole `system:kubelet-api-admin`")
        .files(unbound_client),
];

/// A certificate and the place where it stands.
struct Placed<'f, 'a> {
    document: &'f Document<'a>,
    word: Word<'a>,
    certificate: Certificate,
}

/// The first certificate of every file, and those in kubeconfigs.
fn all<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Placed<'f, 'a>> {
    fleet.documents.iter().filter_map(of_document).chain(within_kubeconfigs(fleet)).collect()
}

fn of_document<'f, 'a>(document: &'f Document<'a>) -> Option<Placed<'f, 'a>> {
    let text = Some(document.text.text).filter(|_| matches!(document.content, Content::Other))?;
    Some(Placed { document, word: document.text.part(0..0), certificate: Certificate::parse(text).ok()? })
}

/// The certificates with which kubeconfigs speak: those within them, and those in files that they name.
fn of_kubeconfigs<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Placed<'f, 'a>> {
    let mut found = within_kubeconfigs(fleet);
    for (document, node) in fleet.manifests() {
        for word in node.find_all("client-certificate").into_iter().filter_map(Node::scalar) {
            let file = at(fleet, document.machine, word.text);
            found.extend(file.map(|file| Placed { document, word, certificate: file.certificate }));
        }
    }
    found
}

fn within_kubeconfigs<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Placed<'f, 'a>> {
    let mut found = Vec::new();
    for (document, node) in fleet.manifests() {
        for word in node.find_all("client-certificate-data").into_iter().filter_map(Node::scalar) {
            let decoded = STANDARD.decode(word.text).unwrap_or_default();
            if let Ok(certificate) = Certificate::parse(&String::from_utf8_lossy(&decoded)) {
                found.push(Placed { document, word, certificate });
            }
        }
    }
    found
}

/// The certificate that a flag of a program names, on the same machine.
fn of_flag<'f, 'a>(fleet: &'f Fleet<'a>, invocation: &Invocation<'a>, flag: &str) -> Option<Placed<'f, 'a>> {
    at(fleet, invocation.machine, invocation.value(flag)?)
}

fn at<'f, 'a>(fleet: &'f Fleet<'a>, machine: &str, path: &str) -> Option<Placed<'f, 'a>> {
    let mut documents = fleet.documents.iter().filter(|document| document.machine == machine && document.path == path);
    documents.find_map(of_document)
}

/// Names of the certificate that every API server serves with, with its place.
pub(super) fn of_api_servers<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<(&'f Document<'a>, Word<'a>, BTreeSet<Cow<'a, str>>)> {
    let served = fleet.programs("kube-apiserver").filter_map(|server| of_flag(fleet, server, "tls-cert-file"));
    let names = |placed: Placed<'f, 'a>| {
        let names = placed.certificate.names.into_iter().chain(placed.certificate.addresses.iter().map(ToString::to_string));
        (placed.document, placed.word, names.map(Cow::Owned).collect())
    };
    served.map(names).collect()
}

fn etcd_uses<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for member in fleet.programs("etcd") {
        for placed in ["peer-cert-file", "cert-file"].iter().filter_map(|flag| of_flag(fleet, member, flag)) {
            for (is, name) in [(placed.certificate.client, "clientAuth"), (placed.certificate.server, "serverAuth")] {
                if !is {
                    found.at(placed.document, placed.word, format!("the certificate of `{}` is not for {name}", member.machine));
                }
            }
        }
    }
}

fn peer_addresses<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for member in fleet.programs("etcd") {
        let urls = member.value("initial-advertise-peer-urls").or(member.value("listen-peer-urls")).unwrap_or_default();
        let Some(placed) = of_flag(fleet, member, "peer-cert-file") else { continue };
        for address in urls.split(',').filter_map(|url| host(url.rsplit('/').next()?)) {
            if !address.is_unspecified() && !placed.certificate.addresses.contains(&address) {
                found.at(placed.document, placed.word, format!("the certificate does not name `{address}`, from where this member speaks"));
            }
        }
    }
}

fn expiring<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in all(fleet) {
        let left = placed.certificate.not_after.saturating_sub(fleet.target.now);
        let authority = placed.certificate.is_authority();
        if left < if authority { YEAR } else { SHELF_LIFE } {
            let what = if authority { "the authority" } else { "the certificate" };
            found.at(placed.document, placed.word, format!("{what} `{}` expires in {} days", placed.certificate.common_name, left / DAY));
        }
    }
}

fn kubelet_identity<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in of_kubeconfigs(fleet).into_iter().filter(|placed| placed.document.path.contains("kubelet")) {
        let certificate = &placed.certificate;
        let node = certificate.common_name.strip_prefix("system:node:").unwrap_or_default();
        let kubelet = fleet.programs("kubelet").find(|kubelet| kubelet.machine == placed.document.machine);
        let meant = kubelet.and_then(|kubelet| kubelet.value("hostname-override")).unwrap_or(node);
        let named = !node.is_empty() && node == meant && node == node.to_lowercase();
        if !named || certificate.organization.as_deref() != Some("system:nodes") {
            found.at(placed.document, placed.word, format!("`{}` is not the kubelet `{meant}`", certificate.subject()));
        }
    }
}

fn masters_on_machines<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in of_kubeconfigs(fleet).into_iter().filter(|_| fleet.target.kubernetes >= 29) {
        if placed.certificate.organization.as_deref() == Some("system:masters") {
            found.at(placed.document, placed.word, format!("`{}` passes by every rule", placed.certificate.subject()));
        }
    }
}

fn nameless<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in all(fleet).into_iter().filter(|placed| placed.certificate.server && fleet.target.kubernetes >= 19) {
        if placed.certificate.names.is_empty() && placed.certificate.addresses.is_empty() {
            found.at(placed.document, placed.word, format!("`{}` names no server", placed.certificate.common_name));
        }
    }
}

fn unbound_client<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for server in fleet.programs("kube-apiserver") {
        let Some(placed) = of_flag(fleet, server, "kubelet-client-certificate") else { continue };
        let certificate = &placed.certificate;
        let group = certificate.organization.as_deref().unwrap_or_default();
        let is_subject = |name: Word<'_>| name.text == certificate.common_name || name.text == group;
        let bound = fleet.of_kind("ClusterRoleBinding").any(|(_, binding)| {
            binding
                .get("subjects")
                .is_some_and(|subjects| subjects.items().iter().filter_map(|subject| subject.text("name")).any(is_subject))
        });
        // kubeadm since 1.29 has the second group, and binds it itself.
        if !["system:masters", "kubeadm:cluster-admins"].contains(&group) && !bound {
            found.at(placed.document, placed.word, format!("nothing binds `{}`", certificate.subject()));
        }
    }
}
