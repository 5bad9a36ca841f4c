//! Keys and credentials in files: where they must not be, who else has them, who may read them.

use crate::config::{Content, Document, Fleet, Invocation, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Credentials that stand in articles and examples.
const PUBLISHED: [&str; 9] = [
    "admin:admin",
    "admin:password",
    "k8s.59iedu.com",
    "4be37dc3b4c90194d1600c483e10ad1d",
    "42",
    "1111",
    "123456",
    "abcdef.0123456789abcdef",
    "K8SHA_KA_AUTH",
];
/// Ends of the paths of keys that only control-plane nodes may have, if any.
const SOVEREIGN: [&str; 9] = [
    "/ca.key",
    "-ca.key",
    "/ca-key.pem",
    "-ca-key.pem",
    "/sa.key",
    "/service-account-key.pem",
    "/admin.conf",
    "/admin.kubeconfig",
    "/super-admin.conf",
];
/// Flags that name files which every API server needs alike.
const ALIKE_FLAGS: [&str; 4] = [
    "service-account-key-file",
    "service-account-signing-key-file",
    "encryption-provider-config",
    "experimental-encryption-provider-config",
];
/// Files that every API server needs alike, by the ends of their usual paths.
const ALIKE: [&str; 4] = ["/sa.pub", "/sa.key", "/encryption.yaml", "/encryption-config.yaml"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA103", "API servers hold different keys")
        .why("a token that one signed is refused by the next, and secrets that one encrypted are `illegal base64` to the other: it depends on the balancer whether a request works")
        .fix("distribute the same service-account key and encryption configuration to all of them")
        .files(different_keys),
    Lint::warning("HA106", "machines share one private key")
        .why("whoever breaks into one of them is all of them; and replacing the key of one means replacing it everywhere at once")
        .fix("give each machine certificates of its own")
        .files(shared_keys),
    Lint::error("HA107", "the key of an authority or an administrator lies where workloads run, or in what machines share")
        .why("whoever has it makes any certificate, or any token, and only replacing the authority ends that")
        .fix("keep it in the vault; workers need the authority's certificate only")
        .files(sovereign_keys),
    Lint::error("HA113", "a bootstrap token never expires")
        .why("whoever finds it in a shell's history or a backup years later joins a machine to the cluster")
        .fix("use `ttl: 24h0m0s` or less, or certificates that are made beforehand")
        .files(eternal_token),
    Lint::error("HA116", "a password or token is one that stands in articles")
        .why("it is the first that anybody tries")
        .fix("draw one by lot, or do without: VRRP between named peers needs none")
        .files(published),
    Lint::error("HA117", "others may read a private key")
        .why("every process of the machine, and every pod that mounts the directory, can be the component")
        .fix("declare mode 0600 for the file")
        .files(readable_key),
    Lint::error("HA118", "nobody approves the kubelets' serving certificates")
        .why("with `serverTLSBootstrap` each kubelet asks for one and waits: unlike client certificates these are never approved by themselves, and logs, exec and metrics fail until somebody does")
        .fix("issue them beforehand (`tlsCertFile`), or run an approver")
        .files(no_approver),
];

fn is_private(document: &Document<'_>) -> bool {
    matches!(document.content, Content::Other) && document.text.text.contains("PRIVATE KEY-----")
}

fn ends(path: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| path.ends_with(end))
}

/// Machines that run an API server.
fn is_control_plane(fleet: &Fleet<'_>, machine: &str) -> bool {
    fleet.programs("kube-apiserver").any(|invocation| invocation.machine == machine)
}

/// Whether every API server needs this file alike.
fn is_alike(fleet: &Fleet<'_>, document: &Document<'_>) -> bool {
    let mut servers = fleet.programs("kube-apiserver").filter(|server| server.machine == document.machine);
    ends(document.path, &ALIKE) || servers.any(|server| ALIKE_FLAGS.iter().any(|flag| server.value(flag) == Some(document.path)))
}

