//! Topology: quorum, single points of failure, port conflicts.

pub(in crate::lint) mod files;
mod removed;

use std::collections::BTreeSet;

use crate::error::counted;
use crate::lint::Lint;
use crate::lint::keepalived::router_id;
use crate::lint::listen::port_clash;
use crate::lint::node::clock;
use crate::lint::subject::{Findings, Subject};
use crate::profile::closest;
use crate::words::{Founders, Mover, Role};

const API_SERVER: &str = "kube-apiserver";
/// VRRP router identifier that most keepalived examples use.
const EXAMPLE_ROUTER_ID: u8 = 51;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA010", "the number of etcd members is even or less than three")
        .why(
            "etcd needs a majority of its members: two tolerate no failure, and four tolerate no more than \
            three do; the extra member is only one more machine that can fail",
        )
        .fix("use 3 or 5 members")
        .files(files::quorum)
        .cluster(|subject, findings| {
            let members = subject.cluster.etcd_members().len();
            let masters = subject.cluster.with_role(Role::ControlPlane).count();
            if masters >= 2 && (members < 3 || members.is_multiple_of(2)) {
                let tolerated = members.saturating_sub(1) / 2;
                let tolerate = if members == 1 { "tolerates" } else { "tolerate" };
                findings.at(
                    "nodes",
                    format!(
                        "{} {tolerate} {}",
                        counted(members, "etcd member"),
                        counted(tolerated, "failure")
                    ),
                );
            }
        }),
    Lint::warning("HA011", "there are only two control-plane nodes")
        .why(
            "while one of the two is down for maintenance, the other is a single point of failure; a third \
            costs only one more machine and also hosts the third etcd member",
        )
        .fix("add a third control-plane node")
        .files(files::two_masters)
        .cluster(|subject, findings| {
            if subject.cluster.with_role(Role::ControlPlane).count() == 2 {
                findings.at(
                    "nodes",
                    "with two control-plane nodes there is no redundancy during \
                    maintenance",
                );
            }
        }),
    Lint::warning("HA012", "etcd shares a machine with workloads")
        .why(
            "etcd acknowledges a write only once it is on disk; workloads that keep the disk busy make etcd \
            miss heartbeats, and etcd loses its leader under load",
        )
        .fix("assign only one of the two roles to the node")
        .files(files::etcd_beside)
        .cluster(|subject, findings| {
            let members: BTreeSet<&str> =
                subject.cluster.etcd_members().iter().map(|node| node.name.as_str()).collect();
            for (index, node) in subject.cluster.nodes.iter().enumerate() {
                if node.roles.contains(&Role::Worker) && members.contains(node.name.as_str()) {
                    findings.at(
                        format!("nodes[{index}].roles"),
                        format!("etcd on `{}` shares its disk with workloads", node.name),
                    );
                }
            }
        }),
    Lint::error("HA013", "etcd is behind a VIP")
        .why(
            "etcd clients balance across all members and fail over between them on their own; behind a VIP \
            they see a single member, and lose their watches whenever the VIP moves",
        )
        .fix("list every etcd member instead")
        .files(files::vip_before_etcd),
    Lint::error("HA014", "the balancer's port is used by another component on the same node")
        .why("two programs can't listen on the same port: whichever starts second keeps failing")
        .fix("omit `port`: nothing else on the machine uses the default")
        .files(port_clash)
        .cluster(endpoint_port),
    Lint::warning("HA015", "only one machine can hold the VIP")
        .why("if that machine fails, the API is unreachable, no matter how many API servers are running")
        .fix("assign the `lb` role to a second node, or add control-plane nodes")
        .cluster(|subject, findings| {
            if subject.cluster.vip_carriers().len() == 1 {
                findings.at("nodes", "only one node can hold the VIP");
            }
        }),
    Lint::error("HA018", "a role uses an overlay that does not exist")
        .why("the overlay's files can't be rendered")
        .fix(
            "run `kiln list overlays` to see the available overlays; add a directory of your own with \
            `--overlay-dir`",
        )
        .cluster(unknown_overlay),
    Lint::error("HA020", "a role lacks an essential component")
        .why(
            "the machines boot without the removed component: the cluster never comes up, or the endpoint \
            does not reach the API servers",
        )
        .fix("keep the overlay, or `add` one that replaces it")
        .cluster(removed::missing_component),
    Lint::warning("HA021", "a removed overlay is still required")
        .why(
            "other overlays on the same machines require it and pull it back in: the machines do not match \
            the cluster file",
        )
        .fix("also remove the overlays that require it, or do not remove it")
        .cluster(removed::no_removal),
    Lint::warning("HA022", "a majority of etcd members may bootstrap without the rest")
        .why(
            "two machines that lost their disks look the same as on first boot: if the third is off, they \
            bootstrap an empty cluster behind the same VIP although the third still has all the data",
        )
        .fix(
            "omit `found`; to bootstrap without a missing machine, issue an order: `kiln order --without \
            NAME`",
        )
        .cluster(|subject, findings| {
            if subject.cluster.founders == Founders::Majority {
                findings.at(
                    "etcd.found",
                    "an empty cluster may be bootstrapped while a machine that is off \
                    still has all the data",
                );
            }
        }),
    Lint::error("HA311", "the VRRP router identifier is not unique to this cluster")
        .why(
            "two clusters with the same identifier on one segment compete for the master role, and both \
            lose their VIP at times; most published configurations use 51",
        )
        .fix("omit `virtual-router-id`: the default is the last byte of the VIP")
        .files(router_id)
        .cluster(|subject, findings| {
            let endpoint = &subject.cluster.endpoint;
            if endpoint.balancer.mover == Mover::Keepalived && endpoint.virtual_router_id == EXAMPLE_ROUTER_ID
            {
                findings.at(
                    "endpoint.virtual-router-id",
                    format!(
                        "VRRP router identifier {EXAMPLE_ROUTER_ID} is probably used by another cluster \
                        too"
                    ),
                );
            }
        }),
    Lint::error("HA405", "nothing synchronizes the clock")
        .why("a clock that is only set once drifts: certificates and tokens appear expired or not yet valid")
        .fix(
            "use chrony; without time servers, `local stratum 10 orphan` keeps the machines synchronized \
            with each other",
        )
        .files(clock),
];

