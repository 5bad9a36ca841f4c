//! The vault: one directory with every key of a cluster.
//!
//! ```text
//! vault.toml                   settings; no secret
//! encryption.key               encrypts secrets in etcd; base64
//! sa.key sa.pub                sign and verify service-account tokens
//! authorities/NAME.crt         NAME is kubernetes, etcd or front-proxy
//! authorities/NAME.key         may be removed and kept offline: only issuing needs it
//! leaves/NAME.pem              certificate and key in one file, so that one rename replaces both
//! leaves/NODE/NAME.pem
//! ```
//!
//! Directories have mode 0700 and files with a key 0600, regardless of the umask. Writers hold a lock on the
//! directory that contains the vault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::batch::Batch;
use crate::host::lock::FileLock;
use crate::pki::inspect::Certificate;
use crate::pki::issue::{Algorithm, Signer};
use crate::pki::plan::LeafId;
use crate::pki::table::Authority;

/// Prefix of an authority's name in lists; no leaf has a space in its name.
pub(super) const AUTHORITY: &str = "authority ";

/// The version of the vault's layout.
const FORMAT: u32 = 1;

/// An open vault.
#[derive(Debug)]
pub(crate) struct Vault {
    directory: PathBuf,
    pub(super) settings: Settings,
}

/// The content of `vault.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) format: u32,
    /// Name of the cluster that the vault belongs to.
    pub(super) cluster: String,
    /// 128 random bits in lower-case hexadecimal.
    pub(super) cluster_id: String,
    /// Creation time in RFC 3339 format, for information only.
    pub(super) created: String,
    pub(super) algorithm: Algorithm,
    /// Validity of certificates that are issued later, in days.
    pub(super) leaf_days: u32,
}

impl Settings {
    pub(super) fn new(cluster: &Cluster, algorithm: Algorithm, leaf_days: u32, now: u64) -> Result<Self> {
        let cluster_id = host::random::number()?;
        Ok(Self {
            format: FORMAT,
            cluster: cluster.name.clone(),
            cluster_id: format!("{cluster_id:032x}"),
            created: host::clock::rfc3339(now),
            algorithm,
            leaf_days,
        })
    }
}

