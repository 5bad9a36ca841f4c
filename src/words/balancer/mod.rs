//! BALANCERS: kinds of balancers behind the endpoint. A new kind needs an overlay, a file here, and a line in
//! the table.
//!
//! A kind declares where the balancer runs and what it needs; other modules use these properties and never
//! check the name.

mod external;
mod haproxy;
mod images;
mod keepalived;
mod kind;
mod kube_vip;
mod nginx;
mod node_local;

pub(crate) use images::too_old;
pub(crate) use kind::{Balancer, Deployment, Kind, Mover, Placement, Run};

/// Every kind, in the order of `kiln list balancers`. The first is the default of profiles.
pub(crate) static BALANCERS: &[Kind] = &[
    haproxy::KIND,
    nginx::KIND,
    keepalived::KIND,
    kube_vip::KIND,
    node_local::KIND,
    node_local::NGINX,
    node_local::IPVS,
    external::KIND,
];
