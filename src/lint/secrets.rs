//! Lints for keys and credentials in files: wrong locations, shared keys, file modes.

use crate::config::{Content, Document, Fleet, Invocation, Node, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Credentials from published articles and examples.
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
/// Path suffixes of keys that belong only on control-plane nodes, if at all.
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
/// Flags that refer to files that must be the same on every API server.
const ALIKE_FLAGS: [&str; 4] = [
    "service-account-key-file",
    "service-account-signing-key-file",
    "encryption-provider-config",
    "experimental-encryption-provider-config",
];
/// Suffixes of the usual paths of files that must be the same on every API server.
const ALIKE: [&str; 4] = ["/sa.pub", "/sa.key", "/encryption.yaml", "/encryption-config.yaml"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA103", "API servers use different keys")
        .why(
            "a token signed by one API server is rejected by the next, and secrets encrypted by one are \
            `illegal base64` to another: whether a request succeeds depends on which server the balancer \
            picks",
        )
        .fix("distribute the same service-account key and encryption configuration to all API servers")
        .files(different_keys),
    Lint::warning("HA106", "several machines share a private key")
        .why(
            "an attacker on one machine can impersonate all of them, and replacing one machine's key means \
            replacing the key everywhere at once",
        )
        .fix("issue separate certificates for each machine")
        .files(shared_keys),
    Lint::error("HA107", "a CA or administrator key is on a worker, or in shared files")
        .why("anyone with the key can issue any certificate or token until the CA is replaced")
        .fix("keep the key in the vault; workers need only the CA certificate")
        .files(sovereign_keys),
    Lint::error("HA113", "a bootstrap token never expires")
        .why(
            "anyone who finds the token in a shell history or a backup, even years later, can join a \
            machine to the cluster",
        )
        .fix("set `ttl: 24h0m0s` or less, or use certificates issued in advance")
        .files(eternal_token),
    Lint::error("HA116", "a password or token is copied from published examples")
        .why("attackers try published credentials first")
        .fix("generate a random value, or omit a VRRP password: unicast peers do not need one")
        .files(published),
    Lint::error("HA117", "a private key is readable by other users")
        .why(
            "every process on the machine, and every pod that mounts the directory, can impersonate the \
            component",
        )
        .fix("set the file mode to 0600")
        .files(readable_key),
    Lint::error("HA118", "nothing approves the kubelets' serving certificates")
        .why(
            "with `serverTLSBootstrap`, each kubelet requests a serving certificate and waits: unlike \
            client certificates, these are not approved automatically, and logs, exec and metrics fail \
            until they are approved",
        )
        .fix("issue the certificates in advance (`tlsCertFile`), or run an approver")
        .files(no_approver),
];

fn is_private(document: &Document<'_>) -> bool {
    matches!(document.content, Content::Other) && document.text.text.contains("PRIVATE KEY-----")
}

fn ends(path: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| path.ends_with(end))
}

/// Checks whether a machine runs an API server.
fn is_control_plane(fleet: &Fleet<'_>, machine: &str) -> bool {
    fleet.programs("kube-apiserver").any(|invocation| invocation.machine == machine)
}

/// Checks whether the file must be the same on every API server.
fn is_alike(fleet: &Fleet<'_>, document: &Document<'_>) -> bool {
    let mut servers = fleet.programs("kube-apiserver").filter(|server| server.machine == document.machine);
    ends(document.path, &ALIKE)
        || servers.any(|server| ALIKE_FLAGS.iter().any(|flag| server.value(flag) == Some(document.path)))
}

