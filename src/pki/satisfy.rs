//! Conversion of a vault and a cluster to a [`Pki`]: checks that every planned leaf exists, matches the plan,
//! and is valid now.

use std::collections::BTreeMap;

use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::pki::files::{Credential, Pki, ServiceAccount};
use crate::pki::inspect::Certificate;
use crate::pki::pem;
use crate::pki::plan::{PlannedLeaf, plan};
use crate::pki::table::Authority;
use crate::pki::vault::Vault;

/// Result of comparing a leaf in the vault with the plan.
pub(super) enum LeafState {
    Fits(Credential),
    Missing,
    /// The leaf exists but does not match the plan; the text is the reason.
    Mismatch(String),
}

impl Vault {
    /// Checks that the vault contains everything that `cluster` needs, and returns it. Does not read the
    /// authorities' private keys.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if leaves are missing, [`Kind::Verify`] if leaves do not match the plan or have
    /// expired; the error lists all of them.
    pub(crate) fn pki(&self, cluster: &Cluster) -> Result<Pki> {
        self.belongs_to(cluster)?;
        let mut leaves = BTreeMap::new();
        let mut faults = Faults::default();
        for (planned, fitness) in self.examine(cluster)? {
            match fitness {
                LeafState::Fits(credential) => drop(leaves.insert(planned.id, credential)),
                LeafState::Missing => faults.missing.push(format!("`{}`", planned.id)),
                LeafState::Mismatch(reason) => faults.misfits.push(format!("`{}` ({reason})", planned.id)),
            }
        }
        faults.into_result().within(|| format!("checking the vault `{}`", self.directory().display()))?;
        let mut authorities = BTreeMap::new();
        for authority in Authority::ALL {
            authorities.insert(authority, self.authority(authority)?);
        }
        Ok(Pki {
            cluster: cluster.name.clone(),
            endpoint: cluster.endpoint_authority(),
            agent_endpoint: cluster.agent_authority(),
            cluster_id: self.settings.cluster_id.clone(),
            encryption_key: Zeroizing::new(self.read("encryption.key")?.trim_end().to_owned()),
            authorities,
            service_account: ServiceAccount {
                private: self.read("sa.key")?,
                public: self.read("sa.pub")?.to_string(),
            },
            leaves,
        })
    }

    /// Compares every leaf of the plan with the vault.
    pub(super) fn examine(&self, cluster: &Cluster) -> Result<Vec<(PlannedLeaf, LeafState)>> {
        let mut authorities = BTreeMap::new();
        for authority in Authority::ALL {
            let certificate = Certificate::parse(&self.authority(authority)?)
                .within(|| format!("reading the {} authority's certificate", authority.name()))?;
            authorities.insert(authority, certificate);
        }
        let now = host::clock::now();
        let examine = |planned: PlannedLeaf| {
            let fitness = self.fitness(&planned, &authorities[&planned.authority()], now)?;
            Ok((planned, fitness))
        };
        plan(cluster).leaves.into_par_iter().map(examine).collect()
    }

    fn fitness(&self, planned: &PlannedLeaf, authority: &Certificate, now: u64) -> Result<LeafState> {
        let Some(text) = self.leaf(&planned.id)? else { return Ok(LeafState::Missing) };
        let misfit = |reason: &str| Ok(LeafState::Mismatch(reason.to_owned()));
        let Some((certificate, key)) = pem::split(&text) else {
            return misfit("it does not contain a certificate with a key");
        };
        let Ok(parsed) = Certificate::parse(certificate) else { return misfit("its certificate is damaged") };
        if let Some(reason) = parsed.misfit(planned) {
            return Ok(LeafState::Mismatch(reason));
        }
        match () {
            () if parsed.not_after <= now || authority.not_after <= now => misfit("it has expired"),
            () if parsed.not_before > now => misfit("it is not valid yet; check this machine's clock"),
            () if !parsed.is_signed_by(authority) => misfit("it was signed by a different authority"),
            () if !parsed.has_key(key) => misfit("its key belongs to a different certificate"),
            () => Ok(LeafState::Fits(Credential {
                certificate: certificate.to_owned(),
                key: Zeroizing::new(key.to_owned()),
                not_before: parsed.not_before,
            })),
        }
    }
}

/// Problems with a vault.
#[derive(Default)]
struct Faults {
    missing: Vec<String>,
    misfits: Vec<String>,
}

