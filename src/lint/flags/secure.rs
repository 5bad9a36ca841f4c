//! Doors that stand open: ports without authentication, credentials in files, certificates that do two jobs.

use crate::config::{Flag, Fleet};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::kubeconfigs;

/// Flags whose values are URLs of etcd.
const ETCD_URLS: [&str; 6] =
    ["listen-client-urls", "advertise-client-urls", "listen-peer-urls", "initial-advertise-peer-urls", "initial-cluster", "etcd-servers"];

/// Beginnings of what only the machine itself reaches.
const LOCAL: [&str; 3] = ["127.", "localhost", "[::1]"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA101", "etcd and Kubernetes trust the same authority")
        .why("whoever has a client certificate of one is then a client of the other: a certificate for backups of etcd opens the API, and any user of the API may read every secret from etcd (CIS 2.7)")
        .fix("give etcd an authority of its own")
        .files(one_authority),
    Lint::error("HA102", "service-account tokens are signed with the key of something else")
        .why("whoever may verify or sign tokens then holds the authority, or the server's own key; and replacing either makes every token invalid")
        .fix("use a key pair of their own: `sa.key` and `sa.pub`")
        .files(borrowed_key),
    Lint::error("HA114", "users stand in a file with their passwords")
        .why("the tokens never expire, are in clear text on every control-plane node, and change only with a restart of every API server (CIS 1.2.2)")
        .fix("use certificates, or bootstrap tokens with a lifetime")
        .files(static_credentials),
    Lint::error("HA203", "an API answers without asking who calls")
        .why("whoever reaches the port is administrator of the cluster; since 1.20 the API server no longer opens it and those who dial it find nothing")
        .fix("remove the insecure port; use TLS, and kubeconfigs with certificates")
        .files(unauthenticated),
];

fn one_authority<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.programs("kube-apiserver") {
        if let (Some(etcd), Some(client)) = (invocation.flag("etcd-cafile"), invocation.flag("client-ca-file"))
            && is_same(fleet, invocation.machine, etcd.value.text, client.value.text)
        {
            found.flag(etcd, fleet, format!("`{}` is also the authority of the API's clients", etcd.value.text));
        }
    }
}

/// Whether two paths of a machine are one file, or files of one text.
fn is_same(fleet: &Fleet<'_>, machine: &str, first: &str, second: &str) -> bool {
    let text = |path: &str| fleet.on(machine).documents().find(|document| document.path == path).map(|document| document.text.text.trim());
    first == second || text(first).is_some_and(|first| Some(first) == text(second))
}

fn borrowed_key<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let signers: Vec<&Flag<'a>> = fleet.invocations.iter().filter_map(|invocation| invocation.flag("cluster-signing-key-file")).collect();
    for invocation in &fleet.invocations {
        let serving = invocation.flag("tls-private-key-file");
        // A certificate stands for its key where tokens are only verified.
        let public = ["client-ca-file", "tls-cert-file"].map(|name| invocation.value(name));
        for name in ["service-account-key-file", "service-account-signing-key-file", "service-account-private-key-file"] {
            let Some(flag) = invocation.flag(name) else { continue };
            let path = flag.value.text;
            let of_authority =
                ["/ca.key", "/ca-key.pem"].iter().any(|end| path.ends_with(end)) || signers.iter().any(|signer| signer.value.text == path);
            if of_authority {
                found.flag(flag, fleet, format!("`{path}` is the key of an authority"));
            } else if serving.is_some_and(|serving| serving.value.text == path) {
                found.flag(flag, fleet, format!("`{path}` is the server's own key"));
            } else if public.contains(&Some(path)) {
                found.flag(flag, fleet, format!("`{path}` is the certificate of something else"));
            }
        }
    }
}

fn static_credentials<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.programs("kube-apiserver") {
        for flag in ["token-auth-file", "basic-auth-file"].iter().filter_map(|name| invocation.flag(name)) {
            found.flag(flag, fleet, format!("`{}` holds credentials that never expire", flag.value.text));
        }
    }
}

fn unauthenticated<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in fleet.programs("kube-apiserver") {
        let port = invocation.flag("insecure-port").or_else(|| invocation.flag("port"));
        let address = invocation.flag("insecure-bind-address").or_else(|| invocation.flag("address"));
        let closed = port.is_some_and(|flag| flag.value.text == "0");
        let local = address.is_none_or(|flag| flag.value.text.starts_with("127."));
        if let Some(flag) = port.or(address).filter(|_| !closed && (fleet.target.kubernetes >= 20 || !local)) {
            let address = address.map_or("127.0.0.1", |flag| flag.value.text);
            found.flag(flag, fleet, format!("the API answers anybody on {address}:{}", port.map_or("8080", |flag| flag.value.text)));
        }
    }
    plain_clients(fleet, found);
    plain_etcd(fleet, found);
}

/// Components that dial the insecure port.
fn plain_clients<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in &fleet.invocations {
        for flag in ["master", "api-servers"].iter().filter_map(|name| invocation.flag(name)) {
            // Without a scheme it is HTTP.
            let plain = flag.value.text.starts_with("http://") || flag.value.text.ends_with(":8080") && !flag.value.text.contains("://");
            if plain && fleet.target.kubernetes >= 20 {
                found.flag(flag, fleet, format!("{} dials `{}`, where nothing listens since 1.20", invocation.program, flag.value.text));
            }
        }
    }
    for (document, _, word) in kubeconfigs(fleet).filter(|_| fleet.target.kubernetes >= 20) {
        if word.text.starts_with("http://") && word.text.trim_end_matches('/').ends_with(":8080") {
            found.at(document, word, format!("clients dial `{}`, where nothing listens since 1.20", word.text));
        }
    }
}

/// Members of etcd that speak without TLS beyond their own machine.
fn plain_etcd<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in &fleet.invocations {
        for flag in ETCD_URLS.iter().filter_map(|name| invocation.flag(name)) {
            let open = |url: &&str| url.strip_prefix("http://").is_some_and(|host| !LOCAL.iter().any(|local| host.starts_with(local)));
            let mut urls = flag.value.text.split(',').map(|part| part.split_once('=').map_or(part, |(_, url)| url));
            if let Some(url) = urls.find(open) {
                found.flag(flag, fleet, format!("`{url}` gives every secret to whoever reaches it"));
            }
        }
    }
}