fn different_keys<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let alike: Vec<&Document<'a>> = fleet
        .documents
        .iter()
        .filter(|document| is_control_plane(fleet, document.machine) && is_alike(fleet, document))
        .collect();
    for (index, document) in alike.iter().enumerate() {
        let other = alike[..index]
            .iter()
            .find(|other| other.path == document.path && other.text.text != document.text.text);
        if let Some(other) = other {
            found.about(
                document,
                format!("`{}` differs from the same file on `{}`", document.path, other.machine),
            );
        }
    }
    let encrypts = |server: &Invocation<'a>| ALIKE_FLAGS[2..].iter().any(|flag| server.flag(flag).is_some());
    let Some(other) = fleet.programs("kube-apiserver").find(|server| encrypts(server)) else { return };
    for server in fleet.programs("kube-apiserver").filter(|server| server.is_whole() && !encrypts(server)) {
        let message = format!("`{}` encrypts secrets, but this API server can't read them", other.machine);
        found.at(&fleet.documents[server.document], server.word, message);
    }
}

fn shared_keys<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let keys: Vec<&Document<'a>> = fleet
        .documents
        .iter()
        .filter(|document| {
            is_private(document) && !is_alike(fleet, document) && !ends(document.path, &SOVEREIGN)
        })
        .collect();
    for (index, document) in keys.iter().enumerate() {
        if let Some(other) = keys[..index]
            .iter()
            .find(|other| other.machine != document.machine && other.text.text == document.text.text)
        {
            found.about(
                document,
                format!("the private key `{}` is also used on `{}`", document.path, other.machine),
            );
        }
    }
    for (document, target) in copies(fleet) {
        found.at(document, target, format!("this machine's private keys are copied to `{}`", target.text));
    }
}

/// Returns `scp` targets that receive a directory with keys.
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
    for document in
        fleet.documents.iter().filter(|document| is_private(document) || document.path.ends_with(".conf"))
    {
        let shared = !document.path.starts_with("/etc/") && !document.path.starts_with("/root/");
        if ends(document.path, &SOVEREIGN) && (shared || !is_control_plane(fleet, document.machine)) {
            found.about(document, format!("`{}` is on `{}`", document.path, document.machine));
        }
    }
    for document in fleet.documents.iter().filter(|document| document.path.ends_with("/.kube/config")) {
        let runs = |program: &'static str| {
            fleet.programs(program).any(|invocation| invocation.machine == document.machine)
        };
        if runs("kubelet") && !runs("kube-apiserver") && document.text.text.contains("client-key") {
            found.about(document, format!("`{}` is on `{}`", document.path, document.machine));
        }
    }
    for (document, command) in fleet.commands().filter(|(_, command)| command.runs(&["scp"])) {
        let key = |word: &&Word<'_>| {
            ends(word.text, &SOVEREIGN) || word.text.trim_end_matches('/').ends_with(".kube")
        };
        if let Some(word) = command.words[1..].iter().find(key) {
            found.at(document, *word, format!("anyone with `{}` controls the cluster", word.text));
        }
    }
}

fn eternal_token<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let never =
        |text: &str| text.starts_with('0') && !text.contains(|letter: char| ('1'..='9').contains(&letter));
    for (document, node) in fleet.manifests() {
        for word in node
            .find_all("bootstrapTokens")
            .into_iter()
            .flat_map(|tokens| tokens.find_all("ttl"))
            .filter_map(Node::scalar)
        {
            if never(word.text) {
                found.at(document, word, "the bootstrap token never expires");
            }
        }
    }
    for flag in fleet
        .programs("kubeadm")
        .filter_map(|invocation| invocation.flag("ttl").or(invocation.flag("token-ttl")))
    {
        if never(flag.value.text) {
            found.flag(flag, fleet, "the bootstrap token never expires");
        }
    }
    for (document, secret) in bootstrap_secrets(fleet) {
        if DATA.iter().all(|data| secret.get(data).is_none_or(|data| data.text("expiration").is_none())) {
            found.at(
                document,
                secret.text("metadata.name").unwrap_or(secret.word),
                "the bootstrap token has no `expiration`",
            );
        }
    }
}

/// Fields that contain the values of a secret, plain and encoded.
const DATA: [&str; 2] = ["stringData", "data"];

