//! A certificate for one errand: to fetch snapshots from the members of etcd. It is never written anywhere.

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

/// How long it is valid, in seconds: a large snapshot over a slow line, and machines whose clocks are ahead.
const VALID: u64 = 86_400;

/// A client's certificate and key, and the authority of those whom it asks; PEM.
pub(crate) struct Reader {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
}

impl Vault {
    /// Issues a certificate for whoever may read snapshots.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`] if the vault is another cluster's, or lacks the key of etcd's authority.
    pub(crate) fn snapshots_reader(&self, cluster: &Cluster) -> Result<Reader> {
        self.belongs_to(cluster)?;
        let algorithm = self.settings.algorithm;
        let (key, now) = (algorithm.generate()?, host::clock::now());
        let window = Window { not_before: now.saturating_sub(BACKDATED), not_after: now + VALID };
        let signers = self.signers([Authority::Etcd].into_iter())?;
        let certificate = issue::client(SNAPSHOTS_READER, algorithm, &key, &signers[&Authority::Etcd], window)?;
        Ok(Reader { authority: self.authority(Authority::Etcd)?, certificate, key: pem::private_key(&key) })
    }
}
