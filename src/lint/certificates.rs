//! Lints for certificates in files: usages, names, lifetimes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Content, Document, Fleet, Invocation, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::host;
use crate::pki::Certificate;

/// Minimum remaining validity of a certificate: the time until the next review.
const SHELF_LIFE: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;
const DAY: u64 = 24 * 3600;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA104", "an etcd certificate lacks the serverAuth or clientAuth usage")
        .why(
            "etcd members are both servers and clients, to each other and to themselves: without both usages \
            the other members reject the certificate, and etcd has no quorum",
        )
        .fix("issue the certificate for both serverAuth and clientAuth")
        .files(etcd_uses),
    Lint::error("HA105", "an etcd peer certificate lacks an address that its member connects from")
        .why(
            "etcd compares a peer's source address with the names in its certificate: a member whose \
            address is missing is rejected by all others",
        )
        .fix("list every address of the machine, and the VIP if the machine can hold it")
        .files(peer_addresses),
    Lint::warning("HA108", "a certificate expires soon")
        .why(
            "an image may be stored for a while before it is booted; with expired certificates its \
            components can't connect, and an expired CA invalidates all certificates that it has issued",
        )
        .fix("renew leaf certificates for one year, and CA certificates for ten years")
        .files(expiring),
    Lint::error("HA109", "a kubelet certificate does not identify its node")
        .why(
            "the API server reads the node name from `CN=system:node:NAME` and the group from \
            `O=system:nodes`: with a different subject, or with capital letters in the name, the kubelet \
            can't even register",
        )
        .fix(
            "issue the certificate with `CN=system:node:NAME` (the node name in lower case) and \
            `O=system:nodes`",
        )
        .files(kubelet_identity),
    Lint::warning("HA110", "a machine has a credential that RBAC can't restrict")
        .why(
            "`system:masters` bypasses RBAC, and a certificate can't be revoked: whoever obtains the file \
            controls the cluster until the CA is replaced",
        )
        .fix(
            "use `O=kubeadm:cluster-admins` with a binding, and keep the `system:masters` credential \
            offline",
        )
        .files(masters_on_machines),
    Lint::error("HA112", "a serving certificate has no subject alternative names")
        .why(
            "since 1.19 clients ignore a server certificate's common name, so every client rejects this \
            certificate",
        )
        .fix("list the server's names and addresses as subject alternative names")
        .files(nameless),
    Lint::error("HA119", "kubelets deny requests from the API server")
        .why(
            "the API server's client certificate is not in an administrator group, and no binding grants it \
            `system:kubelet-api-admin`: requests for logs, exec and metrics return 403",
        )
        .fix("bind the certificate's user to the ClusterRole `system:kubelet-api-admin`")
        .files(unbound_client),
];

/// A certificate and its location.
struct Placed<'f, 'a> {
    document: &'f Document<'a>,
    word: Word<'a>,
    certificate: Certificate,
}

/// Returns the first certificate in every file, and the certificates embedded in kubeconfigs.
fn all<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Placed<'f, 'a>> {
    fleet.documents.iter().filter_map(of_document).chain(within_kubeconfigs(fleet)).collect()
}

fn of_document<'f, 'a>(document: &'f Document<'a>) -> Option<Placed<'f, 'a>> {
    let text = Some(document.text.text).filter(|_| matches!(document.content, Content::Other))?;
    Some(Placed { document, word: document.text.part(0..0), certificate: Certificate::parse(text).ok()? })
}

/// Returns the client certificates of all kubeconfigs, whether embedded or in a separate file.
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

/// Returns the certificate that a program's flag refers to, on the same machine.
fn of_flag<'f, 'a>(fleet: &'f Fleet<'a>, invocation: &Invocation<'a>, flag: &str) -> Option<Placed<'f, 'a>> {
    at(fleet, invocation.machine, invocation.value(flag)?)
}

fn at<'f, 'a>(fleet: &'f Fleet<'a>, machine: &str, path: &str) -> Option<Placed<'f, 'a>> {
    let mut documents =
        fleet.documents.iter().filter(|document| document.machine == machine && document.path == path);
    documents.find_map(of_document)
}

