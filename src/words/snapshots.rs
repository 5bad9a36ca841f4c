//! Where members of etcd hand out their snapshots, and to whom: the vault's side and the node's agree by this file.

/// TCP port of etcd's agents for whoever fetches snapshots.
pub(crate) const SNAPSHOTS_PORT: u16 = 2383;

/// Common name, under etcd's authority, of whoever may read snapshots. No node has such a certificate, and none can make one: the
/// authority's key never leaves the vault.
pub(crate) const SNAPSHOTS_READER: &str = "kiln-snapshots-reader";
