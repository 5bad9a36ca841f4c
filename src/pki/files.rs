//! What nodes get of a vault: files by name, nothing that an overlay did not ask for, never an authority's key.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::cluster::Node;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result};
use crate::pki::kubeconfig::Kubeconfig;
use crate::pki::plan::LeafId;
use crate::pki::table::{Authority, Form, Holder, LEAVES, Leaf, SHARED};
use crate::tree::ImagePath;

/// Port of every API server on its own node; the endpoint's port may differ.
const API_SERVER_PORT: u16 = 6443;

/// A vault's content as one cluster needs it, checked against the cluster's plan.
pub(crate) struct Pki {
    pub(super) cluster: String,
    /// `host:port` that clients dial.
    pub(super) endpoint: String,
    pub(super) cluster_id: String,
    /// 32 random bytes in base64, as `EncryptionConfiguration` wants them.
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
}

/// One file for a node's tree.
pub(crate) struct PkiFile {
    pub(crate) path: ImagePath,
    pub(crate) bytes: Vec<u8>,
    /// Whether it holds a private key: mode 0600, never shown.
    pub(crate) secret: bool,
}

impl Pki {
    /// 128 random bits in lower-case hexadecimal, fixed when the vault was made.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The key that encrypts secrets in etcd: 32 random bytes in base64, as `EncryptionConfiguration` wants them.
    pub(crate) fn encryption_key(&self) -> &str {
        &self.encryption_key
    }

    /// The files that `name` in an overlay's `certificates` stands for on `node`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is no such name, or if nodes of these roles do not hold it.
    pub(crate) fn files(&self, name: &str, node: &Node) -> Result<Vec<PkiFile>> {
        if name == "service-account" {
            let public = PkiFile::new("/etc/kubernetes/pki/sa.pub", &self.service_account.public, false)?;
            return Ok(vec![PkiFile::new("/etc/kubernetes/pki/sa.key", &self.service_account.private, true)?, public]);
        }
        if let Some(authority) = Authority::ALL.into_iter().find(|authority| authority.on_node().0 == name) {
            return Ok(vec![PkiFile::new(authority.on_node().1, &self.authorities[&authority], false)?]);
        }
        let row = LEAVES.iter().find(|row| row.name == name).ok_or_else(|| unknown(name))?;
        let credential = self.leaf(row, Some(node)).ok_or_else(|| not_held(row, node))?;
        self.in_form(row, credential, node)
    }

    fn in_form(&self, row: &Leaf, credential: &Credential, node: &Node) -> Result<Vec<PkiFile>> {
        let Credential { certificate, key } = credential;
        match row.form {
            Form::Pair(stem) => {
                Ok(vec![PkiFile::new(&format!("{stem}.crt"), certificate, false)?, PkiFile::new(&format!("{stem}.key"), key, true)?])
            }
            Form::Bundle(path) => Ok(vec![PkiFile::new(path, &Zeroizing::new(format!("{certificate}{}", **key)), true)?]),
            Form::Endpoint(path) => Ok(vec![PkiFile::new(path, &self.kubeconfig(row, credential, &self.endpoint)?, true)?]),
            Form::Local(path) => {
                let server = std::net::SocketAddr::new(node.address, API_SERVER_PORT).to_string();
                Ok(vec![PkiFile::new(path, &self.kubeconfig(row, credential, &server)?, true)?])
            }
            Form::Offline => Err(not_held(row, node)),
        }
    }

    /// The administrator's kubeconfig, which dials the endpoint.
    pub(crate) fn admin_kubeconfig(&self) -> Result<Zeroizing<String>> {
        self.kubeconfig_of("admin")
    }

    /// The kubeconfig of the cluster-wide credential `name`: `admin` or `super-admin`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is no such credential.
    pub(crate) fn kubeconfig_of(&self, name: &str) -> Result<Zeroizing<String>> {
        let row = LEAVES.iter().find(|row| row.name == name && row.holder == Holder::Cluster).ok_or_else(|| unknown(name))?;
        let credential = self.leaf(row, None).expect("the vault was checked against the plan");
        self.kubeconfig(row, credential, &self.endpoint)
    }

    fn kubeconfig(&self, row: &Leaf, credential: &Credential, server: &str) -> Result<Zeroizing<String>> {
        let authority = &self.authorities[&row.authority];
        Kubeconfig::new(&self.cluster, &format!("https://{server}"), authority, row.name, credential).to_yaml()
    }

    fn leaf(&self, row: &Leaf, node: Option<&Node>) -> Option<&Credential> {
        let node = node.filter(|_| row.holder != Holder::Cluster).map(|node| node.name.clone());
        self.leaves.get(&LeafId { node, name: row.name })
    }

    /// Digest over everything that can reach a node.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("cluster", self.cluster.as_bytes()).field("endpoint", self.endpoint.as_bytes());
        hasher.field("id", self.cluster_id.as_bytes()).field("encryption", self.encryption_key.as_bytes());
        hasher.field("sa.key", self.service_account.private.as_bytes());
        for (authority, certificate) in &self.authorities {
            hasher.field(authority.name(), certificate.as_bytes());
        }
        for (id, Credential { certificate, key }) in &self.leaves {
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

fn unknown(name: &str) -> Error {
    let names: Vec<&str> = SHARED.into_iter().chain(LEAVES.iter().map(|row| row.name)).collect();
    Error::new(Kind::Input, format!("there is no certificate named `{name}`")).hint(format!("names are {}", names.join(", ")))
}

fn not_held(row: &Leaf, node: &Node) -> Error {
    Error::new(Kind::Input, format!("`{}` is not for node `{}`: it is held by {}", row.name, node.name, row.holder.describe()))
}

/// Never shows a key.
impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").field("cluster", &self.cluster).field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PkiFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.bytes.len())
    }
}
