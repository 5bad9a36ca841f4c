//! BALANCERS: what can stand behind the endpoint. A new kind is an overlay, a file here, and a line in the table.
//!
//! A kind says where it runs and what it needs; every room reads that instead of asking for a name.

mod external;
mod haproxy;
mod images;
mod keepalived;
mod kind;
mod kube_vip;
mod nginx;
mod node_local;

pub(crate) use images::too_old;
pub(crate) use kind::{Balancer, Kind, Means, Mover, Place, Run};

/// Every kind, in the order of `kiln list balancers`. The first is the one of a profile that names none.
pub(crate) static BALANCERS: &[Kind] =
    &[haproxy::KIND, nginx::KIND, keepalived::KIND, kube_vip::KIND, node_local::KIND, node_local::NGINX, node_local::IPVS, external::KIND];
