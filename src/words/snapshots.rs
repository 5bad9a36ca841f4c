//! Client name for etcd snapshots, shared by the vault and the nodes.

/// Common name, under etcd's CA, of clients that are allowed to read snapshots. No node has such a
/// certificate or can create one, because the CA key never leaves the vault.
pub(crate) const SNAPSHOTS_READER: &str = "kiln-snapshots-reader";
