//! Certificate for a single task: fetching snapshots from etcd members. It is never written to a file.

use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::host;
use crate::pki::fill::BACKDATED;
use crate::pki::issue::{self, Window};
use crate::pki::pem;
use crate::pki::table::Authority;
use crate::pki::vault::Vault;
use crate::words::SNAPSHOTS_READER;

/// Validity in seconds: enough for a large snapshot over a slow link, and for machines whose clocks are
/// ahead.
const VALID: u64 = 86_400;

/// A client certificate with its key, and the servers' authority, as PEM.
pub(crate) struct Reader {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
}

impl Vault {
    /// Issues a certificate for reading snapshots.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`] if the vault belongs to a different cluster, or lacks the etcd
    /// authority's key.
    pub(crate) fn snapshots_reader(&self, cluster: &Cluster) -> Result<Reader> {
        self.belongs_to(cluster)?;
        let algorithm = self.settings.algorithm;
        let (key, now) = (algorithm.generate()?, host::clock::now());
        let window = Window { not_before: now.saturating_sub(BACKDATED), not_after: now + VALID };
        let signers = self.signers([Authority::Etcd].into_iter())?;
        let certificate =
            issue::client(SNAPSHOTS_READER, algorithm, &key, &signers[&Authority::Etcd], window)?;
        Ok(Reader { authority: self.authority(Authority::Etcd)?, certificate, key: pem::private_key(&key) })
    }
}
