//! Writing to a vault: `init` creates it completely or not at all and adds missing leaves, `renew` replaces
//! leaves on request.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::host::batch::Batch;
use crate::pki::inspect::Certificate;
use crate::pki::issue::{self, Algorithm, Window};
use crate::pki::pem;
use crate::pki::plan::{LeafId, PlannedLeaf, plan};
use crate::pki::satisfy::LeafState;
use crate::pki::table::Authority;
use crate::pki::vault::{self, Settings, Vault};
use crate::progress::Progress;

const DAY: u64 = 86_400;

/// Seconds by which certificates are backdated, because machines may boot with clocks that are hours behind.
pub(super) const BACKDATED: u64 = DAY;

/// Default validity of leaves, which is long because an appliance is not rebuilt every year and its
/// certificates are as old as its seed; `kiln pki expiry` monitors them.
const DEFAULT_LEAF_DAYS: u32 = 5 * 365;

const DEFAULT_CA_DAYS: u32 = 10 * 365;

/// Settings of a new vault; an existing one keeps its own settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) leaf_days: Option<u32>,
    pub(crate) ca_days: Option<u32>,
}

/// Result of filling a vault.
#[derive(Debug)]
pub(crate) struct Filled {
    /// True if this call created the vault.
    pub(crate) created: bool,
    pub(crate) issued: Vec<LeafId>,
    /// Leaves that no longer match the cluster and were left unchanged, each with the reason.
    pub(crate) misfits: Vec<(LeafId, String)>,
}

impl Vault {
    /// Creates the vault at `directory`, or adds the leaves that an existing vault lacks for `cluster`.
    /// Nothing is ever replaced.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if `directory` exists but is not a vault, if the vault belongs to a different cluster,
    /// or if `options` specify an algorithm that the vault does not use.
    pub(crate) fn init(
        directory: &Path,
        cluster: &Cluster,
        options: Options,
        progress: &dyn Progress,
    ) -> Result<Filled> {
        let _lock = vault::lock(directory)?;
        if !directory.join("vault.toml").exists() {
            return create(directory, cluster, options, progress);
        }
        let vault = Self::open(directory)?;
        vault.belongs_to(cluster)?;
        if let Some(algorithm) = options.algorithm.filter(|algorithm| *algorithm != vault.settings.algorithm)
        {
            let message = format!(
                "the vault `{}` has {} keys, not {}",
                directory.display(),
                vault.settings.algorithm.name(),
                algorithm.name()
            );
            return Err(Error::new(Kind::Input, message)
                .hint("omit `--algorithm`, or create a new vault in a different directory"));
        }
        let (mut missing, mut misfits) = (Vec::new(), Vec::new());
        for (planned, fitness) in vault.examine(cluster)? {
            match fitness {
                LeafState::Fits(_) => {}
                LeafState::Missing => missing.push(planned),
                LeafState::Mismatch(reason) => misfits.push((planned.id, reason)),
            }
        }
        let leaf_days = options.leaf_days.unwrap_or(vault.settings.leaf_days);
        let issued = vault.issue(&missing, leaf_days, host::clock::now(), progress)?;
        Ok(Filled { created: false, issued, misfits })
    }

    /// Replaces the leaves that no longer match `cluster`, that expire within `days`, or whose names
    /// (`m1/apiserver`, `apiserver`) are in `names`, and adds missing leaves. Each leaf is replaced with a
    /// single rename.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if a name is not a leaf of the cluster.
    pub(crate) fn renew(
        &self,
        cluster: &Cluster,
        names: &[String],
        days: u32,
        progress: &dyn Progress,
    ) -> Result<Filled> {
        let _lock = vault::lock(self.directory())?;
        self.belongs_to(cluster)?;
        let now = host::clock::now();
        let examined = self.examine(cluster)?;
        let is_named = |id: &LeafId, name: &String| *name == id.to_string() || *name == id.name;
        if let Some(name) =
            names.iter().find(|name| !examined.iter().any(|(planned, _)| is_named(&planned.id, name)))
        {
            return Err(Error::new(Kind::Input, format!("the cluster has no certificate `{name}`"))
                .hint("run `kiln pki list` to see the certificates"));
        }
        let mut due = Vec::new();
        for (planned, fitness) in examined {
            let expires = |certificate: &str| {
                Certificate::parse(certificate).map(|found| found.not_after < now + u64::from(days) * DAY)
            };
            let is_due = match fitness {
                LeafState::Missing | LeafState::Mismatch(_) => true,
                LeafState::Fits(credential) => expires(&credential.certificate)?,
            };
            if is_due || names.iter().any(|name| is_named(&planned.id, name)) {
                due.push(planned);
            }
        }
        let issued = self.issue(&due, self.settings.leaf_days, now, progress)?;
        Ok(Filled { created: false, issued, misfits: Vec::new() })
    }

