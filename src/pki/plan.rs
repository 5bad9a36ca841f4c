//! Certificates that a cluster needs: a pure function of the cluster and the table.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

use crate::cluster::{Cluster, Node};
use crate::pki::table::{Authority, Holder, LEAVES, Leaf, Names};
use crate::words::Role;

/// Every certificate that a cluster needs in addition to the three authorities and the service-account key
/// pair.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PkiPlan {
    pub(crate) leaves: Vec<PlannedLeaf>,
}

/// One certificate, for a node or for the whole cluster.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PlannedLeaf {
    pub(crate) id: LeafId,
    #[serde(skip)]
    pub(super) row: &'static Leaf,
    pub(crate) common_name: String,
    pub(crate) organization: Option<&'static str>,
    pub(crate) names: BTreeSet<String>,
    pub(crate) addresses: BTreeSet<IpAddr>,
}

/// A certificate's location in the vault; shown as `m1/apiserver` or `admin`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeafId {
    pub(crate) node: Option<String>,
    pub(crate) name: &'static str,
}

/// Plans the certificates of `cluster`, node by node in the order of the cluster file, then the certificates
/// for the whole cluster.
pub(crate) fn plan(cluster: &Cluster) -> PkiPlan {
    let of_nodes = cluster.nodes.iter().flat_map(|node| {
        LEAVES
            .iter()
            .filter(|row| row.holder.includes(cluster, node))
            .map(|row| PlannedLeaf::new(cluster, Some(node), row))
    });
    let of_cluster = LEAVES
        .iter()
        .filter(|row| row.holder == Holder::Cluster)
        .map(|row| PlannedLeaf::new(cluster, None, row));
    PkiPlan { leaves: of_nodes.chain(of_cluster).collect() }
}

impl PlannedLeaf {
    fn new(cluster: &Cluster, node: Option<&Node>, row: &'static Leaf) -> Self {
        let node_name = node.map(|node| node.name.clone());
        let (names, addresses) = match node {
            Some(node) => subject_alternatives(cluster, node, row.names),
            None => Default::default(),
        };
        Self {
            common_name: row.common_name.replace("{node}", node_name.as_deref().unwrap_or_default()),
            organization: row.group.name(cluster),
            id: LeafId { node: node_name, name: row.name },
            row,
            names,
            addresses,
        }
    }

    pub(crate) fn authority(&self) -> Authority {
        self.row.authority
    }
}

type Alternatives = (BTreeSet<String>, BTreeSet<IpAddr>);

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn subject_alternatives(cluster: &Cluster, node: &Node, rule: Names) -> Alternatives {
    if rule == Names::None {
        return Alternatives::default();
    }
    let (mut names, mut addresses) = own(node);
    match rule {
        Names::None | Names::Node => {}
        Names::Loopback => add_loopback(&mut names, &mut addresses),
        Names::Peer => {
            add_loopback(&mut names, &mut addresses);
            addresses.extend(cluster.endpoint.vip.filter(|_| cluster.carries_vip(node)));
        }
        Names::Api => {
            add_loopback(&mut names, &mut addresses);
            for master in cluster.with_role(Role::ControlPlane) {
                let (its_names, its_addresses) = own(master);
                names.extend(its_names);
                addresses.extend(its_addresses);
            }
            names.extend(service_names(&cluster.network.domain));
            names.extend(cluster.endpoint.names.iter().cloned());
            addresses.extend(cluster.endpoint.vip);
            addresses.extend(&cluster.endpoint.external_addresses);
            addresses.insert(cluster.first_service_address());
        }
    }
    (names, addresses)
}

fn own(node: &Node) -> Alternatives {
    let addresses = node.extra_addresses.iter().copied().chain([node.address]).collect();
    (BTreeSet::from([node.name.clone()]), addresses)
}

fn add_loopback(names: &mut BTreeSet<String>, addresses: &mut BTreeSet<IpAddr>) {
    names.insert("localhost".to_owned());
    addresses.extend(LOOPBACK);
}

/// Returns the names that pods use to connect to the API.
fn service_names(domain: &str) -> [String; 4] {
    [
        "kubernetes".into(),
        "kubernetes.default".into(),
        "kubernetes.default.svc".into(),
        format!("kubernetes.default.svc.{domain}"),
    ]
}

impl fmt::Display for LeafId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "{node}/")?;
        }
        f.write_str(self.name)
    }
}

impl Serialize for LeafId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