/// Returns the names in every API server's serving certificate, with the certificate's location.
pub(super) fn of_api_servers<'f, 'a>(
    fleet: &'f Fleet<'a>,
) -> Vec<(&'f Document<'a>, Word<'a>, BTreeSet<Cow<'a, str>>)> {
    let served =
        fleet.programs("kube-apiserver").filter_map(|server| of_flag(fleet, server, "tls-cert-file"));
    let names = |placed: Placed<'f, 'a>| {
        let names = placed
            .certificate
            .names
            .into_iter()
            .chain(placed.certificate.addresses.iter().map(ToString::to_string));
        (placed.document, placed.word, names.map(Cow::Owned).collect())
    };
    served.map(names).collect()
}

fn etcd_uses<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for member in fleet.programs("etcd") {
        for placed in ["peer-cert-file", "cert-file"].iter().filter_map(|flag| of_flag(fleet, member, flag)) {
            for (is, name) in
                [(placed.certificate.client, "clientAuth"), (placed.certificate.server, "serverAuth")]
            {
                if !is {
                    found.at(
                        placed.document,
                        placed.word,
                        format!("the etcd certificate of `{}` lacks {name}", member.machine),
                    );
                }
            }
        }
    }
}

fn peer_addresses<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for member in fleet.programs("etcd") {
        let urls = member
            .value("initial-advertise-peer-urls")
            .or(member.value("listen-peer-urls"))
            .unwrap_or_default();
        let Some(placed) = of_flag(fleet, member, "peer-cert-file") else { continue };
        for address in urls.split(',').filter_map(|url| host(url.rsplit('/').next()?)) {
            if !address.is_unspecified() && !placed.certificate.addresses.contains(&address) {
                found.at(
                    placed.document,
                    placed.word,
                    format!("the certificate lacks `{address}`, which this member connects from"),
                );
            }
        }
    }
}

fn expiring<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in all(fleet) {
        let left = placed.certificate.not_after.saturating_sub(fleet.target.now);
        let authority = placed.certificate.is_authority();
        if left < if authority { YEAR } else { SHELF_LIFE } {
            let what = if authority { "the CA" } else { "the certificate" };
            found.at(
                placed.document,
                placed.word,
                format!("{what} `{}` expires in {} days", placed.certificate.common_name, left / DAY),
            );
        }
    }
}

fn kubelet_identity<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in of_kubeconfigs(fleet).into_iter().filter(|placed| placed.document.path.contains("kubelet"))
    {
        let certificate = &placed.certificate;
        let node = certificate.common_name.strip_prefix("system:node:").unwrap_or_default();
        let kubelet = fleet.programs("kubelet").find(|kubelet| kubelet.machine == placed.document.machine);
        let meant = kubelet.and_then(|kubelet| kubelet.value("hostname-override")).unwrap_or(node);
        let named = !node.is_empty() && node == meant && node == node.to_lowercase();
        if !named || certificate.organization.as_deref() != Some("system:nodes") {
            found.at(
                placed.document,
                placed.word,
                format!("`{}` does not identify the kubelet `{meant}`", certificate.subject()),
            );
        }
    }
}

fn masters_on_machines<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in of_kubeconfigs(fleet).into_iter().filter(|_| fleet.target.kubernetes >= 29) {
        if placed.certificate.organization.as_deref() == Some("system:masters") {
            found.at(
                placed.document,
                placed.word,
                format!("`{}` bypasses RBAC", placed.certificate.subject()),
            );
        }
    }
}

fn nameless<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for placed in
        all(fleet).into_iter().filter(|placed| placed.certificate.server && fleet.target.kubernetes >= 19)
    {
        if placed.certificate.names.is_empty() && placed.certificate.addresses.is_empty() {
            found.at(
                placed.document,
                placed.word,
                format!("`{}` has no subject alternative names", placed.certificate.common_name),
            );
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
            binding.get("subjects").is_some_and(|subjects| {
                subjects.items().iter().filter_map(|subject| subject.text("name")).any(is_subject)
            })
        });
        // kubeadm has used the second group since 1.29, and creates the binding itself.
        if !["system:masters", "kubeadm:cluster-admins"].contains(&group) && !bound {
            found.at(
                placed.document,
                placed.word,
                format!("no ClusterRoleBinding names `{}`", certificate.subject()),
            );
        }
    }
}
