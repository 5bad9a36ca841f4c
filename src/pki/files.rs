//! Files that nodes receive from a vault: only files that an overlay requests by name, and never the key of
//! an authority.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::cluster::{Cluster, Node};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result};
use crate::pki::kubeconfig::Kubeconfig;
use crate::pki::plan::LeafId;
use crate::pki::table::{Authority, Form, Holder, LEAVES, Leaf, SHARED};
use crate::tree::ImagePath;
use crate::words::{Role, Service};

/// A vault's contents for one cluster, checked against the cluster's plan.
pub(crate) struct Pki {
    pub(super) cluster: String,
    /// `host:port` that clients connect to.
    pub(super) endpoint: String,
    /// `host:port` that kubelets and kube-proxies connect to.
    pub(super) agent_endpoint: String,
    pub(super) cluster_id: String,
    /// 32 random bytes in base64, as `EncryptionConfiguration` expects them.
    pub(super) encryption_key: Zeroizing<String>,
    /// PEM certificates.
    pub(super) authorities: BTreeMap<Authority, String>,
    pub(super) service_account: ServiceAccount,
    pub(super) leaves: BTreeMap<LeafId, Credential>,
}

/// The key pair that signs service-account tokens, as PEM.
pub(super) struct ServiceAccount {
    pub(super) private: Zeroizing<String>,
    pub(super) public: String,
}

/// A certificate and its private key, as PEM.
pub(super) struct Credential {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
    /// Start of validity, in seconds since 1970.
    pub(super) not_before: u64,
}

/// One file for a node's tree.
pub(crate) struct PkiFile {
    pub(crate) path: ImagePath,
    pub(crate) bytes: Vec<u8>,
    /// True if the file contains a private key: its mode is 0600, and it is never shown.
    pub(crate) secret: bool,
}

impl Pki {
    /// Returns the cluster's identifier: 128 random bits in lower-case hexadecimal, fixed when the vault was
    /// created.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Returns the start of validity of the newest certificate, in seconds since 1970.
    pub(crate) fn not_before(&self) -> u64 {
        self.leaves.values().map(|leaf| leaf.not_before).max().unwrap_or(0)
    }

    /// Returns the key that encrypts secrets in etcd: 32 random bytes in base64, as `EncryptionConfiguration`
    /// expects them.
    pub(crate) fn encryption_key(&self) -> &str {
        &self.encryption_key
    }

    /// Returns the files on `node` for `name` in an overlay's `certificates`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the name is unknown, or if nodes with these roles do not have such files.
    pub(crate) fn files(&self, name: &str, node: &Node) -> Result<Vec<PkiFile>> {
        let is_control_plane = node.roles.contains(&Role::ControlPlane);
        if name == "service-account" {
            if !is_control_plane {
                return Err(not_held(name, Holder::ControlPlane, node));
            }
            let public = PkiFile::new("/etc/kubernetes/pki/sa.pub", &self.service_account.public, false)?;
            return Ok(vec![
                PkiFile::new("/etc/kubernetes/pki/sa.key", &self.service_account.private, true)?,
                public,
            ]);
        }
        if let Some(authority) = Authority::ALL.into_iter().find(|authority| authority.on_node().0 == name) {
            return Ok(vec![PkiFile::new(authority.on_node().1, &self.authorities[&authority], false)?]);
        }
        let row = LEAVES.iter().find(|row| row.name == name).ok_or_else(|| unknown(name))?;
        let credential =
            self.leaf(row, Some(node)).filter(|_| row.holder != Holder::Cluster || is_control_plane);
        let credential = credential.ok_or_else(|| not_held(row.name, row.holder, node))?;
        self.in_form(row, credential, node)
    }

    fn in_form(&self, row: &Leaf, credential: &Credential, node: &Node) -> Result<Vec<PkiFile>> {
        let Credential { certificate, key, .. } = credential;
        match row.form {
            Form::Pair(stem) => Ok(vec![
                PkiFile::new(&format!("{stem}.crt"), certificate, false)?,
                PkiFile::new(&format!("{stem}.key"), key, true)?,
            ]),
            Form::Bundle(path) => {
                Ok(vec![PkiFile::new(path, &Zeroizing::new(format!("{certificate}{}", **key)), true)?])
            }
            Form::Endpoint(path) => {
                Ok(vec![PkiFile::new(path, &self.kubeconfig(row, credential, &self.agent_endpoint)?, true)?])
            }
            Form::Local(path) => {
                let server = std::net::SocketAddr::new(node.address, Service::ApiServer.port()).to_string();
                Ok(vec![PkiFile::new(path, &self.kubeconfig(row, credential, &server)?, true)?])
            }
            Form::Offline => Err(not_held(row.name, row.holder, node)),
        }
    }