fn different_keys<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let alike: Vec<&Document<'a>> =
        fleet.documents.iter().filter(|document| is_control_plane(fleet, document.machine) && is_alike(fleet, document)).collect();
    for (index, document) in alike.iter().enumerate() {
        let other = alike[..index].iter().find(|other| other.path == document.path && other.text.text != document.text.text);
        if let Some(other) = other {
            found.about(document, format!("`{}` differs from that of `{}`", document.path, other.machine));
        }
    }
    let encrypts = |server: &Invocation<'a>| ALIKE_FLAGS[2..].iter().any(|flag| server.flag(flag).is_some());
    let Some(other) = fleet.programs("kube-apiserver").find(|server| encrypts(server)) else { return };
    for server in fleet.programs("kube-apiserver").filter(|server| server.is_whole() && !encrypts(server)) {
        let message = format!("`{}` encrypts secrets, and this API server can't read them", other.machine);
        found.at(&fleet.documents[server.document], server.word, message);
    }
}

fn shared_keys<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let keys: Vec<&Document<'a>> = fleet
        .documents
        .iter()
        .filter(|document| is_private(document) && !is_alike(fleet, document) && !ends(document.path, &SOVEREIGN))
        .collect();
    for (index, document) in keys.iter().enumerate() {
        if let Some(other) = keys[..index].iter().find(|other| other.machine != document.machine && other.text.text == document.text.text) {
            found.about(document, format!("`{}` is also the key of `{}`", document.path, other.machine));
        }
    }
    for (document, target) in copies(fleet) {
        found.at(document, target, format!("the private keys of this machine go to `{}`", target.text));
    }
}

/// Targets of `scp` that get a directory with keys.
fn copies<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>)> {
    fleet.commands().filter_map(|(document, command)| {
        let target = command.words.last().filter(|word| word.text.contains(':'))?;
        let keys = command.words[1..].iter().any(|word| {
            let name = word.text.trim_end_matches('/').rsplit([':', '/']).next().unwrap_or_default();
            ["ssl", "pki", "kubernetes", "etcd"].contains(&name)
        });
        (command.runs(&["scp"]) && keys).then_some((document, *target))
    })
}

fn sovereign_keys<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| is_private(document) || document.path.ends_with(".conf")) {
        let shared = !document.path.starts_with("/etc/") && !document.path.starts_with("/root/");
        if ends(document.path, &SOVEREIGN) && (shared || !is_control_plane(fleet, document.machine)) {
            found.about(document, format!("`{}` is on `{}`", document.path, document.machine));
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with("/.kube/config")) {
        let runs = |program: &'static str| fleet.programs(program).any(|invocation| invocation.machine == document.machine);
        if runs("kubelet") && !runs("kube-apiserver") && document.text.text.contains("client-key") {
            found.about(document, format!("`{}` is on `{}`", document.path, document.machine));
        }
    }
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["scp"])) {
        let key = |word: &&Word<'_>| ends(word.text, &SOVEREIGN) || word.text.trim_end_matches('/').ends_with(".kube");
        if let Some(word) = command.words[1..].iter().find(key) {
            found.at(document, *word, format!("`{}` makes whoever has it the cluster's master", word.text));
        }
    }
}

fn eternal_token<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let never = |text: &str| text.starts_with('0') && !text.contains(|letter: char| ('1'..='9').contains(&letter));
    for (document, node) in fleet.manifests() {
        for word in node.find_all("bootstrapTokens").into_iter().flat_map(|tokens| tokens.find_all("ttl")).filter_map(Node::scalar) {
            if never(word.text) {
                found.at(document, word, "the bootstrap token never expires");
            }
        }
    }
    for flag in fleet.programs("kubeadm").filter_map(|invocation| invocation.flag("ttl").or(invocation.flag("token-ttl"))) {
        if never(flag.value.text) {
            found.flag(flag, fleet, "the bootstrap token never expires");
        }
    }
    for (document, secret) in bootstrap_secrets(fleet) {
        if DATA.iter().all(|data| secret.get(data).is_none_or(|data| data.text("expiration").is_none())) {
            found.at(document, secret.text("metadata.name").unwrap_or(secret.word), "the bootstrap token has no `expiration`");
        }
    }
}

