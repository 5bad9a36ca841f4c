//! Security holes: unauthenticated ports, credentials in files, CAs and keys used for two purposes.

use crate::config::{Flag, Fleet};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::kubeconfigs;

/// Flags whose values are etcd URLs.
const ETCD_URLS: [&str; 6] = [
    "listen-client-urls",
    "advertise-client-urls",
    "listen-peer-urls",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "etcd-servers",
];

/// Prefixes of addresses that only the machine itself can reach.
const LOCAL: [&str; 3] = ["127.", "localhost", "[::1]"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA101", "etcd and Kubernetes trust the same CA")
        .why(
            "a client certificate for one is then valid for the other: a certificate for etcd backups \
            grants access to the API, and any API user can read every secret from etcd (CIS 2.7)",
        )
        .fix("use a separate CA for etcd")
        .files(one_authority),
    Lint::error("HA102", "service-account tokens are signed with a key that has another purpose")
        .why(
            "anyone who can verify or sign tokens then holds the CA key or the server's own key, and \
            replacing that key invalidates every token",
        )
        .fix("use a separate key pair: `sa.key` and `sa.pub`")
        .files(borrowed_key),
    Lint::error("HA114", "API credentials are stored in a static file")
        .why(
            "the credentials never expire, are stored in clear text on every control-plane node, and can \
            only be changed by restarting every API server (CIS 1.2.2)",
        )
        .fix("use certificates, or bootstrap tokens that expire")
        .files(static_credentials),
    Lint::error("HA203", "an API is served without authentication")
        .why(
            "anyone who can reach the port is a cluster administrator; since 1.20 the API server no longer \
            opens the port, and clients that use it fail",
        )
        .fix("remove the insecure port; use TLS, and kubeconfigs with certificates")
        .files(unauthenticated),
];

fn one_authority<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.programs("kube-apiserver") {
        if let (Some(etcd), Some(client)) =
            (invocation.flag("etcd-cafile"), invocation.flag("client-ca-file"))
            && is_same(fleet, invocation.machine, etcd.value.text, client.value.text)
        {
            found.flag(etcd, fleet, format!("`{}` is also the CA for API clients", etcd.value.text));
        }
    }
}

/// Checks whether two paths on a machine are the same file, or files with the same content.
fn is_same(fleet: &Fleet<'_>, machine: &str, first: &str, second: &str) -> bool {
    let text = |path: &str| {
        fleet
            .on(machine)
            .documents()
            .find(|document| document.path == path)
            .map(|document| document.text.text.trim())
    };
    first == second || text(first).is_some_and(|first| Some(first) == text(second))
}

fn borrowed_key<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let signers: Vec<&Flag<'a>> = fleet
        .invocations
        .iter()
        .filter_map(|invocation| invocation.flag("cluster-signing-key-file"))
        .collect();
    for invocation in &fleet.invocations {
        let serving = invocation.flag("tls-private-key-file");
        // Where tokens are only verified, a certificate can be used in place of its key.
        let public = ["client-ca-file", "tls-cert-file"].map(|name| invocation.value(name));
        for name in [
            "service-account-key-file",
            "service-account-signing-key-file",
            "service-account-private-key-file",
        ] {
            let Some(flag) = invocation.flag(name) else { continue };
            let path = flag.value.text;
            let of_authority = ["/ca.key", "/ca-key.pem"].iter().any(|end| path.ends_with(end))
                || signers.iter().any(|signer| signer.value.text == path);
            if of_authority {
                found.flag(flag, fleet, format!("`{path}` is a CA key"));
            } else if serving.is_some_and(|serving| serving.value.text == path) {
                found.flag(flag, fleet, format!("`{path}` is the server's own TLS key"));
            } else if public.contains(&Some(path)) {
                found.flag(flag, fleet, format!("`{path}` is a certificate with another purpose"));
            }
        }
    }
}

fn static_credentials<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.programs("kube-apiserver") {
        for flag in ["token-auth-file", "basic-auth-file"].iter().filter_map(|name| invocation.flag(name)) {
            found.flag(flag, fleet, format!("`{}` contains credentials that never expire", flag.value.text));
        }
    }
}

fn unauthenticated<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.programs("kube-apiserver") {
        let port = invocation.flag("insecure-port").or_else(|| invocation.flag("port"));
        let address = invocation.flag("insecure-bind-address").or_else(|| invocation.flag("address"));
        let closed = port.is_some_and(|flag| flag.value.text == "0");
        let local = address.is_none_or(|flag| flag.value.text.starts_with("127."));
        if let Some(flag) = port.or(address).filter(|_| !closed && (fleet.target.kubernetes >= 20 || !local))
        {
            let address = address.map_or("127.0.0.1", |flag| flag.value.text);
            found.flag(
                flag,
                fleet,
                format!(
                    "the API is served without authentication on {address}:{}",
                    port.map_or("8080", |flag| flag.value.text)
                ),
            );
        }
    }
    plain_clients(fleet, found);
    plain_etcd(fleet, found);
}

/// Reports components that connect to the insecure port.
fn plain_clients<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in &fleet.invocations {
        for flag in ["master", "api-servers"].iter().filter_map(|name| invocation.flag(name)) {
            // Without a scheme, HTTP is used.
            let plain = flag.value.text.starts_with("http://")
                || flag.value.text.ends_with(":8080") && !flag.value.text.contains("://");
            if plain && fleet.target.kubernetes >= 20 {
                found.flag(
                    flag,
                    fleet,
                    format!(
                        "{} connects to `{}`, where nothing has listened since 1.20",
                        invocation.program, flag.value.text
                    ),
                );
            }
        }
    }
    for (document, _, word) in kubeconfigs(fleet).filter(|_| fleet.target.kubernetes >= 20) {
        if word.text.starts_with("http://") && word.text.trim_end_matches('/').ends_with(":8080") {
            found.at(
                document,
                word,
                format!("clients connect to `{}`, where nothing has listened since 1.20", word.text),
            );
        }
    }
}

/// Reports etcd URLs without TLS that are not local to a machine.
fn plain_etcd<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in &fleet.invocations {
        for flag in ETCD_URLS.iter().filter_map(|name| invocation.flag(name)) {
            let open = |url: &&str| {
                url.strip_prefix("http://")
                    .is_some_and(|host| !LOCAL.iter().any(|local| host.starts_with(local)))
            };
            let mut urls =
                flag.value.text.split(',').map(|part| part.split_once('=').map_or(part, |(_, url)| url));
            if let Some(url) = urls.find(open) {
                found.flag(flag, fleet, format!("`{url}` exposes every secret to anyone who can reach it"));
            }
        }
    }
}