impl Vault {
    /// Opens the vault at `directory` for reading.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is no vault, if other users can access it, or if a newer kiln created it.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let shown = directory.display();
        let Some(text) = host::fs::read_if_exists(&directory.join("vault.toml"))? else {
            return Err(Error::new(Kind::Input, format!("there is no vault at `{shown}`"))
                .hint("run `kiln pki init` to create one"));
        };
        if host::fs::mode(directory)? & 0o077 != 0 {
            return Err(Error::new(Kind::Input, format!("other users can access the vault `{shown}`")).hint(
                format!(
                    "run `chmod -R go= {shown}`; if other users may have read its keys, create a new vault"
                ),
            ));
        }
        let step = || format!("reading `{}`", directory.join("vault.toml").display());
        let settings: Settings = toml::from_slice(&text).doing(Kind::Input, step)?;
        if settings.format != FORMAT {
            return Err(Error::new(
                Kind::Input,
                format!(
                    "the vault `{shown}` has format {}, but this version of kiln supports only format \
                    {FORMAT}",
                    settings.format
                ),
            ));
        }
        Ok(Self { directory: directory.to_owned(), settings })
    }

    /// Creates an empty vault in `directory`, which is renamed when it is complete.
    pub(super) fn lay_out(directory: &Path, settings: Settings) -> Result<Self> {
        host::fs::create_private_directory(directory)?;
        for inner in ["authorities", "leaves"] {
            host::fs::create_private_directory(&directory.join(inner))?;
        }
        let about = "# The keys of one cluster, created by `kiln pki init`: anyone with the files next to \
            this one controls the cluster.\n";
        let text = toml::to_string(&settings).doing(Kind::Internal, || "writing `vault.toml`".to_owned())?;
        host::fs::write_new(
            &directory.join("vault.toml"),
            format!("{about}{text}").as_bytes(),
            host::fs::PRIVATE,
        )?;
        // Keeps a vault in a working copy from being committed by accident.
        host::fs::write_new(&directory.join(".gitignore"), b"*\n", host::fs::PRIVATE)?;
        Ok(Self { directory: directory.to_owned(), settings })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Checks that the vault belongs to `cluster`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the vault was created for a cluster with a different name.
    pub(super) fn belongs_to(&self, cluster: &Cluster) -> Result<()> {
        if self.settings.cluster == cluster.name {
            return Ok(());
        }
        let shown = self.directory.display();
        Err(Error::new(
            Kind::Input,
            format!(
                "the vault `{shown}` belongs to the cluster `{}`, not to `{}`",
                self.settings.cluster, cluster.name
            ),
        )
        .hint("use a separate vault for each cluster: set `path` in `[vault]`")
        .hint(format!(
            "if the cluster was renamed, change `cluster` in `{}`",
            self.directory.join("vault.toml").display()
        )))
    }

    /// Writes a file that must not exist yet; its mode does not depend on the umask.
    pub(super) fn write_new(&self, name: &str, text: &str) -> Result<()> {
        host::fs::write_new(&self.directory.join(name), text.as_bytes(), host::fs::PRIVATE)
    }

    /// Reads a file that every complete vault contains.
    pub(super) fn read(&self, name: &str) -> Result<Zeroizing<String>> {
        host::fs::read_to_string(&self.directory.join(name))
            .map(Zeroizing::new)
            .within(|| "the vault is incomplete".to_owned())
    }

    /// Returns the certificate of an authority, as PEM.
    pub(super) fn authority(&self, authority: Authority) -> Result<String> {
        self.read(&format!("authorities/{}.crt", authority.name())).map(|text| text.to_string())
    }

    /// Prepares the authorities among `needed` for signing.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if a private key is missing from the vault.
    pub(super) fn signers(
        &self,
        needed: impl Iterator<Item = Authority>,
    ) -> Result<BTreeMap<Authority, Signer>> {
        let needed: BTreeSet<Authority> = needed.collect();
        needed.into_iter().map(|authority| Ok((authority, self.signer(authority)?))).collect()
    }

    fn signer(&self, authority: Authority) -> Result<Signer> {
        let path = self.directory.join(format!("authorities/{}.key", authority.name()));
        let Some(key) = host::fs::read_if_exists(&path)?.map(Zeroizing::new) else {
            return Err(Error::new(
                Kind::Input,
                format!("issuing certificates requires the {} authority's private key", authority.name()),
            )
            .hint(format!("put the key back at `{}` for this command", path.display())));
        };
        let key =
            std::str::from_utf8(&key).doing(Kind::Verify, || format!("reading `{}`", path.display()))?;
        Signer::new(&self.authority(authority)?, key).within(|| format!("reading `{}`", path.display()))
    }

    /// Returns the path of one leaf.
    pub(super) fn leaf_path(&self, id: &LeafId) -> PathBuf {
        self.directory.join("leaves").join(format!("{id}.pem"))
    }

    /// Returns the text of one leaf's file, or `None` if it was never issued.
    pub(super) fn leaf(&self, id: &LeafId) -> Result<Option<Zeroizing<String>>> {
        let path = self.leaf_path(id);
        let Some(bytes) = host::fs::read_if_exists(&path)? else { return Ok(None) };
        String::from_utf8(bytes)
            .map(|text| Some(Zeroizing::new(text)))
            .doing(Kind::Verify, || format!("reading `{}`", path.display()))
    }

    /// Writes one leaf, which replaces the existing one when the batch is committed.
    pub(super) fn write_leaf(&self, id: &LeafId, text: &str, batch: &Batch) -> Result<()> {
        let path = self.leaf_path(id);
        if let Some(node) = &id.node {
            host::fs::create_private_directory(&self.directory.join("leaves").join(node))?;
        }
        batch.write(&path, text.as_bytes(), host::fs::PRIVATE)
    }

    /// Returns every certificate in the vault with its name: authorities first, then leaves, including leaves
    /// that are not in any plan.
    pub(super) fn certificates(&self) -> Result<Vec<(String, Certificate)>> {
        let mut found = Vec::new();
        for authority in Authority::ALL {
            let name = format!("{AUTHORITY}{}", authority.name());
            let certificate =
                Certificate::parse(&self.authority(authority)?).within(|| format!("reading `{name}`"))?;
            found.push((name, certificate));
        }
        let leaves = self.directory.join("leaves");
        for path in leaf_files(&leaves)? {
            let name = path
                .strip_prefix(&leaves)
                .expect("a leaf is below its directory")
                .with_extension("")
                .display()
                .to_string();
            let text = Zeroizing::new(host::fs::read_to_string(&path)?);
            let certificate = Certificate::parse(&text).within(|| format!("reading `{}`", path.display()))?;
            found.push((name, certificate));
        }
        Ok(found)
    }
}

fn leaf_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in host::fs::list(directory)? {
        if path.is_dir() {
            files.extend(leaf_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "pem") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Locks the vault at `directory` for writing until the value is dropped or the process dies.
///
/// # Errors
///
/// [`Kind::Io`] if another process holds the lock.
pub(super) fn lock(directory: &Path) -> Result<FileLock> {
    let parent = parent(directory);
    host::fs::create_directories(parent)?;
    FileLock::try_directory(parent)?.ok_or_else(|| {
        Error::new(Kind::Io, format!("another kiln process is writing to a vault in `{}`", parent.display()))
            .hint("wait for it to finish, then try again")
    })
}

/// Returns the directory that contains `directory`.
pub(super) fn parent(directory: &Path) -> &Path {
    directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