/// Compares the balancer's port with the ports that the other overlays on its nodes declare. The API server's
/// port is not a conflict: the API server listens on the node's own address, and the balancer then listens on
/// the VIP and on loopback.
fn endpoint_port(subject: &Subject<'_>, findings: &mut Findings) {
    let (cluster, port) = (subject.cluster, subject.cluster.endpoint.port);
    let Some(proxy) = cluster.endpoint.balancer.proxy else { return };
    let beside = cluster
        .nodes
        .iter()
        .map(|node| subject.names(&node.roles))
        .filter(|names| names.iter().any(|name| *name == proxy));
    let neighbours: BTreeSet<&String> =
        beside.flatten().filter(|name| ![proxy, API_SERVER].contains(&name.as_str())).collect();
    for name in neighbours {
        let declared =
            subject.overlays.get(name).map(|overlay| overlay.manifest.ports.as_slice()).unwrap_or_default();
        if declared.iter().any(|other| other.port == port) {
            let message = format!("`{proxy}` and `{name}` both need port {port} on the same node");
            match subject.profile.document.endpoint.port {
                Some(_) => findings.at("endpoint.port", message),
                None => findings.with_fix("endpoint.port", message, "choose another port: `port = 8443`"),
            }
        }
    }
}

fn unknown_overlay(subject: &Subject<'_>, findings: &mut Findings) {
    let known: Vec<&str> = subject.overlays.iter().map(|overlay| overlay.name.as_str()).collect();
    let mut reported = BTreeSet::new();
    for (role, names) in &subject.cluster.overlays {
        let added = &subject.profile.document.overlays.of(*role).add;
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let path = match added.iter().position(|added| added == name) {
                Some(index) => format!("overlays.{}.add[{index}]", role.name()),
                None => "profile".to_owned(),
            };
            if reported.insert(name) {
                let meant = closest(name, known.iter().copied())
                    .map(|other| format!("; did you mean `{other}`?"))
                    .unwrap_or_default();
                findings.at(path, format!("there is no overlay named `{name}`{meant}"));
            }
        }
    }
}