/// Returns the secrets that contain bootstrap tokens.
fn bootstrap_secrets<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, &'f Node<'a>)> {
    fleet.of_kind("Secret").filter(|(_, node)| {
        node.text("type").is_some_and(|word| word.text == "bootstrap.kubernetes.io/token")
    })
}

fn published<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let vrrp = fleet.keepalived("vrrp_instance").filter_map(|block| {
        Some((block.document, block.statement.last(&["authentication"])?.setting("auth_pass")?))
    });
    let statistics = fleet
        .haproxy(&["listen", "frontend", "backend", "defaults"])
        .filter_map(|block| Some((block.document, *block.statement.last(&["stats", "auth"])?.words.get(2)?)));
    let tokens = fleet.manifests().flat_map(|(document, node)| {
        node.find_all("token").into_iter().filter_map(Node::scalar).map(move |word| (document, word))
    });
    let flags = fleet
        .programs("kubeadm")
        .filter_map(|invocation| invocation.flag("token"))
        .map(|flag| (&fleet.documents[flag.document], flag.value));
    let reported =
        vrrp.chain(statistics).chain(tokens).chain(flags).chain(token_files(fleet)).chain(variables(fleet));
    for (document, word) in reported.filter(|(_, word)| PUBLISHED.contains(&word.text)) {
        found.at(document, word, format!("`{}` appears in published examples", word.text));
    }
    for (document, secret) in bootstrap_secrets(fleet) {
        let [id, key] = ["stringData.token-id", "stringData.token-secret"].map(|path| secret.text(path));
        if let (Some(id), Some(key)) = (id, key)
            && PUBLISHED.contains(&format!("{}.{}", id.text, key.text).as_str())
        {
            found.at(document, key, format!("`{}.{}` appears in published examples", id.text, key.text));
        }
    }
}

/// Returns the tokens in `--token-auth-file` files, from the first field of each line.
fn token_files<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>)> {
    let files = fleet.documents.iter().filter(|document| document.path.ends_with(".csv"));
    files.flat_map(|document| {
        document
            .text
            .lines()
            .filter_map(move |line| Some((document, line.split_once(',')?.0)))
            .collect::<Vec<_>>()
    })
}

/// Returns the values of variables in scripts and variable files whose names suggest a token or password.
fn variables<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Document<'a>, Word<'a>)> {
    let secret =
        |name: &str| ["TOKEN", "PASS", "SECRET"].iter().any(|part| name.to_uppercase().contains(part));
    let of_scripts = fleet.commands().flat_map(|(document, command)| {
        command
            .words
            .iter()
            .filter_map(move |word| Some((document, word.split_once('=')?)))
            .collect::<Vec<_>>()
    });
    let of_settings = fleet.settings("").map(|(document, setting)| (document, (setting.key, setting.value)));
    of_scripts
        .chain(of_settings)
        .filter(move |(_, (name, _))| secret(name.text))
        .map(|(document, (_, value))| (document, value.unquoted()))
}

fn readable_key<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for document in fleet.documents.iter().filter(|document| is_private(document)) {
        if let Some(mode) = document.file.mode.filter(|mode| mode & 0o077 != 0) {
            found.about(document, format!("`{}` has mode {mode:04o}", document.path));
        }
    }
}

fn no_approver<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let approver = fleet.manifests().any(|(_, node)| {
        node.find_all("image")
            .into_iter()
            .filter_map(Node::scalar)
            .any(|image| image.text.contains("approver"))
    });
    for (document, node) in fleet.of_kind("KubeletConfiguration").filter(|_| !approver) {
        if let Some(word) = node.text("serverTLSBootstrap").filter(|word| word.text == "true") {
            found.at(document, word, "kubelets request serving certificates, but nothing approves them");
        }
    }
    for flag in fleet
        .programs("kubelet")
        .filter(|_| !approver)
        .filter_map(|kubelet| kubelet.flag("rotate-server-certificates"))
    {
        if flag.value.text != "false" {
            found.flag(flag, fleet, "kubelets request serving certificates, but nothing approves them");
        }
    }
}
