//! Certificates, keys and kubeconfigs: planned from the cluster, kept in a vault, passed to nodes by name.
//!
//! The vault is an input to the build. Nothing is issued during a build, and no authority's private key
//! leaves the vault. In `certificates`, overlays can request the names in one table, [`table::LEAVES`], and
//! four others ([`table::SHARED`]):
//!
//! | name | files on the node | held by |
//! | --- | --- | --- |
//! | `ca` | `/etc/kubernetes/pki/ca.crt` | every node |
//! | `etcd-ca` | `/etc/kubernetes/pki/etcd/ca.crt` | every node |
//! | `front-proxy-ca` | `/etc/kubernetes/pki/front-proxy-ca.crt` | every node |
//! | `service-account` | `/etc/kubernetes/pki/sa.key`, `sa.pub` | control plane |
//! | `apiserver`, `apiserver-kubelet-client`, `apiserver-etcd-client`, `front-proxy-client` | `/etc/kubernetes/pki/NAME.crt`, `NAME.key` | control plane |
//! | `controller-manager-server`, `scheduler-server` | `/etc/kubernetes/pki/NAME.crt`, `NAME.key` | control plane |
//! | `controller-manager`, `scheduler` | kubeconfig `/etc/kubernetes/NAME.conf`, connects to this node's API server | control plane |
//! | `bootstrap` | kubeconfig `/etc/kubernetes/bootstrap.conf`, connects to this node's API server as `system:masters` to apply the objects that every cluster starts with | control plane |
//! | `etcd-server`, `etcd-peer`, `etcd-healthcheck-client` | `/etc/kubernetes/pki/etcd/{server,peer,healthcheck-client}.{crt,key}` | etcd members |
//! | `kubelet`, `kube-proxy` | kubeconfig `/etc/kubernetes/NAME.conf`, connects to the endpoint | control plane, workers |
//! | `kubelet-server` | `/etc/kubernetes/pki/kubelet-server.{crt,key}` | control plane, workers |
//! | `lb-healthcheck` | `/etc/kubernetes/pki/lb-healthcheck.pem` (certificate, then key, as HAProxy expects them) | balancers |
//! | `admin` | kubeconfig `/etc/kubernetes/admin.conf`, connects to the endpoint | control plane |
//!
//! `super-admin` has no file on any node, because its credential stays in the vault.

mod files;
mod fill;
mod inspect;
mod inventory;
mod issue;
mod kubeconfig;
mod pem;
mod plan;
mod reader;
mod satisfy;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod vault;

pub(crate) use files::{Pki, held};
pub(crate) use fill::{Filled, Options};
pub(crate) use inspect::Certificate;
pub(crate) use inventory::{Item, inventory};
pub(crate) use issue::Algorithm;
pub(crate) use plan::{LeafId, plan};
pub(crate) use vault::Vault;
