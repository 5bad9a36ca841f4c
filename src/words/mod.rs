//! Vocabulary shared by all modules: roles, versions, compatibility tables, balancers, runtimes and networks.
//!
//! Each type defines its spelling in cluster files and its row in a table, independent of a particular
//! cluster.

mod arch;
pub(crate) mod artifacts;
mod balancer;
mod bgp;
mod cgroups;
mod companions;
mod etcd;
mod flags;
mod output;
mod partitions;
mod plugin;
mod ports;
mod proxy;
mod role;
mod runtime;
mod snapshots;
mod sources;
mod span;
mod version;

pub(crate) use arch::{Arch, ELF_START};
pub(crate) use balancer::{BALANCERS, Balancer, Deployment, Mover, Placement, Run, too_old};
pub(crate) use bgp::{Bgp, BgpPeer};
pub(crate) use cgroups::Cgroups;
pub(crate) use companions::{COMPANIONS, Companion, Component, SUITES, Suite};
pub(crate) use etcd::{EtcdVersion, Founders, LEADERSHIP_PAUSE};
pub(crate) use flags::{FLAGS, FlagHistory};
pub(crate) use output::{Needs, OUTPUTS, Output};
pub(crate) use partitions::{CONFIG, ESP, ROOT, ROOT_VERITY, STATE};
pub(crate) use plugin::NetworkPlugin;
pub(crate) use ports::{PortRange, Service};
pub(crate) use proxy::ProxyMode;
pub(crate) use role::Role;
pub(crate) use runtime::{CONTAINERD_SOCKET, Runtime, RuntimeKind};
pub(crate) use snapshots::SNAPSHOTS_READER;
pub(crate) use sources::{BinarySource, ImageSource, RootFilesystem};
pub(crate) use span::Span;
pub(crate) use version::KubernetesVersion;