    /// Issues `planned`, and moves all leaves into place once all have been written.
    fn issue(
        &self,
        planned: &[PlannedLeaf],
        leaf_days: u32,
        now: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<LeafId>> {
        if planned.is_empty() {
            return Ok(Vec::new());
        }
        let signers = self.signers(planned.iter().map(PlannedLeaf::authority))?;
        let mut latest = u64::MAX;
        for authority in signers.keys().copied().collect::<BTreeSet<Authority>>() {
            latest = latest.min(Certificate::parse(&self.authority(authority)?)?.not_after);
        }
        // A leaf must not outlive its authority.
        let window =
            Window { not_before: now - BACKDATED, not_after: latest.min(now + u64::from(leaf_days) * DAY) };
        let step = progress.begin("issuing certificates", Some(planned.len() as u64));
        let batch = Batch::default();
        let issued = planned
            .par_iter()
            .map(|planned| {
                let algorithm = self.settings.algorithm;
                let key = algorithm.generate()?;
                let certificate =
                    issue::leaf(planned, algorithm, &key, &signers[&planned.authority()], window)?;
                let text = Zeroizing::new(certificate + &pem::private_key(&key));
                self.write_leaf(&planned.id, &text, &batch)?;
                step.advance(1);
                Ok(planned.id.clone())
            })
            .collect::<Result<_>>()?;
        batch.commit()?;
        Ok(issued)
    }
}

/// Creates a complete vault next to `directory` and renames it at the end. A killed run leaves a hidden
/// directory, which the next run removes.
fn create(directory: &Path, cluster: &Cluster, options: Options, progress: &dyn Progress) -> Result<Filled> {
    refuse_to_replace(directory)?;
    let name = directory.file_name().ok_or_else(|| {
        Error::new(Kind::Input, format!("`{}` can't be used as a vault", directory.display()))
    })?;
    let staging = Staging(vault::parent(directory).join(format!(".{}.partial", name.to_string_lossy())));
    host::fs::remove(&staging.0)?;
    let now = host::clock::now();
    let leaf_days = options.leaf_days.unwrap_or(DEFAULT_LEAF_DAYS);
    let settings = Settings::new(cluster, options.algorithm.unwrap_or(Algorithm::EcdsaP256), leaf_days, now)?;
    let vault = Vault::lay_out(&staging.0, settings)?;
    vault.write_shared(options.ca_days.unwrap_or(DEFAULT_CA_DAYS), now)?;
    let issued = vault.issue(&plan(cluster).leaves, leaf_days, now, progress)?;
    host::fs::rename(&staging.0, directory)?;
    host::fs::sync_directory(vault::parent(directory))?;
    Ok(Filled { created: true, issued, misfits: Vec::new() })
}

/// Rejects any existing path except an empty directory.
fn refuse_to_replace(directory: &Path) -> Result<()> {
    let free = match directory.symlink_metadata() {
        Err(_) => true,
        Ok(metadata) => metadata.is_dir() && host::fs::list(directory)?.is_empty(),
    };
    if free {
        return Ok(());
    }
    Err(Error::new(
        Kind::Input,
        format!("`{}` exists but is not a vault; it was left unchanged", directory.display()),
    )
    .hint("set `path` in `[vault]` to a directory that does not exist yet"))
}

impl Vault {
    /// Writes everything except leaves: the authorities, the service-account key pair and the encryption key.
    fn write_shared(&self, ca_days: u32, now: u64) -> Result<()> {
        let window = Window { not_before: now - BACKDATED, not_after: now + u64::from(ca_days) * DAY };
        for authority in Authority::ALL {
            let key = self.settings.algorithm.generate()?;
            self.write_new(
                &format!("authorities/{}.crt", authority.name()),
                &issue::authority(authority, &key, window)?,
            )?;
            self.write_new(&format!("authorities/{}.key", authority.name()), &pem::private_key(&key))?;
        }
        let key = self.settings.algorithm.generate()?;
        self.write_new("sa.key", &pem::private_key(&key))?;
        self.write_new("sa.pub", &key.public_key_pem())?;
        let encryption_key =
            Zeroizing::new(STANDARD.encode(Zeroizing::new(host::random::bytes::<32>()?).as_slice()));
        self.write_new("encryption.key", &format!("{}\n", *encryption_key))
    }
}

/// A vault under construction; removed unless it was renamed.
struct Staging(std::path::PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // After the rename, the path no longer exists; before it, the error that led here is the one to show.
        let _ = host::fs::remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use crate::host;
    use crate::pki::tests::{node, sample, vault};
    use crate::pki::{Options, Vault};
    use crate::progress::Silent;
    use crate::words::Role;

    #[test]
    fn a_new_node_is_named_until_init_and_renew_have_run() {
        let mut cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        cluster.nodes.push(node("w2", 22, &[Role::Worker]));
        let err = vault.pki(&cluster).unwrap_err();
        assert!(
            err.to_string()
                .ends_with("missing certificates: `w2/kubelet`, `w2/kubelet-server`, `w2/kube-proxy`"),
            "{err}"
        );
        assert_eq!(err.hints(), ["run `kiln pki init` to issue the missing certificates"]);
        let before = host::fs::read(&vault.directory().join("leaves/m1/apiserver.pem")).unwrap();
        let filled = Vault::init(vault.directory(), &cluster, Options::default(), &Silent).unwrap();
        assert_eq!(
            filled.issued.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["w2/kubelet", "w2/kubelet-server", "w2/kube-proxy"]
        );
        vault.pki(&cluster).unwrap();

        cluster.nodes.push(node("m4", 14, &[Role::ControlPlane]));
        let filled = Vault::init(vault.directory(), &cluster, Options::default(), &Silent).unwrap();
        let misfits: Vec<String> =
            filled.misfits.iter().map(|(id, reason)| format!("{id}: {reason}")).collect();
        assert_eq!(
            misfits,
            ["m1", "m2", "m3"].map(|node| format!("{node}/apiserver: it is not valid for m4, 10.0.0.14"))
        );
        assert_eq!(
            before,
            host::fs::read(&vault.directory().join("leaves/m1/apiserver.pem")).unwrap(),
            "init replaces nothing"
        );
        let err = vault.pki(&cluster).unwrap_err();
        assert!(err.to_string().contains("`m1/apiserver` (it is not valid for m4, 10.0.0.14)"), "{err}");
        assert_eq!(vault.renew(&cluster, &[], 0, &Silent).unwrap().issued.len(), 3);
        vault.pki(&cluster).unwrap();
    }

    #[test]
    fn what_is_no_vault_is_never_replaced_and_a_half_made_one_never_seen() {
        let cluster = sample();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        host::fs::write_atomic(&path.join("thesis.txt"), b"years of work", 0o644).unwrap();
        let err = Vault::init(&path, &cluster, Options::default(), &Silent).unwrap_err();
        assert!(err.to_string().ends_with("exists but is not a vault; it was left unchanged"), "{err}");
        host::fs::remove(&path).unwrap();

        // A killed run leaves a hidden directory, which the next run removes.
        let partial = dir.path().join(".vault.partial");
        host::fs::write_atomic(&partial.join("sa.key"), b"half a key", 0o600).unwrap();
        assert!(Vault::open(&path).is_err());
        assert!(Vault::init(&path, &cluster, Options::default(), &Silent).unwrap().created);
        assert!(!partial.exists());
        Vault::open(&path).unwrap().pki(&cluster).unwrap();
    }

    #[test]
    fn a_second_writer_is_refused_while_the_first_one_works() {
        let cluster = sample();
        let (dir, vault) = vault(&cluster, Options::default());
        let _first = crate::pki::vault::lock(vault.directory()).unwrap();
        let err = Vault::init(vault.directory(), &cluster, Options::default(), &Silent).unwrap_err();
        assert_eq!(
            err.to_string(),
            format!("another kiln process is writing to a vault in `{}`", dir.path().display())
        );
    }
}