/// Where a secret has its values, plain and encoded.
const DATA: [&str; 2] = ["stringData", "data"];

/// Secrets that are bootstrap tokens.
fn bootstrap_secrets<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, &'f Node<'a>)> {
    fleet.of_kind("Secret").filter(|(_, node)| node.text("type").is_some_and(|word| word.text == "bootstrap.kubernetes.io/token"))
}

fn published<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vrrp = fleet
        .keepalived("vrrp_instance")
        .filter_map(|block| Some((block.document, block.statement.last(&["authentication"])?.setting("auth_pass")?)));
    let statistics = fleet
        .haproxy(&["listen", "frontend", "backend", "defaults"])
        .filter_map(|block| Some((block.document, *block.statement.last(&["stats", "auth"])?.words.get(2)?)));
    let tokens = fleet
        .manifests()
        .flat_map(|(document, node)| node.find_all("token").into_iter().filter_map(Node::scalar).map(move |word| (document, word)));
    let flags = fleet
        .programs("kubeadm")
        .filter_map(|invocation| invocation.flag("token"))
        .map(|flag| (&fleet.documents[flag.document], flag.value));
    let told = vrrp.chain(statistics).chain(tokens).chain(flags).chain(token_files(fleet)).chain(variables(fleet));
    for (document, word) in told.filter(|(_, word)| PUBLISHED.contains(&word.text)) {
        found.at(document, word, format!("`{}` stands in published examples", word.text));
    }
    for (document, secret) in bootstrap_secrets(fleet) {
        let [id, key] = ["stringData.token-id", "stringData.token-secret"].map(|path| secret.text(path));
        if let (Some(id), Some(key)) = (id, key)
            && PUBLISHED.contains(&format!("{}.{}", id.text, key.text).as_str())
        {
            found.at(document, key, format!("`{}.{}` stands in published examples", id.text, key.text));
        }
    }
}

/// Tokens of `--token-auth-file`, which stand first on each line.
fn token_files<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>)> {
    let files = fleet.documents.iter().filter(|document| document.path.ends_with(".csv"));
    files.flat_map(|document| document.text.lines().filter_map(move |line| Some((document, line.split_once(',')?.0))).collect::<Vec<_>>())
}

/// What scripts and files of variables call a token or a password.
fn variables<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>)> {
    let secret = |name: &str| ["TOKEN", "PASS", "SECRET"].iter().any(|part| name.to_uppercase().contains(part));
    let of_scripts = fleet.commands().flat_map(|(document, command)| {
        command.words.iter().filter_map(move |word| Some((document, word.split_once('=')?))).collect::<Vec<_>>()
    });
    let of_settings = fleet.settings("").map(|(document, setting)| (document, (setting.key, setting.value)));
    of_scripts.chain(of_settings).filter(move |(_, (name, _))| secret(name.text)).map(|(document, (_, value))| (document, value.unquoted()))
}

fn readable_key<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| is_private(document)) {
        if let Some(mode) = document.file.mode.filter(|mode| mode & 0o077 != 0) {
            found.about(document, format!("`{}` has mode {mode:04o}", document.path));
        }
    }
}

fn no_approver<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let approver = fleet
        .manifests()
        .any(|(_, node)| node.find_all("image").into_iter().filter_map(Node::scalar).any(|image| image.text.contains("approver")));
    for (document, node) in fleet.of_kind("KubeletConfiguration").filter(|_| !approver) {
        if let Some(word) = node.text("serverTLSBootstrap").filter(|word| word.text == "true") {
            found.at(document, word, "kubelets ask for serving certificates, and nobody approves");
        }
    }
    for flag in fleet.programs("kubelet").filter(|_| !approver).filter_map(|kubelet| kubelet.flag("rotate-server-certificates")) {
        if flag.value.text != "false" {
            found.flag(flag, fleet, "kubelets ask for serving certificates, and nobody approves");
        }
    }
}