impl Faults {
    fn into_result(self) -> Result<()> {
        let Self { missing, misfits } = self;
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("missing certificates: {}", missing.join(", ")));
        }
        if !misfits.is_empty() {
            parts.push(format!("certificates that do not match the cluster: {}", misfits.join(", ")));
        }
        match (missing.is_empty(), misfits.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => Err(Error::new(Kind::Input, parts.join("; "))
                .hint("run `kiln pki init` to issue the missing certificates")),
            (_, false) => Err(Error::new(Kind::Verify, parts.join("; "))
                .hint("run `kiln pki renew` to replace these certificates and add missing ones")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::host;
    use crate::pki::plan::plan;
    use crate::pki::table::Authority;
    use crate::pki::tests::{sample, vault};
    use crate::pki::{Algorithm, Options, Vault};
    use crate::progress::Silent;

    #[test]
    fn a_vault_that_fits_is_satisfied_without_the_authorities_keys() {
        let cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        for authority in Authority::ALL {
            host::fs::remove(&vault.directory().join(format!("authorities/{}.key", authority.name())))
                .unwrap();
        }
        let pki = vault.pki(&cluster).unwrap();
        assert_eq!(pki.cluster_id().len(), 32);
        assert_eq!(pki.encryption_key().len(), 44, "32 bytes in base64");
        let modes = [
            vault.directory().to_owned(),
            vault.directory().join("leaves/m1"),
            vault.leaf_path(&plan(&cluster).leaves[0].id),
            vault.directory().join("sa.key"),
        ];
        assert_eq!(modes.map(|path| host::fs::mode(&path).unwrap()), [0o700, 0o700, 0o600, 0o600]);
    }

    #[test]
    fn a_node_that_left_needs_no_new_certificates() {
        let mut cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        cluster.nodes.retain(|node| node.name != "w1" && node.name != "m3");
        vault.pki(&cluster).unwrap();
    }

    #[test]
    fn a_damaged_or_foreign_leaf_is_named_with_the_reason() {
        let cluster = sample();
        let (_dir, ours) = vault(&cluster, Options::default());
        let (_other, theirs) = vault(&cluster, Options::default());
        let leaf = |vault: &Vault, name: &str| vault.directory().join(format!("leaves/{name}.pem"));
        let write = |name: &str, text: &str| {
            host::fs::write_atomic(&leaf(&ours, name), text.as_bytes(), host::fs::PRIVATE).unwrap();
        };
        let read = |vault: &Vault, name: &str| host::fs::read_to_string(&leaf(vault, name)).unwrap();
        write("m1/scheduler", &read(&theirs, "m1/scheduler"));
        write("m1/apiserver", "");
        let (first, second) = (read(&ours, "m2/apiserver"), read(&ours, "m3/apiserver"));
        let cut = |text: &str| text.find("-----BEGIN PRIVATE").unwrap();
        write("m2/apiserver", &format!("{}{}", &first[..cut(&first)], &second[cut(&second)..]));
        write("m3/scheduler", &read(&ours, "m3/controller-manager"));
        let err = ours.pki(&cluster).unwrap_err().to_string();
        for expected in [
            "`m1/scheduler` (it was signed by a different authority)",
            "`m1/apiserver` (it does not contain a certificate with a key)",
            "`m2/apiserver` (its key belongs to a different certificate)",
            "`m3/scheduler` (its subject is `CN = system:kube-controller-manager`)",
        ] {
            assert!(err.contains(expected), "{expected} in {err}");
        }
        assert!(!err.contains("PRIVATE"), "no key is shown");
    }

    #[test]
    fn the_wrong_cluster_and_the_wrong_algorithm_are_refused() {
        let mut cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        let err = Vault::init(
            vault.directory(),
            &cluster,
            Options { algorithm: Some(Algorithm::Rsa2048), ..Options::default() },
            &Silent,
        )
        .unwrap_err();
        assert!(err.to_string().ends_with("has ecdsa-p256 keys, not rsa-2048"), "{err}");
        cluster.name = "test".into();
        let err = vault.pki(&cluster).unwrap_err();
        assert!(err.to_string().ends_with("belongs to the cluster `prod`, not to `test`"), "{err}");
    }

    #[test]
    fn a_vault_that_others_can_enter_is_refused() {
        let cluster = sample();
        let (_dir, vault) = vault(&cluster, Options::default());
        host::fs::set_mode(vault.directory(), 0o755).unwrap();
        assert!(
            Vault::open(vault.directory())
                .unwrap_err()
                .to_string()
                .starts_with("other users can access the vault")
        );
    }
}