    /// Returns the administrator's kubeconfig, which connects to the endpoint.
    pub(crate) fn admin_kubeconfig(&self) -> Result<Zeroizing<String>> {
        self.kubeconfig_of("admin")
    }

    /// Returns the kubeconfig of the cluster-wide credential `name`: `admin` or `super-admin`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is no such credential.
    pub(crate) fn kubeconfig_of(&self, name: &str) -> Result<Zeroizing<String>> {
        let row = LEAVES
            .iter()
            .find(|row| row.name == name && row.holder == Holder::Cluster)
            .ok_or_else(|| unknown(name))?;
        let credential = self.leaf(row, None).expect("the vault was checked against the plan");
        self.kubeconfig(row, credential, &self.endpoint)
    }

    fn kubeconfig(&self, row: &Leaf, credential: &Credential, server: &str) -> Result<Zeroizing<String>> {
        let authority = &self.authorities[&row.authority];
        Kubeconfig::new(&self.cluster, &format!("https://{server}"), authority, row.name, credential)
            .to_yaml()
    }

    fn leaf(&self, row: &Leaf, node: Option<&Node>) -> Option<&Credential> {
        let node = node.filter(|_| row.holder != Holder::Cluster).map(|node| node.name.clone());
        self.leaves.get(&LeafId { node, name: row.name })
    }

    /// Returns a digest of everything that can be put on a node.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("cluster", self.cluster.as_bytes()).field("endpoint", self.endpoint.as_bytes());
        hasher.field("id", self.cluster_id.as_bytes()).field("encryption", self.encryption_key.as_bytes());
        hasher.field("sa.key", self.service_account.private.as_bytes());
        for (authority, certificate) in &self.authorities {
            hasher.field(authority.name(), certificate.as_bytes());
        }
        for (id, Credential { certificate, key, .. }) in &self.leaves {
            hasher.field(&id.to_string(), certificate.as_bytes()).field("key", key.as_bytes());
        }
        hasher.finish()
    }
}

impl PkiFile {
    fn new(path: &str, text: &str, secret: bool) -> Result<Self> {
        Ok(Self { path: ImagePath::new(path)?, bytes: text.as_bytes().to_vec(), secret })
    }
}

/// Checks, without a vault, that `name` in an overlay's `certificates` has files for `node`.
///
/// # Errors
///
/// Same as [`Pki::files`].
pub(crate) fn held(name: &str, cluster: &Cluster, node: &Node) -> Result<()> {
    let is_control_plane = node.roles.contains(&Role::ControlPlane);
    if SHARED.contains(&name) {
        let free = name != "service-account" || is_control_plane;
        return if free { Ok(()) } else { Err(not_held(name, Holder::ControlPlane, node)) };
    }
    let row = LEAVES.iter().find(|row| row.name == name).ok_or_else(|| unknown(name))?;
    let holds =
        if row.holder == Holder::Cluster { is_control_plane } else { row.holder.includes(cluster, node) };
    if holds && !matches!(row.form, Form::Offline) { Ok(()) } else { Err(not_held(name, row.holder, node)) }
}

fn unknown(name: &str) -> Error {
    let names: Vec<&str> = SHARED.into_iter().chain(LEAVES.iter().map(|row| row.name)).collect();
    Error::new(Kind::Input, format!("unknown certificate `{name}`"))
        .hint(format!("known names: {}", names.join(", ")))
}

fn not_held(name: &str, holder: Holder, node: &Node) -> Error {
    Error::new(
        Kind::Input,
        format!("`{name}` is not available on node `{}`: it is only for {}", node.name, holder.describe()),
    )
}

