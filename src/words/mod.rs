//! The words that every room says: roles, versions, what goes with them, kinds of balancers, runtimes and networks.
//!
//! A word knows its spelling in cluster files, its row in a table, and nothing of any one cluster.

mod balancer;
mod bgp;
mod cgroups;
mod companions;
mod etcd;
mod plugin;
mod ports;
mod proxy;
mod role;
mod runtime;
mod snapshots;
mod sources;
mod version;

pub(crate) use balancer::{BALANCERS, Balancer, Means, Mover, Place, Run, too_old};
pub(crate) use bgp::{Bgp, BgpPeer};
pub(crate) use cgroups::Cgroups;
pub(crate) use companions::{COMPANIONS, Companion, Part, STOCK, SUITES, Span, Suite};
pub(crate) use etcd::{EtcdVersion, Founders};
pub(crate) use plugin::NetworkPlugin;
pub(crate) use ports::{API_SERVER_PORT, PortRange};
pub(crate) use proxy::ProxyMode;
pub(crate) use role::Role;
pub(crate) use runtime::{CONTAINERD_SOCKET, Runtime, RuntimeKind};
pub(crate) use snapshots::{SNAPSHOTS_PORT, SNAPSHOTS_READER};
pub(crate) use sources::{BinarySource, ImageSource, RootFilesystem};
pub(crate) use version::KubernetesVersion;