/// Shows no key material.
impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki")
            .field("cluster", &self.cluster)
            .field("leaves", &self.leaves.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PkiFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pki, held};
    use crate::cluster::{Cluster, Node};
    use crate::pki::Options;
    use crate::pki::table::{Authority, LEAVES, SHARED};
    use crate::pki::tests::{sample, vault};
    use crate::progress::Silent;

    #[test]
    fn every_name_gives_its_files_to_its_holders_and_to_nobody_else() {
        let cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        let pki = vault.pki(&cluster).unwrap();
        check_control_plane(&shown(&pki, &cluster, &cluster.nodes[0]));
        check_worker(&shown(&pki, &cluster, &cluster.nodes[3]));
    }

    /// Returns the files of each name for a node, or why the node does not receive them.
    fn shown(pki: &Pki, cluster: &Cluster, node: &Node) -> String {
        let mut shown = Vec::new();
        for name in SHARED.into_iter().chain(LEAVES.iter().map(|row| row.name)) {
            assert_eq!(
                held(name, cluster, node).map_err(|err| err.to_string()).err(),
                pki.files(name, node).map_err(|err| err.to_string()).err()
            );
            let files = match pki.files(name, node) {
                Ok(files) => files
                    .iter()
                    .map(|file| format!("{}{}", file.path, if file.secret { " (secret)" } else { "" }))
                    .collect(),
                Err(err) => vec![err.to_string()],
            };
            shown.push(format!("{} {name}: {}", node.name, files.join(", ")));
        }
        shown.join("\n")
    }

    fn check_control_plane(shown: &str) {
        insta::assert_snapshot!(shown, @"
        m1 ca: /etc/kubernetes/pki/ca.crt
        m1 etcd-ca: /etc/kubernetes/pki/etcd/ca.crt
        m1 front-proxy-ca: /etc/kubernetes/pki/front-proxy-ca.crt
        m1 service-account: /etc/kubernetes/pki/sa.key (secret), /etc/kubernetes/pki/sa.pub
        m1 apiserver: /etc/kubernetes/pki/apiserver.crt, /etc/kubernetes/pki/apiserver.key (secret)
        m1 apiserver-kubelet-client: /etc/kubernetes/pki/apiserver-kubelet-client.crt, \
            /etc/kubernetes/pki/apiserver-kubelet-client.key (secret)
        m1 apiserver-etcd-client: /etc/kubernetes/pki/apiserver-etcd-client.crt, \
            /etc/kubernetes/pki/apiserver-etcd-client.key (secret)
        m1 front-proxy-client: /etc/kubernetes/pki/front-proxy-client.crt, \
            /etc/kubernetes/pki/front-proxy-client.key (secret)
        m1 controller-manager: /etc/kubernetes/controller-manager.conf (secret)
        m1 controller-manager-server: /etc/kubernetes/pki/controller-manager-server.crt, \
            /etc/kubernetes/pki/controller-manager-server.key (secret)
        m1 scheduler: /etc/kubernetes/scheduler.conf (secret)
        m1 scheduler-server: /etc/kubernetes/pki/scheduler-server.crt, \
            /etc/kubernetes/pki/scheduler-server.key (secret)
        m1 etcd-server: /etc/kubernetes/pki/etcd/server.crt, /etc/kubernetes/pki/etcd/server.key (secret)
        m1 etcd-peer: /etc/kubernetes/pki/etcd/peer.crt, /etc/kubernetes/pki/etcd/peer.key (secret)
        m1 etcd-healthcheck-client: /etc/kubernetes/pki/etcd/healthcheck-client.crt, \
            /etc/kubernetes/pki/etcd/healthcheck-client.key (secret)
        m1 kubelet: /etc/kubernetes/kubelet.conf (secret)
        m1 kubelet-server: /etc/kubernetes/pki/kubelet-server.crt, /etc/kubernetes/pki/kubelet-server.key \
            (secret)
        m1 kube-proxy: /etc/kubernetes/kube-proxy.conf (secret)
        m1 lb-healthcheck: /etc/kubernetes/pki/lb-healthcheck.pem (secret)
        m1 kube-vip: `kube-vip` is not available on node `m1`: it is only for control-plane nodes that run \
            kube-vip
        m1 bootstrap: /etc/kubernetes/bootstrap.conf (secret)
        m1 admin: /etc/kubernetes/admin.conf (secret)
        m1 super-admin: `super-admin` is not available on node `m1`: it is only for administrators
        ");
    }

    fn check_worker(shown: &str) {
        insta::assert_snapshot!(shown, @"
        w1 ca: /etc/kubernetes/pki/ca.crt
        w1 etcd-ca: /etc/kubernetes/pki/etcd/ca.crt
        w1 front-proxy-ca: /etc/kubernetes/pki/front-proxy-ca.crt
        w1 service-account: `service-account` is not available on node `w1`: it is only for control-plane \
            nodes
        w1 apiserver: `apiserver` is not available on node `w1`: it is only for control-plane nodes
        w1 apiserver-kubelet-client: `apiserver-kubelet-client` is not available on node `w1`: it is only \
            for control-plane nodes
        w1 apiserver-etcd-client: `apiserver-etcd-client` is not available on node `w1`: it is only for \
            control-plane nodes
        w1 front-proxy-client: `front-proxy-client` is not available on node `w1`: it is only for \
            control-plane nodes
        w1 controller-manager: `controller-manager` is not available on node `w1`: it is only for \
            control-plane nodes
        w1 controller-manager-server: `controller-manager-server` is not available on node `w1`: it is only \
            for control-plane nodes
        w1 scheduler: `scheduler` is not available on node `w1`: it is only for control-plane nodes
        w1 scheduler-server: `scheduler-server` is not available on node `w1`: it is only for control-plane \
            nodes
        w1 etcd-server: `etcd-server` is not available on node `w1`: it is only for etcd members
        w1 etcd-peer: `etcd-peer` is not available on node `w1`: it is only for etcd members
        w1 etcd-healthcheck-client: `etcd-healthcheck-client` is not available on node `w1`: it is only for \
            etcd members
        w1 kubelet: /etc/kubernetes/kubelet.conf (secret)
        w1 kubelet-server: /etc/kubernetes/pki/kubelet-server.crt, /etc/kubernetes/pki/kubelet-server.key \
            (secret)
        w1 kube-proxy: /etc/kubernetes/kube-proxy.conf (secret)
        w1 lb-healthcheck: `lb-healthcheck` is not available on node `w1`: it is only for nodes that run the \
            endpoint's balancer
        w1 kube-vip: `kube-vip` is not available on node `w1`: it is only for control-plane nodes that run \
            kube-vip
        w1 bootstrap: `bootstrap` is not available on node `w1`: it is only for control-plane nodes
        w1 admin: `admin` is not available on node `w1`: it is only for administrators
        w1 super-admin: `super-admin` is not available on node `w1`: it is only for administrators
        ");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        let err = vault.pki(&cluster).unwrap().files("etcd", &cluster.nodes[0]).unwrap_err();
        assert_eq!(err.to_string(), "unknown certificate `etcd`");
        assert!(
            err.hints()[0]
                .starts_with("known names: ca, etcd-ca, front-proxy-ca, service-account, apiserver, ")
        );
    }

    #[test]
    fn no_file_of_any_node_holds_an_authority_s_key_or_the_super_admin_s() {
        let cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        let pki = vault.pki(&cluster).unwrap();
        let mut kept = vec!["leaves/super-admin.pem".to_owned()];
        kept.extend(Authority::ALL.map(|authority| format!("authorities/{}.key", authority.name())));
        let kept: Vec<String> = kept.iter().map(|name| key_lines(&vault.read(name).unwrap())).collect();
        for node in &cluster.nodes {
            for name in SHARED.into_iter().chain(LEAVES.iter().map(|row| row.name)) {
                for file in pki.files(name, node).unwrap_or_default() {
                    let bytes = decoded(&file.bytes);
                    assert!(kept.iter().all(|key| !bytes.contains(key)), "{} of {}", file.path, node.name);
                }
            }
        }
    }

    #[test]
    fn equal_vaults_give_equal_digests_and_a_renewed_leaf_another() {
        let cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        let before = vault.pki(&cluster).unwrap().digest();
        assert_eq!(before, vault.pki(&cluster).unwrap().digest());
        vault.renew(&cluster, &["m1/scheduler".into()], 0, &Silent).unwrap();
        assert_ne!(before, vault.pki(&cluster).unwrap().digest());
    }

    /// Returns the first base64 line of a private key that differs between keys.
    fn key_lines(pem: &str) -> String {
        let key = pem.split("PRIVATE KEY-----\n").nth(1).unwrap();
        key.lines().nth(1).unwrap().to_owned()
    }

    /// Returns a file's text, followed by the decoded base64 values that kubeconfigs embed.
    fn decoded(bytes: &[u8]) -> String {
        use base64::Engine as _;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let values = text.lines().filter_map(|line| line.split_once("-data: ")).map(|(_, value)| value);
        let plain: String = values
            .map(|value| String::from_utf8(base64::prelude::BASE64_STANDARD.decode(value).unwrap()).unwrap())
            .collect();
        text + &plain
    }
}
